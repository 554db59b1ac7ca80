"""INVOKE_ variables that Invoke would pass over or misread."""

import pytest

from tasks.lib.settings.reader import Explained
from tasks.lib.settings.variables import faults

SETTINGS = [
    Explained("registry.resolve", value=True, source="invoke.yaml"),
    Explained("ember.connections", 128, "invoke.yaml"),
    Explained("environments.staging.cluster", "lookit-staging", "invoke.yaml"),
    Explained("deploy.phases", [], "invoke.yaml"),
    Explained("pipeline.substitutions", {}, "invoke.yaml"),
]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
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
def test_only_what_a_setting_can_be_is_taken(name: str, text: str, fault: str) -> None:
    assert faults({name: text}, SETTINGS) == ([fault] if fault else [])


def test_all_faults_are_told_together() -> None:
    assert len(faults({"INVOKE_REGISTRY_RESOLVE": "no", "INVOKE_EMBER_CONNECTIONS": "no"}, SETTINGS)) == 2
