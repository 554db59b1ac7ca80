"""A secret value in every form through every way out of a deploy: nothing shows it, and each mask is missed.

The deploy is the real one; what it reads (keys, kustomize, the cluster) says what a leaking application would.
"""

import base64
import contextlib
import gzip
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tasks.lib import process
from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import deploy as steps
from tasks.lib.deploy import history, hooks, new_release
from tasks.lib.deploy import session as sessions
from tasks.lib.deploy.events import Decided, Event, LogLine, Notice, Record, Remembered, Result, Tell, Told
from tasks.lib.deploy.new_release import NewRelease, Request
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output import display, report
from tasks.lib.deploy.output.plans import as_html, as_lines
from tasks.lib.deploy.plan import document
from tasks.lib.deploy.plan.plan import Choices, Planned
from tasks.lib.deploy.recovery import support_bundle
from tasks.lib.deploy.recovery.support_bundle import Found
from tasks.lib.deploy.releases import store
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor, Secret
from tasks.lib.render import kustomize
from tasks.lib.secrets import crypt
from tests.builders import checked_in_settings
from tests.canary import FORMS, Form, is_shown

VALUE = "P4ss \"w0rd\" <&> 'é'/+?x~="
BODY = [letter * 4 + "EvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC+/xyzabcdefg" for letter in "ab"]
ACCOUNT = {
    "type": "service_account",
    "private_key_id": "id of 'a' \"key\" <&>/+? é",
    "private_key": "\n".join(["-----BEGIN PRIVATE KEY-----", *BODY, "-----END PRIVATE KEY-----", ""]),
}
# The names of everything, as real settings have them.
ENV = (
    f"DB_NAME=lookit\nDB_USER=admin\nPIPE_ENVIRONMENT=staging\nDB_HOST=db.example.org\nDB_PASSWORD={VALUE}\n"
)
PLAINTEXTS = {
    "lookit-secrets.env": Secret(ENV.encode()),
    "googleAppCreds.json": Secret(json.dumps(ACCOUNT, indent=2).encode()),
}
VALUES = {"of an env file": VALUE, "of JSON": ACCOUNT["private_key_id"], "a line of a key": BODY[0]}
SETTINGS = checked_in_settings(
    deploy={"webhook": {"variable": "CHAT", "events": ["start", "success", "failure"]}}
)
WEB = Ref("apps/v1", "Deployment", "staging", "staging-lookit-web")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "staging-lookit-web"}, "data": {}}
RENDERED: list[dict[str, Any]] = [
    CONFIG,
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "staging-lookit-secrets"},
     "data": {"DB_PASSWORD": base64.b64encode(VALUE.encode()).decode()}},
]  # fmt: skip
# What has to be readable in what people read.
NAMES = "staging-lookit-web db.example.org admin"


@dataclass
class Out:
    """What left a deploy, by the way that it took."""

    ways: dict[str, str] = field(default_factory=dict)

    def showing(self, *spelled: str) -> set[str]:
        """The ways that show any of these texts."""
        return {way for way, text in self.ways.items() if any(is_shown(one, text) for one in spelled)}


class Leaking:
    """A cluster that quotes what a container printed wherever it can; nothing is deployed."""

    def __init__(self, *printed: str) -> None:
        self.quotes = [f"{NAMES}: {one}" for one in printed]
        self.printed = "\n".join(self.quotes)

    @contextlib.contextmanager
    def locked(self, _: Session) -> Iterator[None]:
        yield

    def plan(self, session: Session) -> Planned:
        said = self.printed
        session.tell(Notice(said))
        session.tell(Told(WEB, said))
        for line in said.split("\n"):
            session.tell(LogLine("staging-lookit-web-1", line))
        metadata = {"name": WEB.name}
        live = {"kind": "ConfigMap", "metadata": metadata, "data": dict(enumerate(self.quotes))}
        step = Step(Wanted(WEB, {}), Action.CHANGE, said, {"kind": "ConfigMap", "metadata": metadata}, live)
        return Planned((("workloads", (step,)),), {}, {})

    def apply(self, session: Session, planned: Planned, _: float) -> None:
        """Fail in the first phase."""
        [(title, steps)] = planned.phases
        session.record.plan(title, list(steps))
        session.record.begin(WEB, Result.APPLYING)
        session.record.end(WEB, Result.FAILED, self.printed)
        raise Failure(f"{self.printed}\nfailed.", f"last lines:\n{self.printed}", self.printed)

    def collect(self, *_: Any) -> Found:
        pod = {"kind": "Pod", "metadata": {"name": "web"}, "spec": {"args": [self.printed]}}
        files: dict[str, Any] = {
            "events.txt": self.printed,
            "logs/web.log": self.printed,
            "pods/web.yaml": pod,
        }
        return Found(files, [self.printed])


