from pathlib import Path

from tasks.lib.deploy.doom import NO_SUCH_IMAGE, RULES

SAID = {"": "any", NO_SUCH_IMAGE: "image unknown or access denied"}


def test_the_page_for_those_on_call_lists_every_rule() -> None:
    page = Path("docs/on-call.md").read_text()
    rows = [
        f"| {rule.reason} | {SAID[rule.message]} | {'at once' if not rule.patience else f'after {rule.patience:g} s'} "
        f"| {rule.meaning} |"
        for rule in RULES
    ]
    assert [line for line in page.splitlines() if line in rows] == rows
