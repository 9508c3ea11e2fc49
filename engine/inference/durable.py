"""
The second engine: durable-rules, a Rete engine with a C core, as an independent judge of the closures.

It is fed true symbolic atoms only (`clauses`): `{"g": int, "p": int}` is asserted when a compiled leaf is true, another
when it is false, and neither when it is unknown. Arithmetic, scopes, tables and confidence stay outside. The limits
below keep clear of those of the C core of 2.0.28, some of which it overruns in silence (docs/decisions/0003).
"""

import importlib
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.clauses import ALWAYS, Clause, ClauseBase
from engram_diagnose.engine.inference.compiled import CompiledRule, CompiledRules
from engram_diagnose.engine.inference.leaf import Frame, compile_test
from engram_diagnose.engine.language.rule import Outcome

MAX_RULES: Final = 500
"""Rules of one ruleset."""
MAX_USES: Final = 200
"""Conditions that share one atom; 256 fill the list that the core keeps for it, and more overrun it."""
SIDE: Final = 64
"""
Values of `g` and of `p`: far fewer than the 400 that may stand below one node, and enough for the atoms of `MAX_RULES`
clauses. The core tells facts apart by a 32-bit hash; no two of these 4,096 share one.
"""

_SESSION: Final = "0"
"""The session that facts without one go to."""


class EngineUnavailable(ValueError):  # noqa: N818 - it reads as the state it reports
    """durable-rules cannot be imported."""


class EngineFailed(EngineUnavailable):
    """It can be imported, but did not take what it was given, or contradicts itself."""


class DurableEvaluator:
    """
    Decides the gates of one rule base with durable-rules; `decide` is an evaluator (`firing.Decide`).

    One session serves any number of diagnoses: what was asserted is retracted after each scope. Not for use by several
    threads at once. Raises `EngineUnavailable` when the extra is not installed.
    """

    def __init__(self, rules: CompiledRules) -> None:
        engine, core = _import_engine()
        base = ClauseBase()
        compiled = [rules.by_id[rule_id].rule for rule_id in sorted(rules.by_id)]
        self._verdicts = {rule.id: base.verdicts(rule) for rule in compiled}
        self._leaves = {rule.id: base.leaf_rails(rule) for rule in compiled}
        self._tests = {test: compile_test(test, rules.slots) for test in base.tests}
        self._rulesets = [_Ruleset(engine, core, clauses) for clauses in _shared_out(base.clauses)]

    def decide(self, batch: Sequence[tuple[CompiledRule, Scope, Frame]]) -> list[Outcome]:
        """
        The outcome of each gate of a batch.

        Raises `EngineFailed` when durable-rules refuses an atom or concludes two outcomes for one rule.
        """
        frames = {scope: frame for _, scope, frame in batch}
        by_scope: dict[Scope, list[str]] = {}
        for compiled, scope, _ in batch:
            by_scope.setdefault(scope, []).append(compiled.rule.id)
        holding = {
            scope: self._chain(self._true_atoms(rule_ids, frames[scope])) for scope, rule_ids in by_scope.items()
        }
        return [self._outcome(compiled.rule.id, holding[scope]) for compiled, scope, _ in batch]

    def _outcome(self, rule_id: str, holding: set[int]) -> Outcome:
        try:
            return self._verdicts[rule_id].read(holding)
        except ValueError as error:
            raise EngineFailed(f"durable-rules, rule {rule_id}: {error}") from None

    def _true_atoms(self, rule_ids: Iterable[str], frame: Frame) -> set[int]:
        needed = dict(pair for rule_id in rule_ids for pair in self._leaves[rule_id])
        atoms = {ALWAYS}
        for test, rails in needed.items():
            truth = self._tests[test](frame)
            if truth is not Truth.UNKNOWN:
                atoms.add(rails.true if truth is Truth.TRUE else rails.false)
        return atoms

    def _chain(self, atoms: set[int]) -> set[int]:
        """Every atom that follows: what one round concludes is asserted in the next."""
        holding, fresh = set(atoms), atoms
        try:
            with warnings.catch_warnings():
                # Its clock is `datetime.utcfromtimestamp`, which Python 3.12 warns of.
                warnings.simplefilter("ignore", DeprecationWarning)
                while fresh:
                    concluded = set[int]().union(*(one.conclude(fresh) for one in self._rulesets))
                    fresh = concluded - holding
                    holding |= fresh
        finally:
            for one in self._rulesets:
                one.retract()
        return holding


