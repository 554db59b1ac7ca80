import pytest

from tasks.lib.cluster import validity


@pytest.mark.parametrize("name", ["a", "a.b", "a-1.b-2", "0", "x" * 253])
def test_a_name_is_a_dns_subdomain(name: str) -> None:
    assert validity.is_name(name)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a\n", "é", "x" * 254, None, 7])
def test_other_names_are_left_to_the_server(name: object) -> None:
    assert not validity.is_name(name)


@pytest.mark.parametrize(
    "labels", [{}, {"a": ""}, {"example.org/a": "v"}, {"A.b_c-9": "A.b_c-9"}, {"x" * 63: "x" * 63}]
)
def test_labels(labels: dict[str, str]) -> None:
    assert validity.are_labels(labels)


@pytest.mark.parametrize(
    "labels",
    [
        {"": "v"},
        {"-a": "v"},
        {"a/b/c": "v"},
        {"/a": "v"},
        {"a/": "v"},
        {"UP.org/a": "v"},
        {"x" * 64: "v"},
        {"a": "-"},
        {"a": "x" * 64},
        {"a": "two words"},
        {"a": "line\n"},
        {"é": "v"},
    ],
)
def test_other_labels_are_left_to_the_server(labels: dict[str, str]) -> None:
    assert not validity.are_labels(labels)


@pytest.mark.parametrize(
    ("annotations", "taken"),
    [
        ({"a": "any\ntext: é 😀"}, True),
        ({"a": "x" * (256 * 1024 - 1)}, True),
        ({"a": "x" * 256 * 1024}, False),
        ({"a": "é" * 128 * 1024}, False),
        ({"two words": "v"}, False),
    ],
    ids=["any text", "as much as goes", "a byte more", "bytes count, not characters", "a key that is none"],
)
def test_annotations(annotations: dict[str, str], taken: bool) -> None:
    assert validity.are_annotations(annotations) == taken


@pytest.mark.parametrize(
    ("key", "taken"),
    [("a", True), (".a", True), ("A.b_c-9", True), ("k" * 253, True), ("k" * 254, False), ("", False),
     (".", False), ("..", False), ("..a", False), ("a b", False), ("a/b", False), ("é", False), ("a\n", False)],
)  # fmt: skip
def test_keys_of_data(key: str, taken: bool) -> None:
    assert validity.is_data_key(key) == taken


@pytest.mark.parametrize(
    ("value", "texts"),
    [({}, True), ({"a": "é 😀\x00"}, True), ({"a": 7}, False), ({"a": None}, False), ({7: "a"}, False),
     ({"a": "half a \ud83d"}, False), (None, False), (["a"], False)],
)  # fmt: skip
def test_only_whole_texts_can_be_sent(value: object, texts: bool) -> None:
    assert validity.are_texts(value) == texts


@pytest.mark.parametrize(
    ("text", "as_written"),
    [("", True), ("YQ==", True), ("AAEC/w==", True), ("YQ", False), ("YR==", False), ("YQ==\n", False),
     ("_-8=", False), ("é", False)],
    ids=["empty", "padded", "binary", "no padding", "spare bits", "a line break", "for addresses", "no ASCII"],
)  # fmt: skip
def test_base_64_counts_only_as_the_server_writes_it(text: str, as_written: bool) -> None:
    assert validity.is_base64(text) == as_written


def test_what_is_small_is_measured_as_it_is_sent() -> None:
    assert validity.is_small({"a": "x" * 1_000_000})
    assert not validity.is_small({"a": "x" * 1024 * 1024})
    assert not validity.is_small({"a": "\x00" * 200_000})
