"""INVOKE_ variables that Invoke would ignore or misread."""

import pytest

from tasks.lib.settings.reader import Explained, variable_problems

SETTINGS = [
    Explained("registry.resolve", value=True, source="invoke.yaml"),
    Explained("ember.connections", 128, "invoke.yaml"),
    Explained("environments.staging.cluster", "lookit-staging", "invoke.yaml"),
    Explained("deploy.phases", [], "invoke.yaml"),
    Explained("pipeline.substitutions", {}, "invoke.yaml"),
]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("INVOKE_REGISTRY_RESOLVE", "0", ""),
        ("INVOKE_REGISTRY_RESOLVE", "", ""),
        ("INVOKE_REGISTRY_RESOLVE", "false", "INVOKE_REGISTRY_RESOLVE is 'false', but should be 1 or 0."),
        ("INVOKE_EMBER_CONNECTIONS", "8", ""),
        ("INVOKE_EMBER_CONNECTIONS", "8x", "INVOKE_EMBER_CONNECTIONS is '8x', but should be a whole number."),
        ("INVOKE_ENVIRONMENTS_STAGING_CLUSTER", "other", ""),
        (
            "INVOKE_ENVIRONMENTS_STAGING_CLUSTR", "other",
            "INVOKE_ENVIRONMENTS_STAGING_CLUSTR sets nothing; did you mean INVOKE_ENVIRONMENTS_STAGING_CLUSTER?",
        ),
        ("INVOKE_DEPLOY", "x", "INVOKE_DEPLOY sets nothing; did you mean INVOKE_DEPLOY_PHASES?"),
        (
            "INVOKE_DEPLOY_PHASES", "x",
            "INVOKE_DEPLOY_PHASES would set a list or section, which no variable can: use a file, and name it with -f.",
        ),
        (
            "INVOKE_PIPELINE_SUBSTITUTIONS__BUCKET", "x",
            "INVOKE_PIPELINE_SUBSTITUTIONS__BUCKET sets nothing; did you mean INVOKE_PIPELINE_SUBSTITUTIONS?",
        ),
        ("INVOKE_RUN_ECHO", "x", ""),
        ("INVOKE_DEBUG", "1", ""),
        ("HOME", "/", ""),
    ],
)  # fmt: skip
def test_a_variable_must_fit_its_setting(name: str, text: str, problem: str) -> None:
    assert variable_problems({name: text}, SETTINGS) == ([problem] if problem else [])


def test_all_problems_are_reported_together() -> None:
    assert (
        len(variable_problems({"INVOKE_REGISTRY_RESOLVE": "no", "INVOKE_EMBER_CONNECTIONS": "no"}, SETTINGS))
        == 2
    )
