"""A graph of steps that are shell commands, and what was told while it ran."""

from typing import Any

from tasks.lib.pipeline.graph import Graph, Launch
from tasks.lib.pipeline.reading import parse
from tasks.lib.pipeline.steps import ReadyStep, ready


class Recorded:
    """Runs steps whose args are shell commands, and keeps what was told."""

    def __init__(self, *steps: dict[str, Any], chosen: set[int] | None = None, timeout: float = 240) -> None:
        content = {"steps": [{"name": "x", **step} for step in steps], "timeout": f"{timeout}s"}
        build = ready(parse(content, "f"), {}, "f")
        self.lines: list[tuple[int, str]] = []
        self.stopped: list[int] = []
        everything = set(range(len(steps)))
        self.graph = Graph(build.steps, chosen or everything, self._launch, self._tell, timeout)

    def _launch(self, step: ReadyStep) -> Launch:
        return Launch(["sh", "-c", step.args[0]], stop=lambda _: self.stopped.append(step.index))

    def _tell(self, step: ReadyStep, line: str) -> None:
        self.lines.append((step.index, line))

    def states(self) -> list[str]:
        return [result.state for result in self.graph.results.values()]

    def run(self) -> list[str]:
        self.graph.run()
        return self.states()
