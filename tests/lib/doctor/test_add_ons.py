"""Which classes the Ingresses of the manifests name."""

from tasks.lib.doctor import add_ons


def test_classes_are_found_in_field_and_annotation() -> None:
    contents = [
        {"kind": "Ingress", "metadata": {}, "spec": {"ingressClassName": "nginx"}},
        {"kind": "Ingress", "metadata": {"annotations": {"kubernetes.io/ingress.class": "old"}}, "spec": {}},
        {"kind": "Ingress", "metadata": {}, "spec": {}},
        {"kind": "Service", "metadata": {}, "spec": {"ingressClassName": "none"}},
    ]

    assert add_ons.classes(contents) == ["nginx", "old"]
