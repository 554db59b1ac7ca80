"""Reading settings: layers, problems, sources."""

import shlex
from pathlib import Path

import pytest
from invoke import Config

from tasks.lib.errors import UsageError
from tasks.lib.settings import listing
from tasks.lib.settings.reader import INVOKES_OWN, Explained, Layer, explain, merged, read
from tests.builders import ROOT, checked_in_settings, invoke_yaml

DEFAULTS = invoke_yaml()


def test_the_checked_in_settings_are_valid() -> None:
    settings = checked_in_settings()

    assert list(settings.environments) == ["staging", "production"]
    staging = settings.environment("staging")
    assert staging.name == "staging"
    assert staging.cluster_name == "projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging"
    assert settings.environment_of_branch("master").name == "production"
    assert settings.tree == ROOT / "kubernetes"


def test_key_names_are_made_from_the_ring_or_taken_whole() -> None:
    kms = checked_in_settings().kms

    ring = "projects/mit-lookit-keys/locations/us-east1/keyRings/lookit-keyring"
    assert kms.key_name("kubernetes-secrets") == f"{ring}/cryptoKeys/kubernetes-secrets"
    assert kms.key_name(f"{ring}/cryptoKeys/other") == f"{ring}/cryptoKeys/other"


def test_all_problems_are_reported_together() -> None:
    wrong = {
        "image": {"repository": 5},
        "kms": {"colour": "red"},
        "environments": {"staging": {"prefx": "x", "namespace": "Not A Label", "zone": ""}, "lab": {}},
        "time_limits": {"kms": "soon"},
    }
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", wrong)], ROOT)

    why = caught.value.why
    assert caught.value.what == "The settings are not valid."
    assert "- image.repository is 5, but should be a string." in why
    assert "- kms.colour is not a setting; allowed here: project, location, key_ring." in why
    assert "- environments.staging.prefx is not a setting; did you mean prefix?; allowed here: branch" in why
    assert "- environments.staging.namespace is 'Not A Label'" in why
    assert "- environments.staging.zone is ''" in why
    assert "- environments.lab.branch is missing." in why
    assert "- time_limits.kms is 'soon', but should be a duration above zero, such as 10s, 15m or 1h." in why


@pytest.mark.parametrize("service", ["container", "secret_manager", "sql_admin", "storage"])
@pytest.mark.parametrize(
    "address", ["http://storage.googleapis.com", "storage.googleapis.com", "", "ftp://127.0.0.1"]
)
def test_a_service_address_needs_https_or_this_machine(service: str, address: str) -> None:
    wrong = {"google": {service: address}}
    with pytest.raises(UsageError, match=r"settings are not valid") as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", wrong)], ROOT)

    assert f"- google.{service} is {address!r}, but should be an address such as https://" in caught.value.why


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:4443", "http://localhost:1", "https://storage.example/path"]
)
def test_addresses_of_this_machine_need_no_tls(address: str) -> None:
    assert checked_in_settings(google={"storage": address}).google.storage == address