def deployed(
    printed: Sequence[str], folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Out:
    """Deploy to a cluster that prints these texts, and gather what came out."""
    cluster, heard, sent = Leaking(*printed), list[Event](), list[Any]()
    patch.setattr(NewRelease, "locked", lambda _, session: cluster.locked(session))
    patch.setattr(NewRelease, "plan", lambda _, session: cluster.plan(session))
    patch.setattr(NewRelease, "back_up", lambda *_: None)
    patch.setattr(steps, "PhasedApply", cluster.apply)
    patch.setattr(store, "add", lambda *_: 1)
    patch.setattr(support_bundle, "collect", cluster.collect)
    patch.setattr(hooks, "send", lambda _url, content, _seconds: sent.append(content))
    patch.setenv("CHAT", "https://chat.example.org/T0/B0")
    request = Request(
        SETTINGS.environment("staging"),
        BuildVariables(
            commit_sha="c" * 40, branch_name="develop", tag_name="v1", repo_name="api", build_id="b"
        ),
        Choices(),
        roll_back=False,
        evidence=str(folder / "evidence"),
    )
    with (
        pytest.raises(Failure) as caught,
        display.shown() as show,
        report.kept(str(folder / "report"), request, show) as tell,
    ):
        new_release.deploy(SETTINGS, request, hearing(heard, tell))
    said = capsys.readouterr()
    assert said.out == ""
    plans = [event.plan for event in heard if isinstance(event, Decided)]
    return Out({
        "live log": said.err,
        "error": str(caught.value),
        "events": "\n".join(texts_in([vars(event) for event in heard if isinstance(event, LogLine | Told | Notice)])),
        "plan as lines": "\n".join(line for plan in plans for _, line in as_lines(plan)),
        "plan as JSON": "\n".join(text for plan in plans for text in texts_in(json.loads(document.as_json(plan)))),
        "plan as a page": "\n".join(html.unescape(as_html(plan)) for plan in plans),
        "report as JSON": "\n".join(texts_in(json.loads((folder / "report/deploy.json").read_text()))),
        "report as a page": html.unescape((folder / "report/deploy.html").read_text()),
        "evidence": "\n".join(read(path) for path in (folder / "evidence").rglob("*.*") if path.is_file()),
        "history": "\n".join(text for event in heard if isinstance(event, Remembered) for text in texts_in(event.facts)),
        "notification": html.unescape("\n".join(texts_in(sent))),
    })  # fmt: skip


def hearing(heard: list[Event], tell: Tell) -> Tell:
    def both(event: Event) -> None:
        heard.append(event)
        tell(event)

    return both


def texts_in(value: Any) -> Iterator[str]:
    """Every text within JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value


def read(path: Path) -> str:
    """A file of evidence as it stands, and what it says to those who read YAML."""
    text = path.read_text()
    return "\n".join([text, *(texts_in(yaml.safe_load(text)) if path.suffix in {".yaml", ".json"} else ())])


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets decrypt and the tree renders; there is no cluster, registry or key management."""
    stream = "---\n".join(yaml.safe_dump(thing) for thing in RENDERED).encode()
    api = SimpleNamespace(close=lambda: None, list=lambda *_, **__: ([], ""))
    connection = SimpleNamespace(api=api, kinds={})
    monkeypatch.setattr(crypt, "decrypt_all", lambda *_: PLAINTEXTS)
    monkeypatch.setattr(kustomize, "build", lambda *_: process.Completed(stream, b""))
    monkeypatch.setattr("tasks.lib.cluster.gke.connect", lambda *_: connection)
    monkeypatch.setattr("tasks.lib.cluster.gke.check_mark", lambda *_: True)
    monkeypatch.setattr("tasks.lib.image.digest.pin", lambda *_: None)


# These quote nothing, or only how the deploy ended.
SILENT = {"history"}


# A deploy costs much and three texts in it no more than one, so one deploy has every value in a form.
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_way_out_shows_a_value_in_any_form(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spelled = [form.spell(value) for value in VALUES.values()]
    out = deployed(spelled, tmp_path, monkeypatch, capsys)
    assert out.showing(*spelled) == set()
    quoting = {way: text for way, text in out.ways.items() if way not in SILENT}
    assert {way for way, text in quoting.items() if text.count("[redacted]") < len(VALUES)} == set()
    # Nothing is masked too much.
    assert {way for way, text in quoting.items() if text.count(f"{NAMES}: ") < len(VALUES)} == set()
    assert {way for way, text in out.ways.items() if "[redacted]-" in text or "-[redacted]" in text} == set()


@contextlib.contextmanager
def as_it_is(_: Redactor) -> Iterator[None]:
    yield


def take_out(mask: str, patch: pytest.MonkeyPatch) -> None:
    """Take the mask of one way out."""
    match mask:
        case "events":
            patch.setattr(sessions, "masked", lambda tell, _: tell)
        case "errors":
            patch.setattr(Redactor, "failures", as_it_is)
        case "plans":
            for module in (document, sessions):
                patch.setattr(module, "blanked", lambda plan, _: plan)
        case "rows":
            patch.setattr(Record, "blank", property(lambda _: str, lambda *_: None), raising=False)
        case "evidence":
            write = support_bundle.write
            patch.setattr(
                support_bundle,
                "write",
                lambda folder, found, facts, _: write(folder, found, facts, Redactor()),
            )


@pytest.mark.parametrize(
    ("mask", "ways"),
    [
        ("events", {"live log", "events", "report as JSON", "report as a page"}),
        ("errors", {"error", "notification", "report as JSON", "report as a page"}),
        ("plans", {"plan as lines", "plan as JSON", "plan as a page", "report as JSON", "report as a page"}),
        ("rows", {"live log", "report as JSON", "report as a page"}),
        ("evidence", {"evidence"}),
    ],
)
def test_each_mask_is_missed(
    mask: str,
    ways: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    take_out(mask, monkeypatch)
    assert deployed([VALUE], tmp_path, monkeypatch, capsys).showing(VALUE) == ways


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("stage", ["kustomize", "schema"])
def test_failures_before_the_plan_show_no_values(
    stage: str,
    form: Form,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spelled = [form.spell(value) for value in VALUES.values()]
    printed = "\n".join(f"{NAMES}: {one}" for one in spelled)
    if stage == "kustomize":
        monkeypatch.setattr(kustomize, "build", lambda *_: fail(printed))
    else:
        monkeypatch.setattr("tasks.lib.render.validation.validate", lambda *_: fail(printed))
    out = deployed([], tmp_path, monkeypatch, capsys)
    assert out.showing(*spelled) == set()
    assert {way for way, text in out.ways.items() if text.count("[redacted]") >= len(VALUES)} == {
        "error", "notification", "report as JSON", "report as a page",
    }  # fmt: skip


def fail(printed: str) -> Any:
    raise Failure(f"It broke at {printed}", printed, printed)


def test_what_history_keeps_of_the_objects_has_no_secret() -> None:
    wanted = [
        Wanted(Ref("v1", thing["kind"], "staging", thing["metadata"]["name"]), thing) for thing in RENDERED
    ]
    kept = gzip.decompress(base64.b64decode(history.pack(wanted))).decode()
    assert json.loads(kept) == [CONFIG]
