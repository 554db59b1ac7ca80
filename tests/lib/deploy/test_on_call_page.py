from pathlib import Path

from tasks.lib.deploy.rollout.failure_rules import NEVER, RULES, Rule
from tests.builders import checked_in_settings


def spoken(rule: Rule) -> str:
    if rule.patience == NEVER:
        return "only by the time limit"
    if not rule.patience:
        return "at once"
    return f"after {rule.patience:g} s" + (f" (`time_limits.{rule.limit}`)" if rule.limit else "")


def test_the_page_for_those_on_call_lists_every_rule() -> None:
    page = Path("docs/on-call.md").read_text()
    rows = [
        f"| {rule.where} | {rule.reason} | {rule.said} | {spoken(rule)} | {rule.meaning} |" for rule in RULES
    ]
    assert [line for line in page.splitlines() if line in rows] == rows


def test_default_limits_match_the_on_call_page() -> None:
    limits = checked_in_settings().time_limits
    assert {rule.limit: rule.patience for rule in RULES if rule.limit} == {"scheduling": limits.scheduling}