@pytest.mark.parametrize("source", ["invoke.yaml", "invoke -f"])
def test_a_misspelled_section_is_refused(source: str) -> None:
    """Its values would be ignored."""
    with pytest.raises(UsageError) as caught:
        read(
            [Layer("invoke.yaml", DEFAULTS), Layer(source, {"time_limit": {"deploy": "10m"}, "tasks": {}})],
            ROOT,
        )

    assert caught.value.why.startswith(
        "- time_limit is not a setting; did you mean time_limits?; allowed here:"
    )


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"deploy": {"migrations": ["migration"]}},
            "deploy.migrations.0 is 'migration', but should be a kind such as Deployment, or a kind and name such "
            "as Deployment/web.",
        ),
        (
            {"environments": {"staging": {"namespace": "Web"}}},
            "environments.staging.namespace is 'Web', but should be a name of lower-case letters, digits and inner "
            "dashes, at most 63 characters.",
        ),
        (
            {"kustomize": {"kubernetes": 1.36}},
            'kustomize.kubernetes is 1.36, but should be a version such as "1.36", in quotes.',
        ),
    ],
    ids=["object", "label", "version"],
)
def test_a_wrong_form_is_explained_in_words(section: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", section)], ROOT)

    assert caught.value.why == f"- {said}"


def test_credential_files_are_relative_to_the_settings_folder() -> None:
    """As all paths are: a task may be run from another folder."""
    named = {"google": {"credentials_file": "keys/a.json", "ca_file": "/etc/ca.pem"}}

    google = read([Layer("invoke.yaml", DEFAULTS), Layer("invoke -f", named)], ROOT).google

    assert google.credentials_file == str(ROOT / "keys/a.json")
    assert google.ca_file == "/etc/ca.pem"
    assert google.encrypter_credentials_file == ""


def test_a_section_may_hold_anchors_for_others() -> None:
    assert read([Layer("invoke.yaml", {**DEFAULTS, "x-limits": {"deploy": "10m"}})], ROOT)


def test_a_user_file_may_hold_sections_of_other_projects() -> None:
    assert read([Layer("~/.invoke.yaml", {"website": {}}), Layer("invoke.yaml", DEFAULTS)], ROOT)


def test_invoke_s_own_sections_are_known() -> None:
    assert set(INVOKES_OWN) == set(Config.global_defaults())


def test_a_section_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid") as caught:
        read([Layer("invoke.yaml", {**DEFAULTS, "environments": ["staging"]})], ROOT)

    assert "environments is ['staging']" in caught.value.why


def test_a_problem_within_a_list_says_what_is_allowed_there() -> None:
    phases = {"deploy": {"phases": [{"titel": "jobs", "objects": ["Job"]}]}}
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", phases)], ROOT)

    assert caught.value.why == (
        "- deploy.phases.0.titel is not a setting; did you mean title?; allowed here: title, objects.\n"
        "- deploy.phases.0.title is missing."
    )


@pytest.mark.parametrize(
    ("hook", "is_fine"),
    [
        ("settings --json", True),
        ("release.show --to 'it is' --by \"a \\\" b\" c\\'s", True),
        ("release.list --environment 'staging", False),
        ('release.list --environment "staging', False),
        ("release.list --environment staging\\", False),
        ("deploy --branch develop", False),
    ],
)
def test_a_hook_is_a_readable_command_line(hook: str, *, is_fine: bool) -> None:
    layers = [Layer("a", DEFAULTS), Layer("b", {"deploy": {"hooks": {"after_deploy": [hook]}}})]
    if is_fine:
        assert shlex.split(read(layers, ROOT).deploy.hooks.after_deploy[0])
        return
    with pytest.raises(UsageError) as caught:
        read(layers, ROOT)
    assert caught.value.why.startswith("- deploy.hooks.after_deploy")


def test_a_missing_invoke_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", {})], tmp_path)

    assert caught.value.what == f"There are no settings: {tmp_path / 'invoke.yaml'} is missing."
    assert caught.value.next_step == "Restore it: git checkout -- invoke.yaml"


def test_at_least_one_environment_is_required() -> None:
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", {**DEFAULTS, "environments": {}})], ROOT)

    assert caught.value.why == "- environments is {}, but should be a mapping of length >= 1."


def test_two_environments_may_not_share_a_branch() -> None:
    shared = {"environments": {"production": {"branch": "develop"}}}
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", shared)], ROOT)

    assert caught.value.why == "- environments staging and production share the branch develop."


@pytest.mark.parametrize(
    ("asked", "what"),
    [("qa", "There is no environment 'qa'."), ("", "No environment was named.")],
    ids=["unknown", "empty"],
)
def test_an_unknown_environment_names_the_known_ones(asked: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_in_settings().environment(asked)

    assert str(caught.value) == (
        f"{what}\n  why:  Known environments: staging, production.\n"
        "  next: Name one, for example --environment staging."
    )


@pytest.mark.parametrize(
    ("asked", "what"),
    [("feature", "No environment deploys branch 'feature'."), ("", "No branch was named.")],
    ids=["unknown", "empty"],
)
def test_an_unknown_branch_names_the_known_ones(asked: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_in_settings().environment_of_branch(asked)

    assert str(caught.value) == (
        f"{what}\n  why:  Known branches: develop → staging, master → production.\n"
        "  next: Name one, for example --branch develop."
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1.5m", 90), ("2h", 7200)], ids=["seconds", "minutes", "hours"]
)
def test_durations(text: str, seconds: float) -> None:
    layers = [Layer("invoke.yaml", DEFAULTS), Layer("variables", {"time_limits": {"kms": text}})]

    assert read(layers, ROOT).time_limits.kms == seconds


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"time_limits": {"kms": "999999999h"}},
            "time_limits.kms is '999999999h', but should be a duration of at most a year.",
        ),
        (
            {"kustomize": {"options": "--x 'y"}},
            'kustomize.options is "--x \'y", but should be options with every quote closed.',
        ),
    ],
    ids=["too long to wait for", "an open quote"],
)
def test_values_that_would_fail_later_are_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read([Layer("invoke.yaml", DEFAULTS), Layer("variables", section)], ROOT)

    assert caught.value.why == f"- {said}"


def test_later_layers_win_key_by_key() -> None:
    low = Layer("low", {"a": {"x": 1, "y": 2}, "b": 1})
    high = Layer("high", {"a": {"y": 3}, "b": {"z": 4}})

    assert merged([low, high]) == {"a": {"x": 1, "y": 3}, "b": {"z": 4}}


def test_each_value_is_explained_by_the_layer_it_came_from() -> None:
    layers = [
        Layer("invoke.yaml", {"image": {"repository": "low", "default_tag": "t"}, "run": {"echo": True}}),
        Layer("variables", {"image": {"repository": "high"}}),
    ]

    assert explain(layers) == [
        Explained("image.repository", "high", "variables"),
        Explained("image.default_tag", "t", "invoke.yaml"),
    ]


def test_listing_leaves_out_other_environments_and_aligns() -> None:
    explained = [
        Explained("kms.project", "keys", "invoke.yaml"),
        Explained("environments.staging.branch", "develop", "invoke.yaml"),
        Explained("environments.production.branch", "master", "INVOKE_ variable"),
    ]

    assert listing.concerning(explained, "") == explained
    assert listing.as_text(listing.concerning(explained, "staging")) == (
        'kms.project                  invoke.yaml  "keys"\n'
        'environments.staging.branch  invoke.yaml  "develop"'
    )
    assert listing.as_json(explained[:1]) == (
        '[\n  {\n    "key": "kms.project",\n    "value": "keys",\n    "source": "invoke.yaml"\n  }\n]'
    )
