"""The policy of advice: what the built-in file says, and what is wrong with a broken one."""

import pytest

from engram_diagnose.engine.advice.policy import Policy
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.rulebase import builtin_files, load_rules

NAME = "rules/catalogue/advice.yaml"


def problems_of(text: str) -> str:
    with pytest.raises(RuleBaseError) as caught:
        load({**builtin_files(), NAME: text.encode()})
    return "\n".join(str(problem) for problem in caught.value.problems)


def test_the_built_in_policy_names_rules_and_facts_that_there_are() -> None:
    loaded = load_rules()
    policy = loaded.policy
    assert loaded.catalogue.spec(policy.budget)
    assert loaded.catalogue.spec(policy.uptime)
    for name in (policy.abort.rise, policy.abort.fall):
        rule, _, parameter = name.rpartition(".")
        assert parameter in loaded.rules.rules[rule].params


def test_without_a_policy_every_cause_may_advise() -> None:
    catalogue = {name: data for name, data in builtin_files().items() if "/catalogue/" in name and name != NAME}
    assert load(catalogue).policy == Policy()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("least_confidence: 50%", "least_confidence: 5 ms", "least_confidence is a plain number"),
        ("settled_for: 30 d", "settled_for: 30", "settled_for is a time"),
        ("budget: fit.memory_budget", "budget: fit.memory", "unknown fact fit.memory"),
        ("errors: 1%", "error: 1%", "no key 'error'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, said: str) -> None:
    found = problems_of(builtin_files()[NAME].decode().replace(old, new))
    assert said in found
    assert NAME in found
