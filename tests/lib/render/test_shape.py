"""Objects that parse and are malformed all the same: told with object and field."""

import pytest

from tasks.lib.errors import Failure
from tasks.lib.render.documents import split
from tasks.lib.render.validation import validate

NAMED = "metadata: {name: it}\n"
JOB = f"apiVersion: batch/v1\nkind: Job\n{NAMED}"
DEPLOYMENT = f"apiVersion: apps/v1\nkind: Deployment\n{NAMED}"
SECRET = f"apiVersion: v1\nkind: Secret\n{NAMED}"
ROLLOUT = f"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n{NAMED}"


def of_pods(containers: str) -> str:
    return f"spec: {{template: {{spec: {{containers: {containers}}}}}}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SECRET + "data: {username: admin!}\n", "Secret it: data.username: is not base64; plain text belongs under stringData"),
        (SECRET + "data: {username: YWRtaW4}\n", "Secret it: data.username: is not base64; plain text belongs under stringData"),
        (SECRET + "data: {username: YWRt!aW4=}\n", "Secret it: data.username: is not base64; plain text belongs under stringData"),
        (SECRET + "data: [a]\n", "Secret it: data: [redacted] is not of type 'object', 'null'"),
        (JOB + "spec:\n", "Job it: spec.template.spec.containers: missing"),
        (JOB + of_pods("[]"), "Job it: spec.template.spec.containers: missing"),
        (DEPLOYMENT + "spec: [a]\n", "Deployment it: spec.template.spec.containers: missing"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: it}\nspec: {ports: [null]}\n",
            "Service it: spec.ports.0: is empty",
        ),
        (
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: it}\nspec:\n",
            "CustomResourceDefinition it: top level: 'spec' is a required property",
        ),
        ("- a\n", "object without kind without name: it is not a mapping with apiVersion, kind and metadata"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: a\n", "ConfigMap without name: metadata.name: missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [a]}\n", "ConfigMap ['a']: metadata.name: should be text"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: []}\n",
            "ConfigMap it: metadata.namespace: should be text",
        ),
        (
            "apiVersion: a.example.org/v1\nkind: Widget\nmetadata: {name: it, labels: {a: [b]}}\n",
            "Widget it: metadata.labels: should be a mapping of texts",
        ),
        (ROLLOUT + of_pods("text"), "Rollout it: spec.template.spec.containers: 'text' is not of type 'array'"),
        (ROLLOUT + of_pods("[null]"), "Rollout it: spec.template.spec.containers.0: is empty"),
        (
            ROLLOUT + of_pods("[{name: a, env: {A: b}}]"),
            "Rollout it: spec.template.spec.containers.0.env: {'A': 'b'} is not of type 'array', 'null'",
        ),
    ],
    ids=[
        "plain text", "base64 without its end", "base64 with another character", "a list for data", "nothing in a spec", "no containers",
        "a list for a spec", "null in a list", "null for what is required", "a list for an object",
        "text for metadata", "a list for a name", "a list for a namespace", "a list for a label",
        "text for a custom resource's containers", "null among them", "a mapping for a list of them",
    ],
)  # fmt: skip
def test_a_malformed_object_is_named_with_its_field(text: str, said: str) -> None:
    with pytest.raises(Failure) as caught:
        validate(split(text), "1.36")

    assert caught.value.why == said


@pytest.mark.parametrize(
    "text",
    [
        SECRET + "data: {a: YWRtaW4=, b: null}\n",
        SECRET + "data:\n  a: |\n    YWRt\n    aW4=\n",
        SECRET + "data:\n",
        DEPLOYMENT + "spec: {replicas: null, selector: {}, template: {spec: {containers: [{name: a}]}}}\n",
        ROLLOUT + of_pods("[{name: a, extra: 1}]"),
        ROLLOUT + "spec: text\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, labels: {a: b, c: null}, annotations: {d: e}}\n",
        "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: it}\nspec: {tasks: []}\n",
    ],
)
def test_what_kubernetes_accepts_is_not_refused(text: str) -> None:
    validate(split(text), "1.36")
