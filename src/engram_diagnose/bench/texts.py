"""
What is stored and recalled: texts that share words, so that a recall has something to choose from.

Every memory belongs to one of many topics and takes most of its words from there, some from all of them; a recall asks
with some words of a memory that was stored. The same seed gives the same texts.
"""

import random
from typing import Final

_SYLLABLES: Final = tuple(first + second for first in "bdfghjklmnprstvwz" for second in "aeiou")
_TOPICS: Final = 64
_TOPIC_WORDS: Final = 40
_COMMON_WORDS: Final = 400
_FROM_TOPIC: Final = 12
_FROM_ALL: Final = 6
_ASKED: Final = 4


class Texts:
    """Memories by number, and what to ask for to find each."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        words = random.Random(f"words {seed}")  # noqa: S311 -- texts, not secrets
        self._common = [_word(words) for _ in range(_COMMON_WORDS)]
        self._topics = [[_word(words) for _ in range(_TOPIC_WORDS)] for _ in range(_TOPICS)]

    def memory(self, number: int) -> str:
        """The text of a memory: some hundred characters of plain ASCII, and no two alike."""
        chosen, topic = self._of(number)
        words = chosen.sample(topic, _FROM_TOPIC) + chosen.sample(self._common, _FROM_ALL)
        chosen.shuffle(words)
        return f"{' '.join(words)} {number}"

    def question(self, number: int) -> str:
        """Words of the memory `number`, most of them its topic's."""
        words = self.memory(number).split()[:-1]
        chosen = random.Random(f"question {self._seed} {number}")  # noqa: S311
        return " ".join(chosen.sample(words, _ASKED))

    def _of(self, number: int) -> tuple[random.Random, list[str]]:
        chosen = random.Random(f"memory {self._seed} {number}")  # noqa: S311
        return chosen, self._topics[chosen.randrange(_TOPICS)]


def _word(chosen: random.Random) -> str:
    return "".join(chosen.choice(_SYLLABLES) for _ in range(chosen.randint(2, 4)))
