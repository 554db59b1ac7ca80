"""Maintenance mode: visitors get a page while the application's workers are stopped.

Whether it is on is noted in one ConfigMap.  `formed` says what a release wants meanwhile: Services of `web`
select the page's pods, and workers have no pods.  Web itself runs on, so that visitors are back at once.

What an object was before is noted on the object itself, by whoever changed it last: a deploy notes what its
manifests say.
"""

import html
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.objects import Ref, Wanted, annotated, annotations
from tasks.lib.errors import Failure
from tasks.lib.image import digest, reference
from tasks.lib.render.pods import at
from tasks.lib.settings.model import Environment

STATE: Final = "lookit-orchestrator-maintenance"
WEB: Final = "web"
PAGE: Final = "maintenance"
# On the page and its pods: the Services select by it.
LABEL: Final = "lookit-orchestrator/maintenance"
SELECTED: Final[Mapping[str, str]] = {LABEL: PAGE}
# How many pods a worker had, and what a Service selected, before.
REPLICAS: Final = "lookit-orchestrator/replicas-before-maintenance"
SELECTOR: Final = "lookit-orchestrator/selector-before-maintenance"
WORKLOADS: Final = frozenset({("apps/v1", "Deployment"), ("apps/v1", "StatefulSet")})
DEFAULT: Final = "The site is down for maintenance. Please come back in a few minutes."
NOBODY: Final = 65534
# What says where pods run and how images are pulled: the page is pulled and placed as web is.
PLACEMENT: Final = ("imagePullSecrets", "nodeSelector", "tolerations")

# It runs with the Python of the application's image.  Health checks get 200, or Google's load balancer and
# the kubelet would take the page for broken.  What a visitor sends is read to its end: closing the connection
# before would cut the answer off.
SERVER: Final = textwrap.dedent("""\
    import os, signal, socket, sys, threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    page = os.environ["PAGE"].encode()


    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def answer(self):
            is_check = self.headers.get("User-Agent", "").startswith(("kube-probe/", "GoogleHC/"))
            self.send_response(200 if is_check else 503)
            self.send_header("Retry-After", "300")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def log_message(self, *_):
            pass


    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_):
            pass


    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    first, *others = [Server(("", int(port)), Handler) for port in sys.argv[1:]]
    for other in others:
        threading.Thread(target=other.serve_forever, daemon=True).start()
    first.serve_forever()
""")


class Stage(StrEnum):
    """How far it is; the value is how the ConfigMap spells it."""

    PREPARING = "preparing"  # visitors still get the site
    ON = "on"
    ENDING = "ending"  # visitors get the site again


@dataclass(frozen=True)
class Maintenance:
    """What is noted of it."""

    stage: Stage
    message: str
    who: str
    since: str
    image: str  # that serves the page


def read(api: Api, namespace: str) -> Maintenance | None:
    """What is noted in the cluster; None where maintenance mode is off."""
    try:
        return noted(api.get(path(namespace), doing="read whether maintenance mode is on"))
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def among(config_maps: Iterable[Json]) -> Maintenance | None:
    """What is noted in one of these ConfigMaps of a namespace; None where maintenance mode is off."""
    return next((noted(one) for one in config_maps if one["metadata"]["name"] == STATE), None)


def noted(config_map: Json) -> Maintenance:
    """What the ConfigMap says; a stage that somebody changed counts as on."""
    data = config_map.get("data") or {}
    stage = Stage(data["stage"]) if data.get("stage") in set(Stage) else Stage.ON
    return Maintenance(stage, **{key: data.get(key, "") for key in ("message", "who", "since", "image")})


def path(namespace: str) -> str:
    """The API path of the ConfigMap."""
    return f"/api/v1/namespaces/{namespace}/configmaps/{STATE}"


def config_map(now: Maintenance) -> Json:
    """The ConfigMap that notes it."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STATE}, "data": asdict(now)}


def note(now: Maintenance | None, environment: str) -> list[str]:
    """What to know before a plan is approved, as sentences."""
    if now is None or now.stage is not Stage.ON:
        return []
    end = f"./inv app.maintenance --off --environment {environment}"
    return [f"Maintenance mode is on since {now.since}, and stays on: workers have no pods. To end it: {end}"]


def formed(
    objects: Sequence[Wanted], now: Maintenance | None, environment: Environment, image: str
) -> list[Wanted]:
    """What is wanted of a release's objects at this moment: while it is on, their maintenance form.

    `objects` are all of the release: which Services are web's follows from web.  `image` is the application's
    repository.
    """
    web = next((w.body for w in objects if is_web(w.body, environment)), None)
    if now is None or now.stage is not Stage.ON or web is None:
        return list(objects)
    page = page_of(web, [w.body for w in objects], now, environment)
    return [*(replace(w, body=_form_of(w.body, web, environment, image)) for w in objects), page]


def _form_of(body: Json, web: Json, environment: Environment, image: str) -> Json:
    if is_before(body, web):
        turned = annotated(body, {SELECTOR: json.dumps(body["spec"]["selector"], sort_keys=True)})
        return {**turned, "spec": {**body["spec"], "selector": dict(SELECTED)}}
    if is_worker(body, environment, image):
        count = body["spec"].get("replicas", 1)  # an autoscaler goes on from one pod
        return {**annotated(body, {REPLICAS: str(count)}), "spec": {**body["spec"], "replicas": 0}}
    return body


def is_web(thing: Json, environment: Environment) -> bool:
    """Whether it is the workload that answers visitors."""
    name = str(thing["metadata"]["name"])
    return _is_workload(thing) and name.removeprefix(environment.prefix) == WEB


def is_worker(thing: Json, environment: Environment, image: str) -> bool:
    """Whether it is another workload that runs the application."""
    return (
        _is_workload(thing) and not is_web(thing, environment) and not is_page(thing) and runs(thing, image)
    )


def is_page(thing: Json) -> bool:
    """Whether it is the page's workload."""
    return (thing["metadata"].get("labels") or {}).get(LABEL) == PAGE


