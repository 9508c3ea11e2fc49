"""The dashboard: its queries are valid and ask for what is there, and its panels do not lie on top of each other."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from engram_diagnose.service.metrics import Metrics, Running, Stored

METRIC = re.compile(r"\b(?:engram|activation|process)_\w+")
BUILT_IN = {"$__rate_interval": "5m", "$__interval": "1m"}


@pytest.fixture(scope="module")
def dashboard(deploy: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((deploy / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return found


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["expr"] for one in dashboard["annotations"]["list"])


def test_every_query_is_promql(dashboard: dict[str, Any]) -> None:
    assert len(list(queries(dashboard))) > 30
    for query in queries(dashboard):
        for name, value in BUILT_IN.items():
            query = query.replace(name, value)
        promql_parser.parse(query)


def test_every_query_asks_for_metrics_that_are_there(dashboard: dict[str, Any], root: Path) -> None:
    page = Metrics().page(Stored(), Running(), 0.0).decode()
    dialects = [(root / "rules" / "dialects" / f"{name}.yaml").read_text() for name in ("guide", "engram-0.1")]
    known = set(METRIC.findall(" ".join([page, *dialects])))
    known |= {f"{name}_bucket" for name in known}
    for query in queries(dashboard):
        named = set(METRIC.findall(re.sub(r'"[^"]*"|by \([^)]*\)', "", query))) - {"engram_job"}
        assert named, query
        assert named <= known, query


def test_every_panel_asks_the_data_source_that_was_chosen(dashboard: dict[str, Any]) -> None:
    (source,) = (one for one in dashboard["templating"]["list"] if one["type"] == "datasource")
    assert source["query"] == "prometheus"
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {f"${{{source['name']}}}"}
    assert all(target["datasource"] == panel["datasource"] for panel in shown for target in panel["targets"])


def test_every_variable_that_is_used_is_there(dashboard: dict[str, Any]) -> None:
    there = {one["name"] for one in dashboard["templating"]["list"]}
    text = json.dumps([dashboard["panels"], dashboard["annotations"], dashboard["templating"]])
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval", "__all"}
    assert used == there


def test_panels_stand_beside_and_below_each_other(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(one["x"] >= 0 and one["x"] + one["w"] <= 24 for one in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_every_panel_says_what_it_shows(dashboard: dict[str, Any]) -> None:
    assert dashboard["id"] is None
    assert all(panel["title"] and panel["description"] for panel in dashboard["panels"] if panel["type"] != "row")


def test_no_rate_is_taken_of_the_released_server_s_sums(dashboard: dict[str, Any]) -> None:
    released = [query for query in queries(dashboard) if re.search(r"engram_spreading|[( ]activation_pool", query)]
    assert len(released) > 4
    assert [query for query in released if "rate(" in query or "increase(" in query] == []
