"""
The report in words: what every format shows, in the order in which it is read.

Formats lay this out and escape it; they compute nothing, so that they cannot differ in what they say. Every text in it
has been through `neutral.clean`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engram_diagnose.render.causes import CauseView, cause_view, symptom_figures
from engram_diagnose.render.figures import calibration_words, count, instant, labels, some, titled, worded
from engram_diagnose.render.gaps import Gaps, gaps_view
from engram_diagnose.render.neutral import clean

Json = Mapping[str, Any]

_STATES: Final = {"met": "HEALTHY", "partly-tested": "PARTLY TESTED", "untested": "NOT TESTED"}
_DETAILED: Final = 3
"""Causes told in full; ties with the last of them are as well."""
_PLACES: Final = 3
_IDS: Final = 6
_DERIVED: Final = 8
NOTES: Final = {
    "causes": "by confidence, impact and how badly the target is missed",
    "unlikely": "even if all that is unknown spoke for them",
    "changes": "one decision per setting; engram-diagnose tune makes them a patch",
    "changed": "against the quiet time that ended then",
    "unexplained": "by any cause, unless by an unlikely one",
    "idle": "they explain no missed target",
    "masked": "what a cause above imitates: test again once that is gone",
    "experimental": "rules on trial, not ranked",
    "suppressed": "accepted by the site",
    "coverage": "what could and could not be tested",
    "derived": "by tables and formulas",
}
"""What is said behind the heading of a section."""
_SEVERITIES: Final = {"critical": 0, "warning": 1, "info": 2}
_QUIET: Final = ("fit.", "alert.")
"""What begins so is not told: sizing tables propose what `tune` is for, and what alerts speak of, symptoms say."""


class Missed(NamedTuple):
    """A symptom that is there."""

    severity: str
    title: str
    figures: str
    rule: str


class Verdict(NamedTuple):
    """`label` is its one word, `answer` the whole in a sentence, `counts` the sentence behind it."""

    label: str
    severity: str
    answer: str
    counts: str
    others: tuple[Missed, ...]
    top: str


class Listed(NamedTuple):
    """Something named in a list, with what there is to say of it."""

    title: str
    rule: str
    note: str


class Report(NamedTuple):
    """
    Everything a report says.

    `detailed` causes are told in full and `further` ones in brief, `unlikely` ones in a line; `idle` ones explain no
    missed target.
    """

    verdict: Verdict
    detailed: tuple[CauseView, ...]
    further: tuple[CauseView, ...]
    unlikely: tuple[CauseView, ...]
    idle: tuple[CauseView, ...]
    changes: tuple[Listed, ...]
    changed: tuple[Listed, ...]
    changed_since: str
    masked: tuple[CauseView, ...]
    experimental: tuple[CauseView, ...]
    unexplained: tuple[Missed, ...]
    suppressed: tuple[Listed, ...]
    gaps: Gaps
    ruled_out: tuple[Listed, ...]
    ruled_out_ids: str
    not_applicable: tuple[Listed, ...]
    not_applicable_ids: str
    derived: tuple[Listed, ...]
    derived_more: int
    overrides: tuple[Listed, ...]
    target_set: str
    where: str
    against: str
    rules: str


def report(document: Json, *, verbose: bool = False) -> Report:
    """The report of a document; `verbose` tells every cause in full."""
    document = clean(document)
    concluded = _ranked(document, verbose=verbose)
    masked = [cause_view(cause, document, verbose=verbose) for cause in document["masked"]]
    experimental = [cause_view(cause, document, verbose=verbose) for cause in document["experimental"]]
    _say_calibration(calibration_words(document["rule_base"]), concluded, masked, experimental)
    idle = [cause for cause in concluded if not cause.severity]
    telling = [cause for cause in concluded if cause.severity and not cause.negligible]
    unlikely = [cause for cause in concluded if cause.severity and cause.negligible]
    full = len(telling) if verbose else _full(telling)
    derived = list(_derived(document["derived"], verbose=verbose))
    derived_shown = len(derived) if verbose else _DERIVED
    return Report(
        verdict=_verdict(document, telling),
        detailed=tuple(telling[:full]),
        further=tuple(telling[full:]),
        unlikely=tuple(unlikely),
        idle=tuple(idle),
        changes=tuple(map(_decided, document["advice"])),
        changed=_changed(document.get("changed"), verbose=verbose),
        changed_since=_since(document.get("changed")),
        masked=tuple(masked),
        experimental=tuple(experimental),
        unexplained=_unexplained(document),
        suppressed=tuple(map(_suppressed, document["suppressed"])),
        gaps=gaps_view(document),
        ruled_out=tuple(map(_ruled_out, document["ruled_out"])),
        ruled_out_ids=_ids(document["ruled_out"]),
        not_applicable=tuple(map(_ruled_out, document["not_applicable"])),
        not_applicable_ids=_ids(document["not_applicable"]),
        derived=tuple(derived[:derived_shown]),
        derived_more=len(derived[derived_shown:]),
        overrides=tuple(Listed(rule, rule, how) for rule, how in document["rule_base"]["overrides"].items()),
        target_set=f'"{document["subject"]["target_set"]}"',
        where=_where(document["subject"]),
        against=_against(document["subject"]),
        rules=_rules(document["rule_base"]),
    )


def _changed(changed: Json | None, *, verbose: bool) -> tuple[Listed, ...]:
    """What changed; what did not, and what nobody knows, in a line each."""
    if not changed:
        return ()
    entries = changed["entries"]
    told = [_told(entry) for entry in entries if verbose or entry["state"] == "changed"]
    if verbose:
        return tuple(told)
    alike = [entry["what"] for entry in entries if entry["state"] == "alike"]
    unknown = [entry["what"] for entry in entries if entry["state"] == "unknown"]
    told += [Listed("as before", "", ", ".join(alike))] if alike else []
    told += [Listed("not known", "", ", ".join(unknown))] if unknown else []
    return tuple(told)


def _told(entry: Json) -> Listed:
    what, _, said = entry["sentence"].partition(": ")
    return Listed(what, entry["fact"], worded(said))


def _since(changed: Json | None) -> str:
    return f"{instant(changed['since'])}" if changed and changed["since"] else ""


def _ranked(document: Json, *, verbose: bool) -> list[CauseView]:
    causes = [cause_view(cause, document, number, verbose=verbose) for cause, number in _numbered(document["causes"])]
    numbers = [cause.number for cause in causes]
    for position, number in enumerate(numbers):
        if number.endswith("=") and numbers.index(number) == position:
            words = f"These {numbers.count(number)} are tied: what is known does not tell them apart."
            causes[position] = causes[position]._replace(tie=words)
    return causes


def _numbered(causes: Sequence[Json]) -> Iterable[tuple[Json, str]]:
    """Ranks, where all of a tie share that of its first, as in sports: 1, 2=, 2=, 4."""
    first: dict[int, int] = {}
    for cause in causes:
        tie = cause["tie"]
        yield cause, str(cause["rank"]) if tie is None else f"{first.setdefault(tie, cause['rank'])}="


def _say_calibration(words: str, *groups: list[CauseView]) -> None:
    """Once, where the first confidence is read."""
    for causes in groups:
        if causes and words:
            causes[0] = causes[0]._replace(confidence=f"{causes[0].confidence}, {words}")
            return


def _full(causes: Sequence[CauseView]) -> int:
    end = min(_DETAILED, len(causes))
    while end < len(causes) and causes[end].number.endswith("=") and causes[end].number == causes[end - 1].number:
        end += 1
    return end


# The verdict


def _verdict(document: Json, causes: Sequence[CauseView]) -> Verdict:
    verdict, missed = document["verdict"], _missed(document["symptoms"])
    instance = document["subject"]["instance"]
    where = f"{instance}: " if instance else ""
    if verdict["state"] != "missed" or not missed:
        return Verdict(_label(document), "", f"{where}{verdict['sentence']}", _suppressed_count(document), (), "")
    counts = "; ".join(filter(None, (verdict["sentence"], _suppressed_count(document))))
    first, *others = missed
    return Verdict(first.severity.upper(), first.severity, f"{where}{first.title}: {first.figures}", counts,
                   tuple(others), _top(causes))  # fmt: skip


def _label(document: Json) -> str:
    """One word for a verdict without a missed target; a target that is missed and accepted is not met."""
    state = document["verdict"]["state"]
    accepted = any(item["kind"] == "symptom" for item in document["suppressed"])
    return "MET IN PART" if accepted and state == "met" else _STATES.get(state, "NOT TESTED")


def _suppressed_count(document: Json) -> str:
    number = len(document["suppressed"])
    return f"{count(number, 'finding')} suppressed by the site, listed below" if number else ""


def _missed(symptoms: Iterable[Json]) -> list[Missed]:
    """Symptoms, those of one rule together; within a severity what is promised to clients comes first."""
    by_rule: dict[str, list[Json]] = {}
    for symptom in symptoms:
        by_rule.setdefault(symptom["rule"], []).append(symptom)
    groups = sorted(by_rule.values(), key=lambda group: (_severity(group[0]), not group[0]["target"]))
    return [_group(group) for group in groups]


def _severity(symptom: Json) -> int:
    return _SEVERITIES.get(symptom["severity"], len(_SEVERITIES))


def _group(symptoms: Sequence[Json]) -> Missed:
    first = symptoms[0]
    if len(symptoms) == 1:
        return Missed(first["severity"], titled(first), symptom_figures(first), first["rule"])
    places = [f"{labels(item['scope'])} {symptom_figures(item)}".strip() for item in symptoms]
    return Missed(first["severity"], first["title"], some(places, _PLACES), first["rule"])


def _top(causes: Sequence[CauseView]) -> str:
    if not causes:
        return "No cause was concluded that explains it"
    tied = [cause for cause in causes if cause.number == causes[0].number]
    names = "; or ".join(f"{cause.title} ({cause.probability})" for cause in tied)
    return f"{'Top cause' if len(tied) == 1 else f'{len(tied)} causes that cannot be told apart'}: {names}"


def _unexplained(document: Json) -> tuple[Missed, ...]:
    keys = {(head["rule"], labels(head["scope"])) for head in document["unexplained"]}
    return tuple(_missed(item for item in document["symptoms"] if (item["rule"], labels(item["scope"])) in keys))


# Lists


def _decided(item: Json) -> Listed:
    """One decision: what to set, or why it is not set."""
    against = "".join(f"; {other['rule']} asks for {other['to']}" for other in item["against"])
    when = item["when"] if item["standing"] == "advised" else item["reason"]
    return Listed(item["key"] or item["parameter"], item["by"][0], f"{item['from']} -> {item['to']} ({when}){against}")


def _suppressed(item: Json) -> Listed:
    found = f"{'; '.join(map(worded, item['because']))}. " if item["because"] else ""
    accepted = f"Accepted: {item['reason']} ({item['owner']}, until {item['expires']})"
    return Listed(titled(item), item["rule"], found + accepted)


def _ruled_out(item: Json) -> Listed:
    return Listed(titled(item), item["rule"], "; ".join(map(worded, item["because"])))


def _ids(items: Iterable[Json]) -> str:
    ids = list(dict.fromkeys(item["rule"] for item in items))
    return f"{len(ids)}: {some(ids, _IDS)}" if ids else ""


def _derived(derived: Iterable[Json], *, verbose: bool) -> Iterable[Listed]:
    for item in derived:
        if item["rule"].startswith(_QUIET) and not verbose:
            continue
        known = [(name, text) for name, text in item["values"].items() if text != "unknown"]
        for name, text in known if verbose else known[:1]:
            yield Listed(f"{name}{labels(item['scope'])} {text}", item["rule"], item["why"])


# Where, when, by which rules


def _where(subject: Json) -> str:
    host = f" on host {subject['host']}" if subject["host"] else ""
    return f"{subject['instance'] or 'instance not stated'}{host}, {instant(subject['time'])}"


def _against(subject: Json) -> str:
    return f'target set "{subject["target_set"]}", dialect {subject["dialect"] or "not stated"}'


def _rules(base: Json) -> str:
    packs = ", ".join(f"{name} {version}".strip() for name, version in base["packs"].items())
    changed = f"{count(len(base['overrides']), 'override')}, {count(base['suppressions'], 'suppression')} in force"
    return f"{count(base['rules'], 'rule')} ({packs}); {changed}"
