"""What is said of a machine that cannot run a real node."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.containers import checks
from sandbox.containers.checks import Folder, Machine, problems
from tasks.lib.errors import Failure

ALL = (1 << 41) - 1
STATE = Folder(Path("/home/dev/checkout/.sandbox"), "ext4", 50 * 1024**3)
IMAGES = Folder(Path("/home/dev/.cache/lookit-orchestrator/images"), "ext4", 50 * 1024**3)
GOOD = Machine(
    platform="linux",
    user=0,
    kernel=(6, 1),
    capabilities=ALL,
    programs=frozenset({*checks.PROGRAMS, "debootstrap"}),
    controllers=frozenset({"cpu", "memory", "pids", "cpuset"}),
    may_make_groups=True,
    state=STATE,
    images=IMAGES,
)


def test_a_machine_that_has_all_passes() -> None:
    checks.require(GOOD)


@pytest.mark.parametrize(
    ("machine", "what", "fix"),
    [
        (replace(GOOD, user=1000), "Only root may make namespaces and control groups.", "with sudo -E"),
        (replace(GOOD, kernel=(5, 10)), "The kernel is older than 5.13, which kube-proxy needs.", "newer Linux"),
        (replace(GOOD, capabilities=ALL & ~(1 << 21)), "Root lacks CAP_SYS_ADMIN here.", "--privileged"),
        (replace(GOOD, controllers=frozenset({"cpu"})), "Control groups lack memory, pids.", "/sys/fs/cgroup"),
        (replace(GOOD, may_make_groups=False), "Control groups cannot be made in /sys/fs/cgroup.", "--privileged"),
        (replace(GOOD, programs=GOOD.programs - {"ip"}), "ip is not installed.", "apt-get install iproute2"),
        (replace(GOOD, refused="unshare: mount /proc failed: Operation not permitted"),
         "Namespaces of a node cannot be made: unshare: mount /proc failed: Operation not permitted", "--privileged"),
        (replace(GOOD, state=replace(STATE, path=Path("/var/s"))),
         "The sandbox's folder lies in /var, of which a node has its own.", "INVOKE_SANDBOX_STATE"),
        (replace(GOOD, state=replace(STATE, file_system="overlay")),
         "Containers cannot write to /home/dev/checkout/.sandbox: its file system is overlay.", "INVOKE_SANDBOX_STATE"),
        (replace(GOOD, state=replace(STATE, free=1024**3)),
         "1.0 GiB are free in /home/dev/checkout/.sandbox; images need 5.0 GiB.", "Free some space"),
        (replace(GOOD, programs=GOOD.programs - {"debootstrap"}),
         "debootstrap, which makes images, is not installed.", "apt-get install debootstrap"),
        (replace(GOOD, has_keyring=False),
         "/usr/share/keyrings/debian-archive-keyring.gpg is missing: an image's packages are checked with it.",
         "apt-get install debian-archive-keyring"),
        (replace(GOOD, images=replace(IMAGES, file_system="fuse.sshfs")),
         f"Images cannot be made in {IMAGES.path}: its file system is fuse.sshfs.", "XDG_CACHE_HOME"),
        (replace(GOOD, images=replace(IMAGES, free=1024**3)),
         f"1.0 GiB are free in {IMAGES.path}; images need 3.0 GiB.", "Free some space"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_missing_is_named_with_its_fix(machine: Machine, what: str, fix: str) -> None:
    (found,) = problems(machine)

    assert found.what == what
    assert fix in found.fix


def test_what_makes_images_is_not_asked_for_where_all_are_made() -> None:
    checks.require(replace(GOOD, images=None, has_keyring=False, programs=GOOD.programs - {"debootstrap"}))


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Failure) as failure:
        checks.require(replace(GOOD, user=1000, state=replace(STATE, free=0)))

    assert failure.value.what == "A real node cannot run on this machine."
    assert len(failure.value.why.splitlines()) == 2
    assert failure.value.next_step.endswith("Without --containers the sandbox runs everywhere on Linux.")


def test_what_was_tried_in_vain_is_told_only_where_all_else_is_there() -> None:
    (found,) = problems(replace(GOOD, refused="unshare: not found", programs=GOOD.programs - {"unshare"}))

    assert (found.what, found.package) == ("unshare is not installed.", "util-linux")


def test_an_attempt_says_why_it_fails() -> None:
    assert checks.attempt(("true",)) == ""
    assert checks.attempt(("sh", "-c", "echo 'mount: denied' >&2; exit 32")) == "mount: denied"
    assert "nosuch" in checks.attempt(("nosuch",))


def test_another_system_is_all_there_is_to_say() -> None:
    (found,) = problems(replace(GOOD, platform="darwin", user=501, capabilities=0))

    assert found.what == "This is darwin; containers need Linux."


def test_folders_that_do_not_exist_yet_are_looked_at(tmp_path: Path) -> None:
    machine = checks.look(tmp_path / "to" / "be" / "made", tmp_path / "images")

    assert machine.images
    for folder in (machine.state, machine.images):
        assert folder.free > 0
        assert folder.file_system
    assert machine.kernel > (2, 6)
