"""Reading git's log of encrypted files."""

from tasks.lib.secrets.log import FORMAT, Entry, audit_hint, log_argv, parse_log

OUTPUT = (
    "\0abc1234\x002026-01-02T03:04:05+00:00\0A. Owner <a@example.org>\0Rotate\0\n\n"
    "M\tstaging/a.env.enc\nA\tstaging/b.json.enc\n"
    "\0def5678\x002025-12-31T00:00:00+00:00\0B <b@example.org>\0Drop | \x1e one\x1f\0\n\nD\tstaging/c.env.enc\n"
)


def test_the_command_lists_commits_with_what_each_did() -> None:
    assert log_argv(["x.enc", "y.enc"]) == (
        "git", "log", f"--format={FORMAT}", "--date=iso-strict", "--name-status", "--", "x.enc", "y.enc",
    )  # fmt: skip


def test_commits_and_changes_are_read() -> None:
    assert parse_log(OUTPUT) == [
        Entry("abc1234", "2026-01-02T03:04:05+00:00", "A. Owner <a@example.org>", "Rotate",
              ("staging/a.env.enc changed", "staging/b.json.enc added")),
        Entry("def5678", "2025-12-31T00:00:00+00:00", "B <b@example.org>", "Drop | \x1e one\x1f",
              ("staging/c.env.enc removed",)),
    ]  # fmt: skip


def test_no_commits_are_no_entries() -> None:
    assert parse_log("") == []


KEYS = [f"projects/p/locations/l/keyRings/r/cryptoKeys/{name}" for name in "kkm"]


def test_each_key_comes_with_the_command_for_its_log() -> None:
    lines = audit_hint(KEYS).splitlines()
    assert lines[0] == (
        'Who used k: gcloud logging read \'protoPayload.serviceName="cloudkms.googleapis.com" AND '
        'protoPayload.resourceName:"projects/p/locations/l/keyRings/r/cryptoKeys/k"\' --project p --freshness 30d'
    )
    assert [line.split(":")[0] for line in lines[:2]] == ["Who used k", "Who used m"]
    assert lines[2].startswith("(Encrypt and Decrypt are Data Access logs")
    assert audit_hint(["no key at all"]) == ""
