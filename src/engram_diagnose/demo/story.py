"""
The demo's words: what is planted, what was found, what is changed, what came of it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.demo.outcome import Known, changes_of, confident, position
from engram_diagnose.demo.telling import Teller
from engram_diagnose.lab.fault import Fault, Surroundings
from engram_diagnose.lab.faults import FAULTS
from engram_diagnose.lab.single_faults import QUALITY

Json = Mapping[str, Any]
_SHOWN: Final = 3
"""Causes that are told; the report holds them all."""
_SIGNS: Final = 2
_OPERATIONS: Final = {"pattern_completion": "pattern completion"}


def introduce(tell: Teller, fault: Fault, *, cores: int, memories: int) -> None:
    """What is going to happen."""
    tell.tell(
        (f"This starts a small memory server on this machine ({cores} cores, {memories:,} memories), a lab made for "
         "having faults planted in it, plants one, puts it under load, and asks engram-diagnose what is wrong. Then it "
         "does what it is told to, and measures whether that helped. Nothing but a scratch folder is touched; Ctrl-C "
         "ends it at any time.", ""),
        indent=0,
    )  # fmt: skip
    tell.tell(("planted   ", "label"), (fault.title, "title"), hang=10)
    tell.tell((fault.mechanism, "dim"), indent=13)


def planted(tell: Teller, changed: Mapping[str, object], environment: Mapping[str, str], around: Surroundings) -> None:
    """How it is planted; the tool is told none of it."""
    ways = [f"{key} = {_value(value)}" for key, value in changed.items()]
    ways += [f"{name}={value}" for name, value in environment.items()]
    if around.cpu_quota:
        ways.append(f"a CPU limit of {around.cpu_quota:.0%} of the cores")
    if around.memory_limit:
        ways.append(f"a memory limit of {around.memory_limit:.0%} of what the server takes without one")
    if around.disk_rate:
        ways.append(f"at most {around.disk_rate:,} bytes a second to the disk")
    if around.neighbours:
        ways.append(f"{around.neighbours:g} other busy processes for each core")
    tell.tell(("by        ", "label"), ("; ".join(ways) or "nothing: this server is healthy", ""), hang=10)


def measured(tell: Teller, label: str, run: Json) -> None:
    """What clients felt."""
    parts = []
    for name, one in sorted(run["operations"].items(), key=lambda item: -item[1]["sent"]):
        quantile = one["response"]["quantiles"].get("p99")
        told = f" within {_seconds(quantile)}" if quantile is not None else ""
        failed = sum(one["errors"].values())
        wrong = f", {failed:,} failed" if failed else ""
        parts.append(f"{one['rate']:,.0f} {_OPERATIONS.get(name, name)}/s (99 %{told}{wrong})")
    offered = run["workload"]["offered_rate"]
    tell.tell((f"{label:<10}", "label"), (f"{offered:,.0f}/s offered: {', '.join(parts)}", ""), hang=10)


def diagnosed(tell: Teller, document: Json) -> None:
    """The verdict and the causes that come first."""
    missed = [symptom for symptom in document["symptoms"] if symptom["target"]]
    for symptom in missed[:_SHOWN]:
        tell.tell(("missed    ", "label"), (f"{symptom['title']}{_against_target(symptom)}", ""), hang=10)
    if not missed:
        tell.tell(("missed    ", "label"), (f"nothing; {document['verdict']['sentence']}", ""), hang=10)
    shown = [cause for cause in document["causes"] if not cause["negligible"]][:_SHOWN]
    for cause in shown:
        _cause(tell, cause)
    if not document["causes"]:
        tell.tell(("causes    ", "label"), ("none concluded", ""), hang=10)
    more = len(document["causes"]) - len(shown)
    if more > 0:
        tell.tell((f"and {more} more, less likely or of less weight", "dim"), indent=13)


def _against_target(symptom: Json) -> str:
    """The figure that misses its target, beside it."""
    facts = [fact["text"] for test in symptom["tests"] if test["truth"] == "true" for fact in test["facts"][:2]]
    return f": {facts[0]} against {facts[1]}" if len(facts) > 1 and symptom["tests"][0]["truth"] == "true" else ""


def _cause(tell: Teller, cause: Json) -> None:
    confidence = cause["confidence"]
    tell.tell(
        (f"cause {cause['rank']:<4}", "label"), (cause["title"], "title"),
        (f"  {confidence['word']}, {_percent(confidence['probability'])}", ""), hang=10,
    )  # fmt: skip
    why = [gate["sentence"] for gate in cause["gate"] if gate["truth"] == "true"]
    why += [sign["sentence"] for sign in cause["evidence"]["for"][:_SIGNS]]
    if why:
        tell.tell((f"for: {'; '.join(dict.fromkeys(why))}", "dim"), indent=13, hang=2)
    against = [sign["sentence"] for sign in cause["evidence"]["against"] if "(device," not in sign["sentence"]][:1]
    if against:
        tell.tell((f"against: {against[0]}", "dim"), indent=13, hang=2)


def judged(tell: Teller, known: Known) -> None:
    """Whether what was planted is what was found."""
    fault, document = known.fault, known.before
    if document is None:
        return
    if fault.healthy:
        sure = confident(document)
        text = f"it believes in {sure[0]['title']!r}, which nobody planted" if sure else "nothing is blamed: rightly"
        told = (f"Nothing was planted, and {text}.", "critical" if sure else "good")
        tell.tell(("so        ", "label"), told, hang=10)
        return
    where = position(document, fault.right)
    if known.named_first and known.named:
        words, style = "That is what was planted.", "good"
    elif where:
        words, style = f"What was planted is number {where} of the list.{_of_this_machine(known.first)}", "warning"
    elif untested := sorted(fault.right & {one["rule"] for one in document["not_testable"]}):
        words = (
            f"What was planted could not be tested here ({', '.join(untested)}): something it needs is not measured."
        )
        style = "open"
    else:
        words, style = "What was planted is not among them.", "critical"
    tell.tell(("so        ", "label"), (words, style), hang=10)


def _of_this_machine(rule: str) -> str:
    """A word on a cause that nobody planted, and that may be there all the same."""
    if not rule.startswith("host."):
        return ""
    return " The first is about this machine, which other programs may really keep busy: try again when it is quiet."


def advised(tell: Teller, advice: Json, fault: Fault) -> None:
    """The patch, with what each change costs."""
    changes = changes_of(advice)
    for change in changes:
        tell.tell(("change    ", "label"), (change["write"] or change["parameter"], "change"),
                  (f"  was {change['from'] or 'not set'}", "dim"), hang=10)  # fmt: skip
        if change["because"]:
            tell.tell((f"because {change['because']}", ""), indent=13, hang=2)
    for price in dict.fromkeys(change["tradeoff"] for change in changes if change["tradeoff"]):
        tell.tell(("price     ", "label"), (price, ""), hang=10)
    if advice["file"]["changed"]:
        tell.show(_diff(advice["file"]["diff"]))
    elif fault.healthy:
        tell.tell(("change    ", "label"), ("nothing: nothing was planted, and nothing is advised", ""), hang=10)
    elif not fault.mended_by:
        tell.tell(("change    ", "label"), ("no setting of the server mends this", ""), hang=10)
    else:
        tell.tell(("change    ", "label"), ("none is advised", ""), hang=10)


def outside(tell: Teller, document: Json, fault: Fault) -> None:
    """What has to change outside the server."""
    for cause in document["causes"][:_SHOWN]:
        if cause["rule"] not in fault.right:
            continue
        for step in cause["recommend"]:
            if investigate := step.get("investigate"):
                tell.tell(("do        ", "label"), (investigate, ""), hang=10)
                return


def finished(tell: Teller, known: Known) -> None:
    """What came of all of it."""
    if known.gone is not None:
        gone = "no longer found" if known.gone else "still found"
        tell.tell(
            ("cause     ", "label"), (f"What was planted is {gone}.", "good" if known.gone else "warning"), hang=10
        )
    if QUALITY in known.felt and QUALITY in known.felt_after:
        share, after = known.felt[QUALITY], known.felt_after[QUALITY]
        tell.tell(
            ("found     ", "label"),
            (f"Of ten true neighbours recalls found {share * 10:.1f} before, and find {after * 10:.1f} now.", ""),
            hang=10,
        )
    for sentence in compared(known):
        tell.tell(("measured  ", "label"), (sentence, ""), hang=10)


def compared(known: Known) -> Iterable[str]:
    """The figures that the fault should have spoilt, before and after, and what they are worth."""
    comparison = known.comparison
    if comparison is None:
        return
    wanted = [one for one in comparison["figures"] if key(one) in (*known.fault.breaches, "ops.rate")]
    for one in wanted:
        if one["before"] and one["after"] is not None:
            values = f"{one['before_text']} before, {one['after_text']} after"
            yield f"{key(one)}: {values} ({one['change_text']})"
    if not wanted:
        yield str(comparison["verdict"]["sentence"])
    if comparison.get("provisional"):
        yield "provisional: so few runs a side cannot tell a small change from noise"


def key(figure: Json) -> str:
    """A figure of a comparison as faults name what they breach."""
    labels = ", ".join(f"{name}={value}" for name, value in sorted(figure["scope"].items()))
    return f"{figure['on']}{{{labels}}}" if labels else str(figure["on"])


def interrupted(tell: Teller, known: Known) -> None:
    """What is known so far, when somebody pressed Ctrl-C."""
    tell.chapter("Stopped")
    if known.before is None:
        tell.tell(("Nothing was diagnosed yet. All that was started has been ended.", ""))
        return
    judged(tell, known)
    if known.advice is not None:
        count = len(changes_of(known.advice))
        state = "applied to the lab's file" if known.applied else "not applied"
        tell.tell((f"A patch of {count} change{'' if count == 1 else 's'} was advised, and {state}.", ""))
    finished(tell, known)
    tell.tell(("All that was started has been ended.", ""))


def next_steps(tell: Teller, fault: Fault, *, saved: str) -> None:
    """Where to go from here."""
    rule = fault.causes[0][0] if fault.causes else "storage.wal-write-amplification"
    page = [
        (f"engram-diagnose rules show {rule}", "what this rule looks for"),
        ("engram-diagnose demo --list", "the other faults"),
        ("engram-diagnose demo --recorded", "a recorded incident, whole report"),
        ("engram-diagnose", "your own server, on its host"),
    ]
    if saved:
        page.insert(0, (f"engram-diagnose run --bundle {saved}", "the whole report of this"))
    tell.chapter("Next")
    for command, about in page:
        tell.tell((command, "command"), (f"  {about}", "dim"), hang=4)


def listed(tell: Teller) -> None:
    """Every fault that can be planted."""
    width = 1 + max(len(name) for name in FAULTS if "+" not in name)
    for fault in FAULTS.values():
        name = f"{fault.name:<{width}} " if "+" not in fault.name else f"{fault.name}  "
        tell.tell((name, "command"), (fault.title if "+" not in fault.name else "both at once", ""), indent=0,
                  hang=width + 1)  # fmt: skip


# Figures


def _diff(text: str) -> str:
    """The changed lines of a diff with the section they stand in."""
    kept = [line for line in text.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    return "".join(f"      {line}\n" for line in kept)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _percent(share: float) -> str:
    if share > 0.99:
        return "over 99 %"
    return f"{share * 100:.0f} %"


def _seconds(value: float) -> str:
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
