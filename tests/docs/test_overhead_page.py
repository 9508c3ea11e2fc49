"""The page on what looking costs: made from what the steps say, and every step has a row of what was measured."""

from pathlib import Path

from engram_diagnose.collectors.capture.deep import every_step
from engram_diagnose.reference.marked import END
from engram_diagnose.reference.overhead_page import BEGIN, PAGE, overhead_page


def page(root: Path) -> str:
    return (root / "docs" / "reference" / PAGE).read_text(encoding="utf-8")


def test_what_the_steps_say_of_themselves_is_fresh(root: Path) -> None:
    assert overhead_page(page(root)) == page(root), "run: engram-diagnose rules docs docs/reference"


def test_every_step_has_a_row_of_what_was_measured_in_the_same_order(root: Path) -> None:
    measured = page(root).partition(END)[2]
    names = [line.split("|")[1].strip() for line in measured.splitlines() if line.startswith("| ")][1:]
    assert names == ["process and host", *(step.name for step in every_step())]


def test_what_is_written_by_hand_stays(root: Path) -> None:
    before, _, rest = page(root).partition(BEGIN)
    after = rest.partition(END)[2]
    made = overhead_page(f"{before}{BEGIN}\nold\n{END}{after}")
    assert made == page(root)
    assert overhead_page("# Ours\n").startswith(f"# Ours\n\n{BEGIN}\n")