def is_before(thing: Json, web: Json) -> bool:
    """Whether it is a Service that selects web's pods."""
    if (thing.get("apiVersion"), thing.get("kind")) != ("v1", "Service"):
        return False
    selector, labels = at(thing, "spec.selector"), at(web, "spec.template.metadata.labels")
    return bool(selector) and selector.items() <= (labels or {}).items()


def runs(workload: Json, repository: str) -> bool:
    """Whether a container of a workload runs an image of this repository."""
    return any(is_of(one, repository) for one in at(workload, "spec.template.spec.containers") or [])


def is_of(container: Json, repository: str) -> bool:
    """Whether a container runs an image of this repository."""
    image = digest.parsed(str(container.get("image")))
    return image is not None and image.name == reference.parse(repository).name


def page_of(web: Json, things: Iterable[Json], now: Maintenance, environment: Environment) -> Wanted:
    """The Deployment of the page: no secrets, nothing of the application but the Python of its image.

    It listens where the Services among `things` send requests for web.
    """
    ports = _ports(web, [one for one in things if is_before(one, web)])
    numbers = [str(one["containerPort"]) for one in ports]
    probe = {"httpGet": {"path": "/", "port": ports[0]["containerPort"]}}
    container = {
        "name": "page",
        "image": now.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-I", "-c", SERVER, *numbers],
        "env": [{"name": "PAGE", "value": text_of(now.message)}],
        "ports": ports,
        "readinessProbe": {**probe, "periodSeconds": 2},
        "livenessProbe": {**probe, "periodSeconds": 30, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},  # until the ingress has forgotten this pod
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "runAsUser": NOBODY, "runAsNonRoot": True, "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
    }  # fmt: skip
    spec = at(web, "spec.template.spec")
    pod = {key: spec[key] for key in PLACEMENT if spec.get(key)}
    pod |= {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False}
    ref = Ref("apps/v1", "Deployment", environment.namespace, f"{environment.prefix}{PAGE}")
    metadata = {"name": ref.name, "namespace": ref.namespace, "labels": dict(SELECTED)}
    template = {"metadata": {"labels": dict(SELECTED)}, "spec": pod}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    body = {
        "apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata,
        "spec": {
            "replicas": 2, "selector": {"matchLabels": dict(SELECTED)}, "strategy": strategy,
            "template": template,
        },
    }  # fmt: skip
    return Wanted(ref, body)


def _ports(web: Json, services: Iterable[Json]) -> list[Json]:
    """The ports of web to which these Services send requests, with their names."""
    containers = at(web, "spec.template.spec.containers") or []
    known = [port for one in containers for port in one.get("ports") or []]
    found: dict[int, Json] = {}
    for asked in (port for one in services for port in at(one, "spec.ports") or []):
        target = asked.get("targetPort", asked["port"])
        fits: Json = next((one for one in known if target in (one.get("name"), one["containerPort"])), {})
        number = fits.get("containerPort", target)
        name = {"name": fits["name"]} if fits.get("name") else {}
        if isinstance(number, int):
            found[number] = {**name, "containerPort": number}
    if not found:
        raise Failure(
            f"No Service sends requests to {web['metadata']['name']}, so none can send them to the page.",
            "",
            "./inv app.maintenance --off ends maintenance mode.",
        )
    return [found[number] for number in sorted(found)]


def text_of(message: str) -> str:
    """The page."""
    said = html.escape(message or DEFAULT).replace("\n", "<br>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Maintenance</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:1.2em/1.5 sans-serif;max-width:34em;margin:15vh auto;padding:0 1em}</style>"
        f"<h1>We will be back soon</h1><p>{said}</p></html>\n"
    )


def before(thing: Json) -> Any:
    """What a Service selected before; None where nothing is noted that can be read."""
    try:
        return json.loads(annotations(thing).get(SELECTOR, "")) or None
    except ValueError:
        return None


def _is_workload(thing: Json) -> bool:
    return (thing.get("apiVersion"), thing.get("kind")) in WORKLOADS
