"""What people are told about an upload."""

from tasks.lib.duration import spoken
from tasks.lib.ember.upload import UploadSummary

UNITS = ("B", "KiB", "MiB", "GiB")


def sentence(summary: UploadSummary) -> str:
    """One line on what an upload did."""
    done = f"{summary.sent} sent ({size(summary.stored)}), {summary.unchanged} unchanged"
    if summary.relabelled:
        done += f", {summary.relabelled} with new headers"
    return f"{summary.files} files: {done}, in {spoken(summary.seconds)}."


def size(count: float) -> str:
    """Bytes in the unit that fits: `512 B`, `1.5 MiB`."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit fits everything")
