"""Documents: split, parsed as Kubernetes would, redacted, written."""

from pathlib import Path

import pytest

from tasks.lib.errors import Failure, UsageError
from tasks.lib.redaction import Redactor
from tasks.lib.render import output
from tasks.lib.render.documents import Document, joined, redacted, split
from tasks.lib.render.rendering import Rendered
from tasks.lib.render.validation import validate

STREAM = """\
apiVersion: v1
data:
  script: |
    cat <<END
    ---
    END
kind: ConfigMap
metadata:
  name: a
---
apiVersion: v1
data:
  PASSWORD: aHVudGVyMg==
kind: Secret
metadata:
  name: b
  namespace: one
"""


def test_a_stream_splits_and_joins_to_the_same_text() -> None:
    documents = split(STREAM)

    assert [document.title for document in documents] == ["ConfigMap a", "Secret b"]
    assert documents[0].content["data"]["script"] == "cat <<END\n---\nEND\n"
    assert joined(documents) == STREAM


def test_a_text_that_looks_like_a_number_stays_text() -> None:
    """kustomize prints it without quotes, because Go cannot hold the number."""
    (document,) = split("kind: ConfigMap\nmetadata:\n  labels:\n    release: 61e9540\n")

    assert document.content["metadata"]["labels"]["release"] == "61e9540"


def test_what_json_cannot_hold_is_refused_with_its_place() -> None:
    with pytest.raises(Failure) as caught:
        split(f"{STREAM}---\nkind: Seed\nmetadata:\n  name: one\nspec:\n  weight: .inf\n")

    assert caught.value.what == "The render holds a document that Kubernetes cannot read."
    assert caught.value.why == ".inf is not a number that JSON can hold, at `weight`."


@pytest.mark.parametrize("text", ["a: [", "a: [\n", "a: 'b\n\n", "- a\nb: c\n"])
def test_invalid_yaml_is_reported_even_at_the_end(text: str) -> None:
    with pytest.raises(Failure, match="a document that Kubernetes cannot read"):
        split(text)


def test_a_secret_shown_keeps_its_texts_text() -> None:
    secret = 'kind: Secret\nmetadata:\n  name: "1e3"\ndata: {A: eA==}\n'

    assert split(redacted(split(secret)[0]).text)[0].content["metadata"] == {"name": "1e3"}


def test_redaction_keeps_keys_and_other_kinds() -> None:
    config, secret = split(STREAM)

    assert redacted(config) is config
    assert "aHVudGVyMg" not in redacted(secret).text
    assert split(redacted(secret).text)[0].content["data"] == {"PASSWORD": "[redacted]"}


def test_redaction_covers_string_data_and_empty_secrets() -> None:
    text = "kind: Secret\nmetadata: {name: x}\ndata:\nstringData: {A: canary}\n"

    shown = redacted(split(text)[0])
    assert "canary" not in shown.text
    assert split(shown.text)[0].content["stringData"] == {"A": "[redacted]"}


def test_one_file_an_object_private_and_repeatable(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    written = output.write(split(STREAM), folder)
    output.write(split(STREAM), folder)

    assert [path.name for path in written] == ["configmap-a.yaml", "secret-b.yaml"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert "".join(path.read_text() for path in written) == STREAM.replace("---\napi", "api")


def test_same_names_in_two_namespaces_get_two_files() -> None:
    twins = [
        Document("", {"kind": "Role", "metadata": {"name": "r", "namespace": namespace}})
        for namespace in ("one", "two")
    ]
    assert list(output.file_names(twins)) == ["role-r.yaml", "two-role-r.yaml"]


def test_kinds_of_the_same_name_get_a_file_each() -> None:
    services = [
        Document(group, {"apiVersion": group, "kind": "Service", "metadata": {"name": "s", "namespace": "n"}})
        for group in ("v1", "serving.knative.dev/v1", "net.example/v1", "more.example/v1")
    ]
    files = output.file_names(services)

    assert list(files) == ["service-s.yaml", "n-service-s.yaml", "n-2-service-s.yaml", "n-3-service-s.yaml"]
    assert list(files.values()) == services


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    odd = {"kind": "../../K", "metadata": {"name": "a/b", "namespace": "../n"}}

    written = output.write([Document("one", odd), Document("two", odd)], tmp_path / "out")

    assert [path.name for path in written] == ["..-..-k-a-b.yaml", "..-n-..-..-k-a-b.yaml"]
    assert {path.parent for path in written} == {tmp_path / "out"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("")
    with pytest.raises(UsageError) as caught:
        output.write(split(STREAM), tmp_path)

    assert caught.value.why == "old.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system that takes no folders")
def test_a_folder_that_cannot_be_made_is_explained() -> None:
    rendered = Rendered(split(STREAM), [], Redactor())
    with pytest.raises(Failure) as caught:
        output.deliver(rendered, "1.36", "/proc/render", show_secrets=False)

    assert caught.value.what == "The render cannot be written to /proc/render."
    assert caught.value.why == "No such file or directory."
    assert caught.value.next_step == "Choose another folder with --out."


def test_schema_errors_of_all_objects_are_listed() -> None:
    broken = split(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: http}]}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndatta: {}\n---\n"
        "metadata: {name: d}\n"
    )
    with pytest.raises(Failure) as caught:
        validate(broken, "1.36")

    assert caught.value.what == "3 of 3 rendered objects are not valid in Kubernetes 1.36."
    service, config, nameless = caught.value.why.splitlines()
    assert service.startswith("Service web: spec.ports.0.port: 'http' is not")
    assert config == "ConfigMap c: top level: Additional properties are not allowed ('datta' was unexpected)"
    assert nameless == "object without kind d: apiVersion: missing; kind: missing"