class _Ruleset:
    """Clauses in one ruleset of the engine, and the atoms asserted in its session."""

    def __init__(self, engine: Any, core: Any, clauses: Sequence[Clause]) -> None:
        self._core = core
        self._concluded: set[int] = set()
        self._asserted: list[str] = []
        # A clause that fires on the first assertion: without one, freeing an idle session crashes.
        started = Clause(ALWAYS, (ALWAYS,))
        used = sorted({ALWAYS}.union(*(clause.body for clause in clauses)))
        places = {atom: divmod(place, SIDE) for place, atom in enumerate(used)}
        self._facts = {atom: f'{{"g":{g},"p":{p}}}' for atom, (g, p) in places.items()}
        definition = {
            f"r{number}": {
                "all": [
                    {f"m_{place}": {"$and": [{"g": places[atom][0]}, {"p": places[atom][1]}]}}
                    for place, atom in enumerate(clause.body)
                ],
                "dist": 0,
                "run": self._action(clause.head),
            }
            for number, clause in enumerate((started, *clauses))
        }
        self._ruleset = engine.Ruleset("engram-diagnose", None, definition)
        self._handle = self._ruleset._handle
        weakref.finalize(self, _free, core, self._handle, self._facts[ALWAYS]).atexit = False

    def _action(self, head: int) -> Callable[[Any], None]:
        # A bound method or a set's `add` would not do: durable-rules counts the arguments of the code.
        concluded = self._concluded

        def conclude(_: Any) -> None:
            concluded.add(head)

        return conclude

    def conclude(self, atoms: set[int]) -> set[int]:
        """Assert what this ruleset has a use for, run what that triggers, and give the conclusions."""
        facts = [self._facts[atom] for atom in sorted(atoms & self._facts.keys())]
        if not facts:
            return set()
        self._concluded.clear()
        code, state = self._core.assert_facts(self._handle, f"[{','.join(facts)}]")
        self._asserted += facts
        if code != 0:
            raise EngineFailed(f"durable-rules refused an atom (code {code}); use --engine closures")
        self._run(state)
        return set(self._concluded)

    def _run(self, state: int) -> None:
        errors: list[Any] = []
        self._ruleset.do_actions(state, lambda error, _: errors.append(error))
        if errors != [None]:
            raise EngineFailed(f"durable-rules failed: {errors or 'no answer'}; use --engine closures")

    def retract(self) -> None:
        """Empty the session."""
        if self._asserted:
            self._core.retract_facts(self._handle, f"[{','.join(self._asserted)}]")
            self._asserted.clear()


def _free(core: Any, handle: int, started: str) -> None:
    """Give a ruleset's memory back, some 10 KB a condition, which the engine itself never does."""
    _, state = core.assert_facts(handle, f"[{started}]")
    if core.start_action_for_state(handle, state) is not None:
        core.complete_and_start_action(handle, state)
    core.delete_state(handle, _SESSION)
    core.delete_ruleset(handle)


def _shared_out(clauses: Sequence[Clause]) -> list[list[Clause]]:
    """The clauses in their order, cut wherever a limit of the engine would be passed."""
    found: list[list[Clause]] = []
    uses: dict[int, int] = {}
    for clause in clauses:
        full = not found or len(found[-1]) == MAX_RULES - 1
        if full or any(uses.get(atom, 0) >= MAX_USES for atom in clause.body):
            found.append([])
            uses = {ALWAYS: 1}
        found[-1].append(clause)
        for atom in clause.body:
            uses[atom] = uses.get(atom, 0) + 1
    return found


def _import_engine() -> tuple[Any, Any]:
    try:
        return importlib.import_module("durable.engine"), importlib.import_module("durable_rules_engine")
    except ImportError as error:
        raise EngineUnavailable(
            f"durable-rules cannot be imported ({error}): it is the extra `durable`, needs a C compiler when it is "
            "installed, and Python before 3.13: pip install 'engram-diagnose[durable]', or use --engine closures"
        ) from None
