"""Lookit's site on a real node: what is asked of it, the tasks that change it, and releases of other content."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox.containers import containerd
from sandbox.images import archive, making, recipes
from sandbox.images.site import commit_of, repository
from tests import program
from tests.builders import ROOT
from tests.heard import Heard, heard
from tests.program import Ended
from tests.real_node import TIME_LIMIT, UNLIMITED, Node, real_node, wait_until
from tests.screen import Screen, on_screen

HOST, PORT = "babieshelpingscience.com", 32403
IN = ("--environment", "staging", "--sandbox")
ON_A_TERMINAL = {"TERM": "xterm-256color", "CI": ""}


class Site:
    """The site of a sandbox's staging cluster; what its tasks leave behind is in `folder`."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder

    def env(self, **variables: str) -> dict[str, str]:
        """The environment in which tasks find this sandbox."""
        own = {
            "LOOKIT_SANDBOX": "1",
            "INVOKE_SANDBOX_STATE": str(self.node.state.folder),
            "INVOKE_DEPLOY_EVIDENCE": str(self.folder / "evidence"),
            "INVOKE_TIME_LIMITS_SANDBOX": UNLIMITED,
        }
        return {**os.environ, **own, **variables}

    def invoke(self, *arguments: str, **variables: str) -> Ended:
        return program.inv(arguments, self.env(**variables))

    def deploy(self, commit: str, **variables: str) -> Ended:
        """Deploy a commit to its end, whatever that is."""
        return self.invoke(*deploying(commit), **variables)

    @contextmanager
    def started(self, *arguments: str, **variables: str) -> Iterator[Heard]:
        """A task as a process of its own while inside."""
        pipe = subprocess.PIPE
        argv = [sys.executable, "-m", "tasks", *arguments]
        process = subprocess.Popen(
            argv, cwd=ROOT, env=self.env(**variables), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        with heard(process) as running:
            yield running

    def apart(
        self, *words: str, stdin: bytes = b"", **variables: str
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a task about staging to its end on pipes, in a process of its own."""
        return subprocess.run(
            about_staging(*words), input=stdin, capture_output=True, cwd=ROOT, env=self.env(**variables),
            timeout=TIME_LIMIT, check=False,
        )  # fmt: skip

    @contextmanager
    def on_terminal(self, *words: str) -> Iterator[Screen]:
        """A task about staging on a terminal while inside."""
        argv, env = about_staging(*words), self.env(**ON_A_TERMINAL)
        with on_screen(argv, ROOT, env) as screen:
            yield screen

    def answer(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The status and the body that the node's port of the site answers with."""
        got = self.response(path, method)
        return got.status, got.read()

    def response(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        """What the node's port of the site answers, with its headers."""
        connection = http.client.HTTPConnection(self.node.place.address, PORT, timeout=TIME_LIMIT)
        connection.request(method, path, headers={"Host": HOST})
        return connection.getresponse()

    def version(self) -> dict[str, Any]:
        status, body = self.answer("/version/")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def comes_to_run(self, commit: str) -> None:
        """Wait until the node's port leads to that commit only: kube-proxy hears of pods a moment after a deploy."""
        wait_until(f"{commit} answers", lambda: all(self._answers_as(commit) for _ in range(5)))

    def _answers_as(self, commit: str) -> bool:
        try:
            status, body = self.answer("/version/")
        except (OSError, http.client.HTTPException):
            return False
        return status == HTTPStatus.OK and json.loads(body)["commit"] == commit

    @contextmanager
    def asked(self, at_least: int = 1, path: str = "/") -> Iterator[Counter[object]]:
        """How often a page, by default the first, was answered with each status, asked all the time while inside."""
        seen: Counter[object] = Counter()
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.2) or seen.total() < at_least:
                try:
                    seen[self.answer(path)[0]] += 1
                except (OSError, http.client.HTTPException) as error:
                    seen[repr(error)] += 1

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield seen
        finally:
            ended.set()
            asking.join()

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl says, as administrator, in the site's namespace."""
        return self.node.kubectl("--namespace=default", *arguments, stdin=stdin)

    def pods_of(self, name: str) -> list[Mapping[str, Any]]:
        """A workload's pods, those that are ending included."""
        found = self.node.api.get("/api/v1/namespaces/default/pods")
        assert found
        return [one for one in found["items"] if one["metadata"]["name"].startswith(f"staging-{name}-")]

    def pods(self, name: str) -> list[str]:
        """The names of a workload's pods that are not ending."""
        known = [one["metadata"] for one in self.pods_of(name)]
        return [one["name"] for one in known if "deletionTimestamp" not in one]

    def is_ready(self, name: str) -> bool:
        """Whether a workload has one pod that is not ending, and that is ready."""
        pods = self.pods(name)
        return len(pods) == 1 and self.node.is_ready(pods[0], "default")

    def run(self, workload: str, container: str, *command: str, stdin: str = "") -> str:
        """What a command says that runs in a container of a workload's one pod.

        kubectl would take the pod that was ready first, which may be ending.
        """
        [pod] = self.pods(workload)
        return self.kubectl("exec", "-i", pod, f"--container={container}", "--", *command, stdin=stdin)

    def run_python(self, code: str) -> str:
        """What a program says that runs beside the site, with the application at hand."""
        return self.run("web", "uwsgi", "python", "-", stdin=f"import django\ndjango.setup()\n{code}")

    def fetched(self, address: str) -> str:
        """What is read at an address by its real name, as it is known and trusted where the site runs."""
        code = f"import requests\nprint(requests.get({address!r}, timeout=30).text)"
        return self.run_python(code)

    def give_image(self, commit: str, files: Mapping[str, str] | None = None) -> None:
        """Give the node an image of the application as that of `commit`.

        `files` are put over the application's own, by their path in the image.
        """
        recipe = recipes.application(repository(self.node.sandbox.settings), commit)
        image = making.obtain(recipe, making.folder())
        with tempfile.TemporaryDirectory(dir=self.folder) as room:
            for path, text in (files or {}).items():
                place = Path(room) / path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
            layer = archive.pack(Path(room), self.folder)
        own = replace(image, layers=(*image.layers, layer))
        containerd.import_images(self.node.place, self.node.tools, [own])

    def changed(self, path: str, old: str, new: str) -> dict[str, str]:
        """A copy of the manifests in which `old` in one file is `new`; returns the variables that name it."""
        copy = Path(tempfile.mkdtemp(dir=self.folder)) / "kubernetes"
        shutil.copytree(ROOT / "kubernetes", copy)
        text = (copy / path).read_text()
        assert old in text
        (copy / path).write_text(text.replace(old, new))
        return {"INVOKE_KUSTOMIZE_TREE": str(copy)}


def deploying(commit: str) -> tuple[str, ...]:
    """The command line that deploys a commit."""
    return ("deploy", "--branch", "develop", "--commit", commit)


def about_staging(*words: str) -> list[str]:
    """A task in a process of its own, with what follows `--`."""
    end = words.index("--") if "--" in words else len(words)
    return [sys.executable, "-m", "tasks", *words[:end], *IN, *words[end:]]


@contextmanager
def real_site(folder: Path) -> Iterator[Site]:
    """A site that a rehearsal has deployed, while inside."""
    with real_node(folder) as node:
        made = Site(node, folder)
        done = made.invoke("rehearse", "--branch", "develop", "--containers")
        assert done.code == 0, done.stderr
        assert "done: 200 at http://" in " ".join(done.stderr.split()), done.stderr
        assert made.version()["commit"] == commit_of(node.sandbox.settings)
        yield made
