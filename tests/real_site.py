"""Lookit's site on a real node: what is asked of it, the tasks that change it, and releases of other content."""

import http.client
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.containers import containerd
from sandbox.images import archive, making, recipes
from sandbox.images.site import commit_of, repository
from tests import program
from tests.builders import ROOT
from tests.heard import Heard, heard
from tests.program import Ended
from tests.real_node import Node, real_node

HOST, PORT = "babieshelpingscience.com", 32403


class Site:
    """The site of a sandbox's staging cluster; what its tasks leave behind is in `folder`."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder

    def env(self, **variables: str) -> dict[str, str]:
        """The environment in which tasks find this sandbox."""
        own = {"INVOKE_SANDBOX_STATE": str(self.node.state.folder), "LOOKIT_SANDBOX": "1"}
        return {**os.environ, **own, "INVOKE_DEPLOY_EVIDENCE": str(self.folder / "evidence"), **variables}

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
            argv, cwd=ROOT, env=self.env(**variables), stdout=pipe, stderr=pipe, text=True
        )
        with heard(process) as running:
            yield running

    def answer(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The status and the body that the node's port of the site answers with."""
        got = self.response(path, method)
        return got.status, got.read()

    def response(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        """What the node's port of the site answers, with its headers."""
        connection = http.client.HTTPConnection(self.node.place.address, PORT, timeout=60)
        connection.request(method, path, headers={"Host": HOST})
        return connection.getresponse()

    def version(self) -> dict[str, Any]:
        status, body = self.answer("/version/")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    @contextmanager
    def asked(self, at_least: int = 1) -> Iterator[Counter[object]]:
        """How often the site's first page was answered with each status, asked all the time while inside."""
        seen: Counter[object] = Counter()
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.2) or seen.total() < at_least:
                try:
                    seen[self.answer("/")[0]] += 1
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

    def pods_of(self, name: str) -> list[str]:
        """The names of a workload's pods, those that are ending included."""
        names = self.kubectl("get", "pods", "-o", "name").replace("pod/", "").split()
        return [one for one in names if one.startswith(f"staging-{name}-")]

    def run(self, workload: str, container: str, *command: str, stdin: str = "") -> str:
        """What a command says that runs in a container."""
        return self.kubectl("exec", "-i", workload, f"--container={container}", "--", *command, stdin=stdin)

    def run_python(self, code: str) -> str:
        """What a program says that runs beside the site, with the application at hand."""
        whole = f"import django\ndjango.setup()\n{code}"
        return self.run("deployment/staging-web", "uwsgi", "python", "-", stdin=whole)

    def fetched(self, address: str) -> str:
        """What is read at an address by its real name, as it is known and trusted where the site runs."""
        code = f"import requests\nprint(requests.get({address!r}, timeout=30).text)"
        return self.run_python(code)

    def give_image(self, commit: str, files: Mapping[str, str | None] | None = None) -> None:
        """Give the node an image of the application as that of `commit`.

        `files` are put over the application's own, by their path in the image; one that is None is taken away.
        """
        recipe = recipes.application(repository(self.node.sandbox.settings), commit)
        image = making.obtain(recipe, making.folder())
        with tempfile.TemporaryDirectory(dir=self.folder) as room:
            for path, text in (files or {}).items():
                _write(Path(room) / path.lstrip("/"), text)
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


def _write(path: Path, text: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        os.mknod(path, stat.S_IFCHR)  # an overlay's whiteout
    else:
        path.write_text(text)


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
