"""What is stored and asked for."""

from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.bench.texts import Texts


@given(st.integers(0, 2**31), st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_texts_and_another_gives_others(seed: int, number: int) -> None:
    assert Texts(seed).memory(number) == Texts(seed).memory(number)
    assert Texts(seed).memory(number) != Texts(seed + 1).memory(number)
    assert set(Texts(seed).question(number).split()) < set(Texts(seed).memory(number).split())


def test_no_two_memories_are_alike_and_each_shares_words_with_some_and_not_all() -> None:
    texts = Texts(1)
    memories = [texts.memory(number) for number in range(1000)]
    assert len(set(memories)) == 1000
    assert max(map(len, memories)) < 400
    assert all(text.isascii() and '"' not in text for text in memories)
    words = set(texts.question(17).split())
    sharing = sum(bool(words & set(text.split())) for text in memories)
    assert 20 < sharing < 500
