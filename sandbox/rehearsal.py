"""The whole main job in the sandbox: every step of a real release, and a table of results."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import OK
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.steps import Outcome, Step, run_all
from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.retry import Attempts
from tasks.lib.settings.reader import Layer, read

if TYPE_CHECKING:
    import requests

    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.redaction import Secret
    from tasks.lib.render.rendering import Rendered
    from tasks.lib.settings.model import Settings

# A fixed study: rehearsing again finds its files there already, as a second real upload would.
EXAMPLE_PREFIX = "experiments/00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Request:
    """What is rehearsed.

    Args:
        branch: it determines the environment.
        commit: empty means COMMIT_SHA, git's (of `source` where it is given), or without git a made-up one.
        tag: the version on labels.
        containers: whether pods run on a real node.
        source: the checkout of lookit-api that they run; by default the sandbox's own application.

    """

    branch: str
    commit: str = ""
    tag: str = ""
    containers: bool = False
    source: Path | None = None


class Rehearsal:
    """One rehearsal. Steps pass on results as attributes."""

    def __init__(self, root: Path, layers: Sequence[Layer], request: Request) -> None:
        self.root, self.layers, self.request = root, list(layers), request
        self.settings: Settings = read(layers, root)
        self.name = self.settings.environment_of_branch(request.branch).name
        self.variables: BuildVariables
        self.secrets: dict[str, Secret]
        self.rendered: Rendered
        self.url = ""

    def run(self) -> list[Outcome]:
        """Take the steps until one fails, and print the table in any case."""
        return run_all(
            [
                Step("bring the sandbox up", self.bring_up),
                Step("encrypt placeholder secrets", self.encrypt),
                Step("decrypt secrets", self.decrypt),
                Step("render and validate manifests", self.render),
                Step("deploy and wait until ready", self.deploy),
                *([Step("open the site", self.open_site)] if self.request.containers else ()),
                Step("upload an example Ember app", self.upload),
                Step("open its URL", self.open_url),
            ],
            f"Rehearsal of {self.name}",
        )

    def bring_up(self) -> str:
        """Start what does not run yet, and put the sandbox's overlay on the settings."""
        from sandbox import lifecycle
        from sandbox.images import site
        from sandbox.overlay import settings_overlay
        from tasks.lib import build_variables

        request = self.request
        statuses = lifecycle.up(
            self.settings, [self.name], containers=request.containers, commit=request.commit,
            source=request.source,
        )  # fmt: skip
        overlay = Layer("sandbox", settings_overlay(self.root, self.layers))
        self.plain, self.settings = self.settings, read([*self.layers, overlay], self.root)
        place = self.settings.environment(self.name)
        commit = site.commit_of(self.plain, request.commit, request.source)
        self.variables = build_variables.read(self.settings, place, commit=commit, tag=request.tag)
        return f"{len(statuses)} servers healthy"

    def encrypt(self) -> str:
        """Create and encrypt a value for every expected key that has none."""
        from sandbox import lifecycle, seed

        here = lifecycle.state(self.plain)
        seed.sow(self.plain, here, [self.plain.environment(self.name)])
        return f"{len(list(here.ciphertexts(self.name).glob('*.enc')))} files, by the sandbox's KMS"

    def decrypt(self) -> str:
        """Decrypt them as a deploy does."""
        from tasks.lib.secrets.crypt import decrypt_all

        self.secrets = decrypt_all(self.settings, self.settings.environment(self.name))
        return f"{len(self.secrets)} files, in memory only"

    def render(self) -> str:
        """Render the environment, and check every object against its schema."""
        from tasks.lib.render.rendering import render

        self.rendered = render(
            self.settings, self.settings.environment(self.name), self.variables, self.secrets
        )
        self.rendered.validate(self.settings.kustomize.kubernetes)
        return f"{len(self.rendered.documents)} objects for commit {self.variables.short_sha}"

    def deploy(self) -> str:
        """Deploy it, through all checks of a real deploy."""
        from tasks.lib.deploy import new_release
        from tasks.lib.deploy.output import display
        from tasks.lib.deploy.output.table import closing
        from tasks.lib.deploy.plan.plan import Choices

        place = self.settings.environment(self.name)
        request = new_release.Request(place, self.variables, Choices(prune=True), allow_older=True)
        with display.shown() as tell:
            record = new_release.deploy(self.settings, request, tell)
        return closing(record, time.monotonic() - record.began)

    def upload(self) -> str:
        """Bring a small built Ember app to the environment's bucket."""
        from sandbox import example
        from tasks.lib.ember import report
        from tasks.lib.ember.upload import upload

        with tempfile.TemporaryDirectory() as folder:
            app = example.write(Path(folder))
            done = upload(self.settings, self.settings.environment(self.name), str(app), EXAMPLE_PREFIX)
        self.url = done.url
        return report.sentence(done)

    def open_site(self) -> str:
        """Ask the site for its first page, as the ingress does; a Failure where it is not served."""
        from sandbox import lifecycle
        from sandbox.containers import place

        cluster = self.plain.environment(self.name).cluster
        node = place.read(place.folder_of(lifecycle.state(self.plain).cluster(cluster)))
        host, port = site_of([one.content for one in self.rendered.documents])
        url = f"http://{node.address}:{port}/"
        # kube-proxy hears a moment later of a pod that is ready.
        attempts = Attempts(self.settings.time_limits.sandbox)
        answer = asked(url, self.settings.time_limits.storage_attempt, attempts, {"Host": host})
        if answer.status_code != OK:
            raise Failure(f"The site answers {answer.status_code} at {url} for {host}.",
                          next_step="./inv app.logs shows what it says.")  # fmt: skip
        return f"{answer.status_code} at {url} for {host}"

    def open_url(self) -> str:
        """Ask for the app's page as a visitor would; a Failure where it is not served as a page."""
        answer = asked(self.url, self.settings.time_limits.storage_attempt, Attempts(most=1))
        kind = answer.headers.get("content-type", "")
        if answer.status_code != OK or not kind.startswith("text/html"):
            raise Failure(f"{self.url} answers {answer.status_code} with content type {kind!r}.")
        return f"{answer.status_code} {kind}"


def asked(
    url: str, time_limit: float, attempts: Attempts, headers: Mapping[str, str] | None = None
) -> "requests.Response":
    """What a URL answers, asked again while nobody answers and `attempts` are left.

    Raises:
        Failure: nobody answered.

    """
    import requests

    while True:
        try:
            return call(requests.get, url, timeout=time_limit, headers=headers)
        except requests.RequestException as error:
            pause = attempts.pause()
            if pause is None:
                raise Failure(f"{url} does not answer.", str(error), "./inv sandbox.status") from error
            signals.sleep(pause)


def site_of(documents: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """The host that an Ingress leads to a Service with a port of each node, and that port."""
    ports = {
        one["metadata"]["name"]: port["nodePort"]
        for one in documents if one["kind"] == "Service"
        for port in one["spec"].get("ports", ()) if "nodePort" in port
    }  # fmt: skip
    rules = [rule for one in documents if one["kind"] == "Ingress" for rule in one["spec"].get("rules", ())]
    for rule in rules:
        for path in rule.get("http", {}).get("paths", ()):
            if (name := path["backend"].get("service", {}).get("name")) in ports:
                return rule["host"], ports[name]
    raise Failure("The manifests have no site.", "No Ingress leads to a Service of type NodePort.")
