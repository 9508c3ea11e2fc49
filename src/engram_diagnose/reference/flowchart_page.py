"""
The page of the flowchart: each chart as a picture, and below it the same as a table with links.
"""

from collections.abc import Iterable
from typing import Final

from engram_diagnose.reference.block import Block, Heading, Line, Link, Paragraph, Picture, Table, joined, line, slug
from engram_diagnose.reference.flowchart import OVERVIEW, Chart, Question, charts
from engram_diagnose.reference.flowchart_picture import picture
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.rule_entry import links

FOLDER: Final = "flowchart"


def flowchart_pictures(index: Index) -> dict[str, str]:
    """Every chart as SVG, by its file name within the folder of the pages."""
    return {_file(chart): picture(chart) for chart in charts(index)}


def _file(chart: Chart) -> str:
    return f"{FOLDER}/{chart.name}.svg"


def flowchart_blocks(index: Index) -> Iterable[Block]:
    """The page below its title."""
    found = charts(index)
    yield Paragraph(
        (
            "From a symptom to what to look at and what to do first. A diagnosis asks all of these questions at once, "
            "and weighs the answers against each other, which a chart cannot; this is for whoever wants to see the "
            "way, or has to walk it by hand. Commands for each step are in ",
            Link("the checklist", "../howto/performance-debugging-checklist.md"),
            ".",
        )
    )
    yield Paragraph(
        (
            "The questions that the guide asks stand first, in its order. Behind them come those that the metrics "
            "answer, then those that need the host, then those that take a profile; among these, what explains few "
            "symptoms before what may be behind any of them. A question whose figures are not known is not answered "
            "with no: look first at what it needs.",
        )
    )
    for chart in found:
        yield from _chart_blocks(chart)


def _chart_blocks(chart: Chart) -> Iterable[Block]:
    yield Heading(chart.title, 2)
    yield Picture(f"{chart.title}: the questions of the table below, one after the other", _file(chart))
    if chart.name == OVERVIEW:
        head = ("Question", "that is", "symptoms and rules", "yes")
        yield Table(head, tuple(_way(question) for question in chart.questions))
    else:
        head = ("Question", "look at", "yes: the cause", "do first")
        yield Table(head, tuple(_cause(question) for question in chart.questions))
    following = joined(_chart_link(title) for _, title in chart.next)
    yield Paragraph((f"{chart.otherwise}{': ' if following else '.'}", *following))


def _way(question: Question) -> tuple[Line, ...]:
    return line(question.asks), line(question.test), links(question.rules), (_chart_link(question.yes),)


def _cause(question: Question) -> tuple[Line, ...]:
    cause = (f"{question.yes}: ", *links(question.rules))
    return line(question.test), line(question.look), cause, line(question.action)


def _chart_link(title: str) -> Link:
    return Link(title, f"#{slug(title)}")
