"""Limits are complete, have units, and say why."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from engram_diagnose.engine.language.limits_reader import LIMITS, read_limits
from engram_diagnose.engine.language.problem import RuleBaseError

ROOT = Path(__file__).parents[3]
NAME = "catalogue/collection.yaml"
TEXT = (ROOT / "rules" / NAME).read_text(encoding="utf-8")


def test_the_shipped_limits_are_read_in_base_units():
    limits = read_limits({NAME: TEXT}, "collection")
    assert set(limits) == set(LIMITS["collection"])
    assert limits["watch"] == 10.0
    assert limits["resident"] == 2 * 2**30
    assert limits["cpu_pressure_rise"] == pytest.approx(0.5)


def test_the_published_schema_takes_the_shipped_limits_and_no_unknown_one():
    schema = json.loads((ROOT / "rules/schema/collection-v1.json").read_text(encoding="utf-8"))
    document = yaml.safe_load(TEXT)
    jsonschema.validate(document, schema)
    document["limits"]["whim"] = {"is": "1s", "reason": "none"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  watch:\n", "  wach:\n", "there is no limit wach"),
        ("  watch:\n", "  wach:\n", "limits lack watch"),
        ("is: 10s", "is: 5MiB", "watch is a time, not an amount of data"),
        ("is: 10s", "is: 0s", "watch is more than 0"),
        ("is: 10s", "is: quick", "quick"),
        ("is: 10s", "was: 10s", "was"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(old, new, message):
    with pytest.raises(RuleBaseError) as caught:
        read_limits({NAME: TEXT.replace(old, new, 1)}, "collection")
    said = [problem for problem in caught.value.problems if message in problem.message]
    assert said
    assert said[0].mark.file == NAME


@pytest.mark.parametrize("kind", sorted(LIMITS))
def test_every_kind_of_limits_ships_with_its_schema(kind):
    text = (ROOT / f"rules/catalogue/{kind}.yaml").read_text(encoding="utf-8")
    schema = json.loads((ROOT / f"rules/schema/{kind}-v1.json").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(text), schema)
    assert list(schema["properties"]["limits"]["properties"]) == list(LIMITS[kind])
    assert set(read_limits({"file": text}, kind)) == set(LIMITS[kind])


def test_a_later_file_takes_the_place_of_the_shipped_one():
    site = TEXT.replace("is: 10s", "is: 7s")
    assert read_limits({NAME: TEXT, "site.yaml": site}, "collection")["watch"] == 7.0


def test_without_the_file_the_installation_is_incomplete():
    with pytest.raises(RuleBaseError, match="engram-diagnose/collection/v1"):
        read_limits({}, "collection")
