"""
A new rule to start from: a file that passes `rules check` and `rules test` as it stands, with a word on every part.
"""

from collections.abc import Mapping
from typing import Final

from engram_diagnose.engine.language.reader import is_rule_id
from engram_diagnose.engine.language.rule import KINDS


def scaffold(rule_id: str, kind: str, *, pack: str = "", owner: str = "") -> str:
    """
    The text of a rule file with one rule of a kind; `pack` is the id's first word when it is not given.

    Raises `ValueError` for a kind there is not and for what cannot be a rule's id.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of rule: it is one of {', '.join(KINDS)}")
    if not is_rule_id(rule_id):
        raise ValueError(f"{rule_id!r} is not a rule's id: lower case, with at least one dot: subsystem.what-is-wrong")
    names = {
        "id": rule_id,
        "pack": pack or rule_id.partition(".")[0],
        "owner": owner or "the-team-that-answers-for-it",
        "fact": rule_id.replace("-", "_") + ".value",
    }
    return _filled(_HEAD + _KINDS[kind], names)


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    return text


_HEAD: Final = """\
# engram-diagnose rules check --rules FILE    is it well formed?
# engram-diagnose rules test --rules FILE     does it do what its tests say?
# engram-diagnose run --rules FILE            use it
schema: engram-diagnose/rules/v1
pack: <pack>
version: 0.1.0
requires: {engine: ">=1.0", facts: ">=1"}

"""

_COMMON: Final = """\
rules:
  - id: <id>
    rev: 1                        # raise it with every change that an override of yours has to know of
"""

_STORY: Final = """\
    owner: <owner>
    tags: []
    scope: instance               # or labels, such as [operation, space]: the rule then runs for each of them
    reason: >-
      Why the rule is right: the mechanism that leads from the cause to what is measured.
    refs: [where it comes from]
    falsepositives:
      - When it fires and nothing is wrong
"""

_CAUSE: Final = (
    _COMMON
    + """\
    kind: cause
    title: WAL flushes are slow
    status: experimental          # evaluated and shown apart, until you trust it: test, then stable
    severity: warning             # info, warning or critical; how sure it is, is another matter
"""
    + _STORY
    + """\
    params:                       # figures that an override may set, within bounds
      flush_max: {value: 5ms, min: 0.1ms, max: 100ms, doc: "flush P99 that counts as slow"}
    let:                          # names for expressions
      spread: wal.flush.p99 / wal.flush.p50
    # The gate. False: it is not this. Unknown: it cannot be told. Ask only for what is usually collected.
    when:
      all:
        - if: wal.flush.p99 > $flush_max
          because: "a flush takes {wal.flush.p99}, {spread} times the median"
        - config.wal.sync_mode == "immediate"
    when_true: possible           # how likely the cause is then: possible 30 %, likely 60 %, near-certain 90 %
    # What makes it more or less likely: weak, moderate, strong or decisive (likelihood ratios 2, 5, 20, 100).
    evidence:
      - if: io.fsync_wait_share > 30%
        seen: strong
        absent: moderate
      - graded: wal.entries_per_flush
        steps:
          - {below: 10, seen: weak}
          - {below: 2, seen: moderate}
    impact:                       # how much of the missed target would go away
      on: op.latency.p99{operation=store}
      relief: wal.flush.p99
    explains: [symptom.store-slow]
    recommend:
      - set: {config.wal.sync_mode: batch}
        when: next restart        # or: now, planned
        tradeoff: What it costs
        verify: {after: 15m, expect: wal.flush.p99 < $flush_max}
      - investigate: What to look at
        commands: ["grep write_bytes /proc/{process.pid}/io"]
        when: now
    # One set of facts, and tests as changes to it. A test for each fact of the gate being unknown is generated.
    given: {wal.flush.p99: 9ms, wal.flush.p50: 3ms, config.wal.sync_mode: immediate}
    tests:
      - fires
      - {change: {wal.flush.p99: 1ms}, expect: refuted}
      - {change: {config.wal.sync_mode: batch}, expect: refuted}
      - {change: {io.fsync_wait_share: 60%}, expect: fires, confidence: ">= 80%"}
      - {drop: [wal.flush.p99], expect: unknown, missing: [wal.flush.p99]}
"""
)

_SYMPTOM: Final = (
    _COMMON
    + """\
    kind: symptom
    title: Stores take longer than promised
    status: experimental          # evaluated and shown apart, until you trust it: test, then stable
    severity: warning             # info, warning or critical
"""
    + _STORY
    + """\
    # A target by its name is the one the site has set; see `targets:`.
    when: op.latency.p99{operation=store} > target.op.latency.p99{operation=store}
    # One set of facts, and tests as changes to it. A test for each fact of the gate being unknown is generated.
    given: {"op.latency.p99{operation=store}": 50ms, "target.op.latency.p99{operation=store}": 10ms}
    tests:
      - fires
      - {change: {"op.latency.p99{operation=store}": 5ms}, expect: refuted}
      - {drop: ["op.latency.p99{operation=store}"], expect: unknown}
"""
)

_TABLE: Final = (
    """\
# What the table gives: a fact of your own, which other rules may read.
facts:
  <fact>:
    values: [small, large]
    origin: rules
    doc: What it means, for whoever writes a rule with it

"""
    + _COMMON
    + """\
    kind: table
    title: How large the host is
    status: experimental          # evaluated and shown apart, until you trust it: test, then stable
"""
    + _STORY
    + """\
    params:                       # figures that an override may set, within bounds
      many: {value: 16, min: 1, max: 1024, doc: "cores from which a host counts as large"}
    outputs: {size: <fact>}
    # The first row that is true counts. An unknown row before it leaves the outputs unknown.
    rows:
      - if: host.cores >= $many
        set: {size: large}
        why: many cores
      - else: true
        set: {size: small}
        why: everything else
    # One set of facts, and tests as changes to it.
    given: {host.cores: 32}
    tests:
      - {expect: fires, derived: {<fact>: large}}
      - {change: {host.cores: 4}, expect: fires, derived: {<fact>: small}}
      - {drop: [host.cores], expect: unknown}
"""
)

_DERIVE: Final = (
    """\
# What the rule gives: a fact of your own, which other rules may read.
facts:
  <fact>:
    unit: B/s
    range: [0, null]
    origin: rules
    doc: What it means, for whoever writes a rule with it

"""
    + _COMMON
    + """\
    kind: derive
    title: WAL bytes per second and core
    status: experimental          # evaluated and shown apart, until you trust it: test, then stable
"""
    + _STORY
    + """\
    output: <fact>
    value: wal.bytes_written@rate_5m / host.cores    # unknown when a part is unknown, or the divisor zero
    # One set of facts, and tests as changes to it.
    given: {wal.bytes_written@rate_5m: 80 MB/s, host.cores: 4}
    tests:
      - {expect: fires, derived: {<fact>: 20 MB/s}}
      - {drop: [host.cores], expect: unknown}
"""
)

_KINDS: Final = {"cause": _CAUSE, "symptom": _SYMPTOM, "table": _TABLE, "derive": _DERIVE}
