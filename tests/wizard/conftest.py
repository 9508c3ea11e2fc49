"""A desk to try the wizard at: a bundle that tells nothing, a configuration, and a script of answers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.rulebase import load_rules
from engram_diagnose.tuning import Configuration, Tuning, Wish, digest, tune
from engram_diagnose.wizard.answers import stated_facts
from engram_diagnose.wizard.interview import interview

NOW = 1_795_000_000.0
HOST = stated_facts(cores=24, memory=64 * 2.0**30, numa_nodes=1, simd="avx2")
"""A host of which everything is known but what it is for and what its data lies on."""


@dataclass
class Desk:
    """One operator, one configuration. `said` is all that the wizard printed, `asked` its prompts."""

    expert: Expert
    text: str = ""
    dialect: str = "guide"
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def tune(self, wish: Wish) -> Tuning:
        """What `tune` comes to without a server."""
        content = self.text.encode()
        file = Answer("config", "/etc/engram/engram.toml", NOW, "h", self.text, "", digest(content))
        bundle = Bundle(NOW, dialect=self.dialect, host="h", answers=(file,) if self.text else ())
        return tune(bundle, self.expert, Configuration(file.name, content, digest(content)), wish, now=NOW)

    def answer(self, answers: Mapping[str, str | Iterable[str]], wish: Wish | None = None) -> Wish | None:
        """An interview that is answered by the prompt; what is not in `answers` is accepted."""
        left = {prompt: iter([one] if isinstance(one, str) else one) for prompt, one in answers.items()}

        def ask(prompt: str, default: str) -> str:
            self.asked.append(f"{prompt} [{default}]")
            return next(left.get(prompt, iter(())), "")

        return self.interview(ask, wish)

    def interview(self, ask: Callable[[str, str], str], wish: Wish | None = None) -> Wish | None:
        """An interview with any way of answering."""
        return interview(self.tune, ask, self.said.append, wish or Wish(sizing=True, stated=HOST))

    @property
    def transcript(self) -> str:
        """All that was said, as one text without line breaks within it."""
        return " ".join(" ".join(self.said).split())


@pytest.fixture(scope="session")
def ready() -> Expert:
    return expert(load_rules(()))


@pytest.fixture
def desk(ready: Expert) -> Desk:
    return Desk(ready)
