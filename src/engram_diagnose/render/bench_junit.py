"""
A benchmark as JUnit XML, for a pipeline: one test case for each verdict.

What failed its limit is a failure; what says nothing of the server, or was not measured, is skipped with its reason.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from engram_diagnose.render.bench import figure_name
from engram_diagnose.render.neutral import clean

Json = Mapping[str, Any]


def bench_junit(document: Json) -> str:
    """The verdicts of a report as JUnit XML; a text of the document with characters that XML has not is escaped."""
    document = clean(document)
    verdicts = document["verdicts"]
    runs = {run["order"]: run for run in document["benchmark"]["runs"]}
    root = Element("testsuites", {"name": document["name"], **_counts(verdicts)})
    for workload, group in groupby(verdicts, key=lambda one: one["workload"]):
        _suite(root, document, workload, list(group), runs)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(verdicts: Iterable[Json]) -> dict[str, str]:
    states = [one["state"] for one in verdicts]
    skipped = states.count("invalid") + states.count("not measured")
    return {"tests": str(len(states)), "failures": str(states.count("fail")), "errors": "0", "skipped": str(skipped)}


def _suite(root: Element, document: Json, workload: str, verdicts: list[Json], runs: Mapping[int, Json]) -> None:
    behind = [runs[order] for order in sorted({order for one in verdicts for order in one["runs"]}) if order in runs]
    about = {"name": workload, **_counts(verdicts), "time": f"{sum(run['duration_seconds'] for run in behind):.3f}"}
    if behind:
        about |= {"timestamp": behind[0]["started"], "hostname": behind[0]["client"]["host"]}
    suite = SubElement(root, "testsuite", about)
    properties = SubElement(suite, "properties")
    servers = sorted({run["server"]["address"] for run in behind})
    for name, value in (("tool", document["tool"]), ("server", ", ".join(servers)), ("set", document["target_set"])):
        SubElement(properties, "property", {"name": name, "value": value})
    for one in verdicts:
        _case(suite, f"{document['name']}.{workload}", one)


def _case(suite: Element, classname: str, one: Json) -> None:
    name = f"{figure_name(one)} {one['limit_text']}"
    case = SubElement(suite, "testcase", {"classname": classname, "name": name})
    measured = one["measured_text"] or "not measured"
    if one["state"] == "fail":
        message = f"{figure_name(one)} {measured}, {one['limit_text']} ({one['target_set']})"
        SubElement(case, "failure", {"message": message, "type": one["on"]}).text = one["reason"] or message
    elif one["state"] != "pass":
        SubElement(case, "skipped", {"message": one["reason"] or one["state"]})
    else:
        SubElement(case, "system-out").text = f"measured {measured}"
