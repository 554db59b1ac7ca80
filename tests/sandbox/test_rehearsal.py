"""What a rehearsal decides by itself; tests/e2e/test_rehearse.py runs whole ones."""

import pytest

from sandbox.rehearsal import site_of
from tasks.lib.errors import Failure
from tests.kubernetes.rendering import build


def test_the_site_is_found_in_the_manifests() -> None:
    documents = list(build("staging").objects.values())

    assert site_of(documents) == ("babieshelpingscience.com", 32403)
    with pytest.raises(Failure, match="The manifests have no site"):
        site_of([one for one in documents if one["kind"] != "Ingress"])