def test_a_kind_that_is_not_text_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        validate(split("apiVersion: 1\nkind: 3\nmetadata:\n  name: a\n"), "1.36")

    assert caught.value.why == "3 a: apiVersion: should be text; kind: should be text"


def test_kinds_without_schema_are_named_not_checked() -> None:
    own = "apiVersion: {0}.io/v1\nkind: {1}\nmetadata: {{name: i}}\n"
    stream = f"{own.format('traefik', 'Middleware')}---\n{own.format('cert-manager', 'ClusterIssuer')}"

    assert validate(split(stream), "1.36") == [
        "ClusterIssuer (cert-manager.io/v1)",
        "Middleware (traefik.io/v1)",
    ]


@pytest.mark.parametrize("version", ["1.9", "1.25", "9.1"], ids=["too old", "the oldest", "too new"])
def test_a_version_without_schemas_of_its_own_has_the_nearest(version: str) -> None:
    fine = split("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")

    assert validate(fine, version) == []


def test_a_version_has_its_own_schemas() -> None:
    """`resources` of a whole pod came with 1.32."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {resources: {}, containers: [{name: c}]}\n"

    assert validate(split(pod), "1.32") == []
    with pytest.raises(Failure, match="resources"):
        validate(split(pod), "1.31")


ISSUER = "---\napiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata:\n  name: i\n"
RENDERED = Rendered(split(STREAM + ISSUER), ["'vars' is deprecated"], Redactor())


def test_a_pipe_gets_everything_and_stderr_the_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    output.deliver(RENDERED, "1.36", "-", show_secrets=False)

    shown = capsys.readouterr()
    assert shown.out == STREAM + ISSUER
    assert shown.err.splitlines() == [
        "kustomize: 'vars' is deprecated",
        "not checked, no published schema: ClusterIssuer (cert-manager.io/v1)",
    ]


def test_without_unchecked_kinds_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    output.deliver(Rendered(split(STREAM), [], Redactor()), "1.36", "-", show_secrets=False)

    assert capsys.readouterr() == (STREAM, "")


@pytest.mark.parametrize(("show", "count"), [(False, 0), (True, 1)], ids=["redacted", "shown when asked"])
def test_a_terminal_gets_secrets_only_when_asked(
    show: bool, count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    output.deliver(RENDERED, "1.36", "-", show_secrets=show)

    assert capsys.readouterr().out.count("aHVudGVyMg") == count


def test_a_folder_gets_one_file_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output.deliver(RENDERED, "1.36", str(tmp_path / "out"), show_secrets=False)

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clusterissuer-i.yaml", "configmap-a.yaml", "secret-b.yaml",
    ]  # fmt: skip
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3 files written" in shown.err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("stringData: {PIN: 4711}", "stringData.PIN: [redacted] is not of type 'string', 'null'"),
        ("data: {KEY: [canary]}", "data.KEY: [redacted] is not of type 'string', 'null'"),
        ("stringData: [canary]", "stringData: [redacted] is not of type 'object', 'null'"),
    ],
)
def test_an_error_in_a_secret_is_reported_without_its_value(values: str, said: str) -> None:
    """A number without quotes is the usual mistake."""
    secret = split(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{values}\n")

    with pytest.raises(Failure) as caught:
        validate(secret, "1.36")

    assert caught.value.why == f"Secret a: {said}"
