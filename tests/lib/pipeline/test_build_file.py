"""Build files: what Cloud Build would refuse is refused, all of it at once."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.pipeline.build_file import Build
from tasks.lib.pipeline.reading import load, misspelled, parse

SCHEMA = "builtin_schemas/vendor/cloudbuild.json"


def step(**fields: Any) -> dict[str, Any]:
    return {"name": "ubuntu", **fields}


def problems(content: dict[str, Any]) -> list[str]:
    with pytest.raises(UsageError) as raised:
        parse(content, "cloudbuild.yaml")
    return [line.removeprefix("- ") for line in raised.value.why.splitlines()]


def accepted(content: dict[str, Any]) -> Build:
    return parse(content, "cloudbuild.yaml")


def test_defaults_are_cloud_build_s() -> None:
    build = accepted({"steps": [step()]})

    assert build.timeout == 3600
    assert build.steps[0].timeout is None
    assert not build.steps[0].allowFailure


def test_durations_are_seconds_with_an_s() -> None:
    assert accepted({"steps": [step(timeout="3.5s")], "timeout": "120s"}).steps[0].timeout == 3.5


@pytest.mark.parametrize(
    "limit", ["5m", "nans", "infs", float("nan"), "1_0s", "1e3s", " 1s", "1s\n", ".5s", 60]
)
def test_a_limit_that_is_not_in_seconds_is_refused(limit: object) -> None:
    wrong = "timeout should be a number of seconds such as 120s."
    assert problems({"steps": [step(timeout=limit)], "timeout": limit}) == [f"steps.0.{wrong}", wrong]


def test_fields_without_meaning_here_are_ignored() -> None:
    content = {
        "steps": [step()], "logsBucket": "gs://x", "options": {"machineType": "E2_HIGHCPU_8"}, "queueTtl": "60s"
    }  # fmt: skip
    assert len(accepted(content).steps) == 1


def test_encrypted_values_are_base64_however_they_are_wrapped() -> None:
    def with_value(text: str) -> dict[str, Any]:
        inline = {"kmsKeyName": "key", "envMap": {"S": text}}
        return {"steps": [step(secretEnv=["S"])], "availableSecrets": {"inline": [inline]}}

    assert accepted(with_value("aHVz\naA==\n")).availableSecrets.inline[0].envMap == {"S": "aHVzaA=="}
    assert problems(with_value("hush!")) == ["availableSecrets.inline.0.envMap.S should be base64."]


VOLUME = {"name": "vol", "path": "/v"}
ONE, TWO = ({"versionName": f"v{n}", "env": name} for n, name in enumerate("ST"))


def secret(
    *steps: dict[str, Any], held: tuple[dict[str, str], ...] = (ONE,), **options: Any
) -> dict[str, Any]:
    return {"steps": steps, "availableSecrets": {"secretManager": held}, "options": options}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"steps": []}, "a build needs at least one step.", id="no step"),
        pytest.param({"steps": [step()] * 301}, "301 steps are too many: at most 300 are allowed.", id="301 steps"),
        pytest.param({"steps": [step(id="a"), step(id="a")]}, "two steps have the id 'a'.", id="the same id twice"),
        pytest.param({"steps": [step(waitFor=["b"])]}, "step #0 waits for 'b', which is not a step before it.", id="unknown id"),
        pytest.param({"steps": [step(id="a", waitFor=["b"]), step(id="b")]},
                     "step #0 - \"a\" waits for 'b', which is not a step before it.", id="a later step"),
        pytest.param({"steps": [step(script="x", args=["y"])]},
                     "step #0 has a script, so it can have neither args nor entrypoint.", id="script and args"),
        pytest.param({"steps": [step(script="x", entrypoint="y")]},
                     "step #0 has a script, so it can have neither args nor entrypoint.", id="script and entrypoint"),
        pytest.param({"steps": [step(timeout="61s")], "timeout": "60s"},
                     "step #0 may take 61 s, the whole build only 60 s.", id="a step longer than the build"),
        pytest.param({"steps": [step(volumes=[VOLUME]), step()]},
                     "the volume 'vol' is used by one step only.", id="a volume in one step"),
        pytest.param({"steps": [step()], "options": {"volumes": [VOLUME]}},
                     "the volume 'vol' is used by one step only.", id="a global volume in a build of one step"),
        pytest.param({"steps": [step(volumes=[VOLUME, {"name": "w", "path": "/v"}]), step(volumes=[VOLUME, {"name": "w", "path": "/w"}])]},
                     "step #0 uses the volume path '/v' twice.", id="two volumes at one place"),
        pytest.param({"steps": [step(volumes=[VOLUME]), step()], "options": {"volumes": [{"name": "vol", "path": "/x"}]}},
                     "step #0 uses the volume name 'vol' twice.", id="a name of a global volume"),
        pytest.param({"steps": [step(volumes=[{"name": "v", "path": "/v"}])] * 2},
                     "step #0: the volume name 'v' is not like [a-zA-Z0-9][a-zA-Z0-9_.-]+.", id="a name of one letter"),
        pytest.param({"steps": [step(volumes=[{"name": "vol", "path": "v"}])] * 2},
                     "step #0: the volume path 'v' must be absolute.", id="a relative path"),
        *(pytest.param({"steps": [step(volumes=[{"name": "vol", "path": path}])] * 2},
                       f"step #0: the volume path {path!r} is reserved by Cloud Build.", id=f"over {path}")
          for path in ("/workspace", "/workspace/", "/builder/home", "/var/run/docker.sock", "/cloudbuild/x")),
        pytest.param({"steps": [step(id="-")]}, "step #0 has the id '-', which means the start.", id="an id of a dash"),
        pytest.param({"steps": [step(name="")]}, "step #0 names no image.", id="no image"),
        pytest.param({"steps": [step()], "timeout": "86401s"},
                     "the build may take 86401 s, but at most 24 hours are allowed.", id="longer than a day"),
        pytest.param({"steps": [step(timeout="-1s")]}, "step #0 may take -1 s, which is negative.", id="a negative limit"),
        pytest.param({"steps": [step(env=["A"])]}, "step #0: 'A' in env is not NAME=VALUE.", id="env without a value"),
        pytest.param({"steps": [step(secretEnv=["S"])]},
                     "step #0: no secret is declared for S.", id="an unknown secret"),
        pytest.param({"steps": [step()], "artifacts": {"objects": {"paths": ["x"]}}},
                     "artifacts.objects.location is '', which is not gs://BUCKET/FOLDER.", id="artifacts without a bucket"),
        pytest.param({"steps": [step()], "artifacts": {"objects": {"location": "gs://x"}}},
                     "artifacts.objects names no paths.", id="artifacts without paths"),
        pytest.param(secret(step(secretEnv=["S"], env=["S=1"])),
                     "step #0: S is in both env and secretEnv.", id="a variable both plain and secret"),
        pytest.param(secret(step(secretEnv=["S"]), env=["S=1"]),
                     "step #0: S is in both env and secretEnv.", id="a secret variable that is plain for all steps"),
        pytest.param(secret(step(env=["S=1"]), secretEnv=["S"]),
                     "step #0: S is in both env and secretEnv.", id="a plain variable that is secret for all steps"),
        pytest.param(secret(step(secretEnv=["S", "S"])), "step #0 names the secret S twice.", id="a secret twice"),
        pytest.param(secret(step(secretEnv=["S"]), secretEnv=["S"]),
                     "step #0 names the secret S twice.", id="a secret that every step has already"),
        pytest.param(secret(step(secretEnv=["S"]), held=(ONE, TWO)),
                     "no step uses the secret T.", id="a secret that nobody uses"),
        pytest.param(secret(step(secretEnv=["S"]), held=(ONE, ONE)),
                     "two secrets are declared for S.", id="two secrets for one variable"),
    ],
)  # fmt: skip
def test_what_cloud_build_refuses_is_refused(content: dict[str, Any], expected: str) -> None:
    assert expected in problems(content)


def test_all_problems_are_reported_together() -> None:
    assert len(problems({"steps": [step(script="x", args=["y"]), step(env=["A"]), step(waitFor=["z"])]})) == 3


@pytest.mark.parametrize("content", [None, [], "x"])
def test_a_file_that_is_no_mapping_is_refused(content: Any) -> None:
    assert problems(content) == ["The whole file should be a section with keys."]


def test_a_step_needs_an_image() -> None:
    assert problems({"steps": [{"args": ["x"]}]}) == ["steps.0.name is missing."]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"steps": [step(waitfor=["-"])]}, "steps.0.waitfor is not a field; did you mean waitFor?"),
        ({"steps": [step(wait_for=["-"])]}, "steps.0.wait_for is not a field; did you mean waitFor?"),
        ({"steps": [step(wait_fors=["-"])]}, "steps.0.wait_fors is not a field; did you mean waitFor?"),
        ({"steps": [step(secretEnvs=["S"])]}, "steps.0.secretEnvs is not a field; did you mean secretEnv?"),
        ({"steps": [step()], "substitution": {}}, "substitution is not a field; did you mean substitutions?"),
        ({"steps": [step()], "image": []}, "image is not a field; did you mean images?"),
    ],
)
def test_a_misspelled_field_is_refused(content: dict[str, Any], expected: str) -> None:
    """It would be ignored in silence: a step would wait, a secret be missing."""
    assert problems(content) == [expected]


def test_no_field_of_the_schema_counts_as_misspelled() -> None:
    schema = json.loads((files("check_jsonschema") / SCHEMA).read_text())
    places = [schema, *(schema["definitions"][name] for name in ("BuildStep", "BuildOptions", "Secret"))]
    names = [name for place in places for name in place["properties"]]

    assert {"timeout", "waitFor", "machineType", "kmsKeyName"} <= set(names)
    assert not [name for name in (*names, "results", "dependencies", "gitConfig") if misspelled(name)]


@pytest.mark.parametrize("field", ["dir: {}", "args: [{}]", "env: [{}]", "script: {}"])
def test_text_that_no_step_can_be_given_is_refused(tmp_path: Path, field: str) -> None:
    """A folder with a NUL byte in its name was a traceback."""
    file = tmp_path / "cloudbuild.yaml"
    file.write_text("steps:\n- name: ubuntu\n  " + field.format('"A=\\0"'))

    with pytest.raises(UsageError) as raised:
        load(file)

    assert "should be text without NUL and without halves of characters." in raised.value.why


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cloudbuild.yaml"
    file.write_text("steps:\n- name: a\n  timeout: 1s\n  timeout: 2s\n")

    with pytest.raises(UsageError) as raised:
        load(file)

    assert "timeout is given twice" in raised.value.why


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.yaml cannot be read"):
        load(tmp_path / "missing.yaml")
    for bad in (b"a: [", b"a: \xff"):
        (tmp_path / "bad.yaml").write_bytes(bad)
        with pytest.raises(UsageError, match=r"bad\.yaml is not valid YAML"):
            load(tmp_path / "bad.yaml")
