"""The authorities are those of certifi."""

import certifi

from tasks.lib import authorities


def test_the_file_is_the_one_that_certifi_names() -> None:
    assert authorities.public() == certifi.where()
