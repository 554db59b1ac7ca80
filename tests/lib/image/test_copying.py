"""Images looked up, copied, promoted and deleted in a registry that answers over real HTTP."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.lib.errors import Failure, UsageError
from tasks.lib.image import inventory, prune, push
from tasks.lib.image.digest import missing, pin
from tasks.lib.image.inventory import Held
from tasks.lib.image.promote import promote
from tasks.lib.image.prune import Fate
from tasks.lib.image.push import Remote
from tasks.lib.image.reference import Reference
from tasks.lib.image.registry import Registry, connect
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.lib.image.memory_registry import IMAGE, INDEX, MemoryRegistry, serving

COMMIT = "c" * 40
LABELS = {"org.opencontainers.image.revision": COMMIT}
NONE = "sha256:" + "0" * 64


@pytest.fixture
def held() -> Iterator[MemoryRegistry]:
    with serving() as registry:
        yield registry


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: MemoryRegistry) -> Settings:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return checked_in_settings(
        image={"repository": f"{held.address}/staging"},
        registry={"plain_http": ["us-docker.pkg.dev"], "resolve": True},
        time_limits={"registry_attempt": "30s", "registry": "60s"},
    )


@pytest.fixture
def registry(settings: Settings, held: MemoryRegistry) -> Registry:
    return connect(settings, held.address)


@pytest.fixture
def staging(held: MemoryRegistry) -> Reference:
    return Reference(held.address, "staging")


@pytest.fixture
def production(held: MemoryRegistry) -> Reference:
    return Reference(held.address, "production")


def test_images_that_the_registry_no_longer_holds_are_told(settings: Settings, held: MemoryRegistry) -> None:
    there, own = held.image("staging", "layer", COMMIT), f"{held.address}/staging"
    images = [f"{own}:{COMMIT}@{there}", f"{own}:{COMMIT}@{NONE}", f"{own}:{COMMIT}", "postgres:16"]
    containers = [{"name": str(number), "image": image} for number, image in enumerate(images)]

    absent = missing(settings, [{"kind": "Pod", "spec": {"containers": containers}}])

    assert absent == [f"{own}:{COMMIT}@{NONE}"]


def test_without_a_digest_header_the_manifest_is_fetched(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    digest = held.image("staging", "one", "v1")
    held.states_digests = False

    assert registry.digest(staging.tagged("v1")) == digest
    assert held.asked == ["HEAD /v2/staging/manifests/v1", "GET /v2/staging/manifests/v1"]


def test_a_repository_that_is_not_there_has_no_tags(registry: Registry, staging: Reference) -> None:
    assert registry.tags(staging) == []


def test_a_repository_whose_tags_are_all_gone_has_none(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    held.image("staging", "one")

    assert registry.tags(staging) == []


@pytest.mark.parametrize(
    ("mounts", "query", "carried"),
    [(True, "", 0), (False, "", 2), (False, "?state=abc", 2)],
    ids=["mounted", "carried over", "carried over to an address with a query"],
)
def test_an_image_is_copied_whole_to_another_repository(
    registry: Registry, held: MemoryRegistry, staging: Reference, production: Reference,
    mounts: bool, query: str, carried: int,
) -> None:  # fmt: skip
    digest = held.image("staging", "layer", "v1")
    held.mounts, held.upload_query = mounts, query

    assert registry.copy(staging.tagged("v1"), production.tagged("live")) == digest

    assert held.tags["production", "live"] == digest
    copied = {content for (repository, _), content in held.blobs.items() if repository == "production"}
    assert copied == {b"layer", b"{}"}
    assert sum(line.startswith("PUT /v2/production/blobs/uploads/1") for line in held.asked) == carried


def test_an_index_is_copied_with_every_image_it_lists(
    registry: Registry, held: MemoryRegistry, staging: Reference, production: Reference
) -> None:
    images = [held.image("staging", "amd64"), held.image("staging", "arm64")]
    index = held.manifest("staging", {"manifests": [{"digest": one} for one in images]}, INDEX, "v1")

    registry.copy(staging.tagged("v1"), production.tagged("live"))

    assert {digest for repository, digest in held.manifests if repository == "production"} == {index, *images}
    assert held.manifests["production", index][0] == INDEX


def test_a_tag_in_the_same_repository_copies_no_layer(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    digest = held.image("staging", "layer", "v1")

    registry.copy(staging.at(digest), staging.tagged("live"))

    assert held.tags["staging", "live"] == digest
    assert not any("/blobs/" in line for line in held.asked)


def test_what_the_registry_lacks_is_not_copied(registry: Registry, staging: Reference) -> None:
    with pytest.raises(Failure) as failure:
        registry.copy(staging.tagged("v1"), staging.tagged("live"))

    assert failure.value.what == f"The registry has no image {staging}:v1."


def test_an_empty_index_has_no_configuration(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    held.manifest("staging", {"manifests": []}, INDEX, "v1")
    manifest = registry.manifest(staging.tagged("v1"))

    assert manifest
    assert (manifest.image_id, manifest.blobs, manifest.children) == ("", [], [])
    assert registry.configuration(staging.tagged("v1"), manifest) == {}


def test_images_are_listed_newest_first_with_all_their_tags(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    old = held.image("staging", "one", "a", created="2024-01-01T00:00:00Z")
    new = held.image("staging", "three", "c", "b", created="2024-02-02T00:00:00Z", config={"Labels": LABELS})
    held.tags["staging", "vanished"] = NONE

    assert inventory.held(settings, staging) == [
        Held(new, ["b", "c"], "2024-02-02T00:00:00Z", COMMIT, 5),
        Held(old, ["a"], "2024-01-01T00:00:00Z", "", 3),
    ]


def test_an_index_has_the_age_and_size_of_its_image(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    held.image("staging", "one", "old", created="2024-01-01T00:00:00Z")
    listed = held.image("staging", "twelve", created="2024-02-02T00:00:00Z", config={"Labels": LABELS})
    index = held.manifest("staging", {"manifests": [{"digest": listed}, {"digest": NONE}]}, INDEX, "new")

    newest, _ = inventory.held(settings, staging)

    assert newest == Held(index, ["new"], "2024-02-02T00:00:00Z", COMMIT, len("twelve"), [listed, NONE])


def test_an_image_deleted_meanwhile_is_not_listed(registry: Registry, staging: Reference) -> None:
    assert inventory._describe(registry, staging.at(NONE), ["a"]) is None


def test_an_untagged_index_in_use_is_listed_with_its_parts(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    image = held.image("staging", "one", created="2024-01-01T00:00:00Z")
    inner = held.manifest("staging", {"manifests": [{"digest": image, "mediaType": IMAGE}]}, INDEX)
    index = held.manifest("staging", {"manifests": [{"digest": inner, "mediaType": INDEX}]}, INDEX)

    assert inventory.held(settings, staging) == []
    assert inventory.held(settings, staging, {index, NONE, "v1"}) == [
        Held(index, [], "2024-01-01T00:00:00Z", "", 3, [inner, image])
    ]


def test_a_prune_keeps_parts_of_kept_indexes(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    def index(tag: str, *images: str) -> str:
        return held.manifest("staging", {"manifests": [{"digest": one} for one in images]}, INDEX, tag)

    shared = held.image("staging", "shared", "shared-amd64", created="2024-01-01T00:00:00Z")
    lost = held.image("staging", "lost", created="2024-01-01T00:00:00Z")
    named = held.image("staging", "named", "named-arm64", created="2024-01-01T00:00:00Z")
    new = held.image("staging", "new", created="2024-03-03T00:00:00Z")
    kept, old = index("new", new, shared), index("old", lost, shared, named)

    fates = prune.judge(inventory.held(settings, staging), 1, set())
    gone = prune.delete(settings, staging, fates)

    assert gone == [old, named, lost]
    assert {digest for _, digest in held.manifests} == {kept, new, shared}
    assert {fate.image.digest: fate.reason for fate in fates if fate.kept} == {
        kept: "among the newest 1", shared: "part of new",
    }  # fmt: skip


def test_a_list_for_scripts_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(inventory.as_json([Held(NONE, ["a"], "", COMMIT, 3)])) == [
        {"digest": NONE, "tags": ["a"], "created": "", "commit": COMMIT, "size": 3, "parts": []}
    ]


@pytest.mark.parametrize("move", [True, False], ids=["may move", "may not"])
def test_a_promotion_to_a_free_tag_points_it_there(
    settings: Settings, held: MemoryRegistry, staging: Reference, production: Reference, *, move: bool
) -> None:
    digest = held.image("staging", "one", "v1")

    found = promote(settings, staging.tagged("v1"), production.tagged("live"), move=move)

    assert found == held.tags["production", "live"] == digest


def test_a_promotion_that_was_done_changes_nothing(
    settings: Settings, held: MemoryRegistry, staging: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = held.image("staging", "one", "v1", "live")

    assert promote(settings, staging.tagged("v1"), staging.tagged("live")) == digest

    assert capsys.readouterr().err == f"{staging}:live is this image already.\n"
    assert {line.partition(" ")[0] for line in held.asked} == {"HEAD"}


@pytest.mark.parametrize(
    ("labels", "tag", "why"),
    [
        ({"org.lookit.built-from": "commit with uncommitted changes"}, "live", "uncommitted changes"),
        ({"org.opencontainers.image.revision": "d" * 40}, "c" * 40, f"Its labels name commit {'d' * 40}."),
        ({}, "c" * 40, "Its labels name no commit."),
    ],
    ids=["of changes", "of another commit", "of no commit"],
)
def test_an_image_is_not_promoted_to_another_commit_tag(
    settings: Settings, held: MemoryRegistry, staging: Reference, labels: dict[str, str], tag: str, why: str
) -> None:
    held.image("staging", "one", "v1", config={"Labels": labels})

    with pytest.raises(UsageError, match="is not promoted") as refused:
        promote(settings, staging.tagged("v1"), staging.tagged(tag), move=True)

    assert why in refused.value.why
    assert set(held.tags) == {("staging", "v1")}


def test_an_image_is_promoted_to_its_commit_tag(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    commit = "c" * 40
    digest = held.image(
        "staging", "1", "v1", config={"Labels": {"org.opencontainers.image.revision": commit}}
    )

    assert promote(settings, staging.tagged("v1"), staging.tagged(commit)) == digest


def test_a_tag_moves_from_another_image_only_on_request(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    new, other = held.image("staging", "one", "v1"), held.image("staging", "two", "live")
    asked = staging.tagged("v1"), staging.tagged("live")

    with pytest.raises(UsageError) as refused:
        promote(settings, *asked)
    assert refused.value.what == f"{staging}:live is another image already: {other}."
    assert refused.value.why == f"{staging}:v1 is {new}."

    promote(settings, *asked, move=True)
    assert held.tags["staging", "live"] == new


def test_an_image_that_is_missing_cannot_be_promoted(settings: Settings, staging: Reference) -> None:
    with pytest.raises(Failure, match="The registry has no image"):
        promote(settings, staging.tagged("v1"), staging.tagged("live"))


def test_what_changes_while_a_prune_asks_is_shown_and_kept(
    settings: Settings, held: MemoryRegistry, staging: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, tagged, newest = (
        held.image("staging", tag, tag, created=f"2024-01-0{day}T00:00:00Z")
        for day, tag in enumerate(("gone", "tagged", "newest"), start=1)
    )

    def somebody_pushes_and_tags(_question: str) -> bool:
        held.image("staging", "pushed", "pushed", created="2024-01-04T00:00:00Z")
        held.tags["staging", "live"] = tagged
        return True

    prune.prune(settings, staging, 1, set, somebody_pushes_and_tags)

    assert sorted(tag for _, tag in held.tags) == ["live", "newest", "pushed", "tagged"]
    assert (gone in str(held.manifests), newest in str(held.manifests)) == (False, True)
    told = capsys.readouterr().err.partition("Changed since, and kept:")[2]
    assert "live, tagged" in told
    assert "not as it was shown" in told
    assert told.endswith("Deleted 1 image(s).\n")


def test_a_prune_that_nobody_agrees_to_deletes_nothing(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    held.image("staging", "one", "a", created="2024-01-01T00:00:00Z")

    prune.prune(settings, staging, 0, set, lambda _: False)

    assert list(held.tags) == [("staging", "a")]


@pytest.mark.parametrize(("before", "said"), [("", "It was free"), ("other", "It was sha256:")])
def test_a_tag_moved_during_a_copy_is_kept(
    settings: Settings,
    held: MemoryRegistry,
    staging: Reference,
    production: Reference,
    before: str,
    said: str,
) -> None:
    """Somebody else's promotion ends after the first look at the tag, while this one's layers are copied."""
    held.image("staging", "one", "v1")
    if before:
        held.image("production", before, "live")

    def somebody_tags(line: str) -> None:
        if line.startswith("POST /v2/production/blobs"):
            held.image("production", "theirs", "live")

    held.watch = somebody_tags

    with pytest.raises(Failure, match="production:live was changed meanwhile and is left") as caught:
        promote(settings, staging.tagged("v1"), production.tagged("live"), move=True)

    assert said in caught.value.why
    assert held.tags["production", "live"] in caught.value.what


def test_only_images_that_are_not_kept_are_deleted(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    kept, gone = held.image("staging", "one", "a"), held.image("staging", "two", "b", "c")
    fates = [Fate(Held(kept, ["a"], "", "", 3), True, ""), Fate(Held(gone, ["b", "c"], "", "", 3), False, "")]

    assert prune.delete(settings, staging, fates) == [gone]

    assert held.asked == [f"DELETE /v2/staging/manifests/{gone}"]
    assert list(held.tags) == [("staging", "a")]


def test_a_refused_deletion_lists_what_was_deleted(
    settings: Settings, held: MemoryRegistry, staging: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = held.image("staging", "one", "a"), held.image("staging", "two", "b")
    fates = [Fate(Held(one, [], "", "", 3), False, "") for one in (first, second)]
    held.undeletable = {second}

    with pytest.raises(Failure, match="DELETE of .* was refused") as refused:
        prune.delete(settings, staging, fates)

    assert capsys.readouterr().err == f"Deleted before that: {first}.\n"
    assert "roles/artifactregistry.repoAdmin" in refused.value.next_step


def test_tags_are_deleted_first_in_registries_of_google(
    settings: Settings, held: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{held.address}")  # leads the name to the server of this test
    monkeypatch.setenv("http_proxy", f"http://{held.address}")
    digest = held.image("p/r/lookit", "one", "a", "b")
    fates = [Fate(Held(digest, ["a", "b"], "", "", 3), False, "")]

    prune.delete(settings, Reference("us-docker.pkg.dev", "p/r/lookit"), fates)

    manifests = "/v2/p/r/lookit/manifests"
    assert held.asked == [f"DELETE {manifests}/{name}" for name in ("a", "b", digest)]
    assert (held.manifests, held.tags) == ({}, {})


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("YES \n", True), ("\n", False), ("no\n", False), ("yep\n", False)]
)
def test_only_yes_is_yes(
    typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal, typed_into = os.openpty()
    with os.fdopen(typed_into) as stdin, os.fdopen(terminal, "w") as keyboard:
        monkeypatch.setattr(sys, "stdin", stdin)
        keyboard.write(typed)
        keyboard.flush()

        assert prune.agreed("Delete 2 images?") is agreed

    assert capsys.readouterr().err == "Delete 2 images? [y/N]\n"


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("y\n")
    with (tmp_path / "in").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)

        with pytest.raises(UsageError) as refused:
            prune.agreed("Delete 2 images?")

    assert (refused.value.why, refused.value.next_step) == ("Delete 2 images?", "Say --yes if that is meant.")


def test_a_push_looks_up_what_each_name_holds(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    mine = held.image("staging", "one", "mine", config={"Labels": LABELS})
    other = held.image("staging", "two", "other", config={"Labels": LABELS}, created="2024")
    plain = held.image("staging", "three", "plain", config={"Labels": None})
    ids = {
        tag: json.loads(held.manifests["staging", digest][1])["config"]["digest"]
        for tag, digest in (("mine", mine), ("other", other), ("plain", plain))
    }

    found = {
        tag: push.look_up(registry, staging.tagged(tag), ids["mine"])
        for tag in ("free", "mine", "other", "plain")
    }

    assert found == {
        "free": Remote(),
        "mine": Remote(mine, ids["mine"]),
        "other": Remote(other, ids["other"], COMMIT),
        "plain": Remote(plain, ids["plain"], ""),
    }


def test_an_index_gets_the_tag_and_keeps_its_digest(
    registry: Registry, held: MemoryRegistry, staging: Reference
) -> None:
    listed = held.image("staging", "one", config={"Labels": LABELS})
    index = held.manifest("staging", {"manifests": [{"digest": listed}]}, INDEX, "v1")
    tag = staging.tagged("v1")
    taken, same = push.look_up(registry, tag, "sha256:local"), push.look_up(registry, tag, index)

    assert taken == Remote(index, index, COMMIT)
    assert same == Remote(index, index)
    with pytest.raises(UsageError, match="Release tags never change"):
        push.decide("sha256:local", COMMIT, {tag: taken}, [tag], reuse=False)


def test_rendered_objects_name_the_digest_that_the_registry_holds(
    settings: Settings, held: MemoryRegistry, staging: Reference
) -> None:
    digest = held.image("staging", "one", "v1")
    pod = {"kind": "Pod", "spec": {"containers": [{"image": f"{staging}:v1"}]}}

    assert pin(settings, [pod]) == {f"{staging}:v1": digest}
    assert pod["spec"]["containers"] == [{"image": f"{staging}:v1@{digest}"}]  # type: ignore[index]


def test_an_image_that_nobody_pushed_stops_before_anything_is_deployed(
    settings: Settings, staging: Reference
) -> None:
    pod = {"kind": "Pod", "spec": {"containers": [{"image": f"{staging}:v1"}]}}

    with pytest.raises(Failure) as failure:
        pin(settings, [pod])

    assert failure.value.what == f"The registry has no image {staging}:v1."
    assert failure.value.next_step == (
        "Build and push it (./inv build, ./inv push), or see what there is: "
        f"./inv images.list --repository {staging}"
    )
