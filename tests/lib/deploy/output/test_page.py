import re

from tasks.lib.deploy.output.page import Bar, chart


def test_bars_follow_the_time_and_stay_visible() -> None:
    drawn = chart([Bar("jobs", 2, 6, is_phase=True), Bar("Job a", 2, 3, "green"), Bar("Job b", 8, 0)], 8)
    places = re.findall(r'x="([\d.]+)%" width="([\d.]+)%"', drawn)
    assert places == [("25.00", "75.00"), ("25.00", "37.50"), ("99.40", "0.60")]


def test_a_deploy_that_took_no_time_is_drawn_too() -> None:
    assert "<rect" in chart([Bar("jobs", 0, 0)], 0)


def test_labels_are_text() -> None:
    drawn = chart([Bar("<script>x</script>", 0, 1, "red", '"><b>')], 1)
    assert "<script>" not in drawn
    assert "<b>" not in drawn
