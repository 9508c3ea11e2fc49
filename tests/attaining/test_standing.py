"""What diagnoses of a host take from its record."""

from made_record import DAY, MEASURED, OF, part, record, whole

from engram_diagnose.attaining.standing import attained_here, standing
from engram_diagnose.collectors.parse.attained import FACTS
from engram_diagnose.rulebase import load_rules


def test_every_fact_has_a_figure_until_its_part_expires_or_says_why_not() -> None:
    found = standing(whole(), OF, load_rules(thorough=False).catalogue, at=MEASURED + DAY)
    assert [one.name for one in found] == list(FACTS)
    for one in found:
        assert one.part == FACTS[one.name].part
        assert one.note if one.value is None else one.until == MEASURED + 30 * DAY


def test_on_another_cpu_and_after_a_month_nothing_is_known() -> None:
    catalogue = load_rules(thorough=False).catalogue
    other = standing(whole(), {**OF, "cpu": "Another CPU"}, catalogue, at=MEASURED + DAY)
    later = standing(whole(), OF, catalogue, at=MEASURED + 31 * DAY)
    assert {one.value for one in (*other, *later)} == {None}


def test_facts_of_other_parts_than_those_shown_are_not_told() -> None:
    found = attained_here(record(part("cores")), (), folder="")
    assert {one.part for one in found.facts} <= {"cores"}
