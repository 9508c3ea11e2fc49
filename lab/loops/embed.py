"""
Embeddings of texts: the sum of a fixed random vector for each word, made as long as 1.

Texts that share words are near each other, and rare words tell more than frequent ones in no way: this is no language
model, but it makes vectors that lie in clusters, as real ones do, and not evenly in all directions.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop, loop

_BITS: Final = 12
WORDS: Final = 1 << _BITS
_PRIME: Final = np.uint64(0x100000001B3)
_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ROOM: Final = 0x20


def word_vectors(seed: int = 20_240_607) -> npt.NDArray[np.float32]:
    """The vectors of words, (4096, 768), always the same."""
    return np.random.default_rng(seed).standard_normal((WORDS, 768), dtype=np.float32)


@loop
def embed(words: Any, text: Any, length: Any, out: Any) -> None:
    """The embedding of `text[:length]` (uint8) into `out` (768); words are what blanks and control characters part."""
    out[:] = 0
    hashed, letters = _OFFSET, 0
    for at in range(length + 1):
        letter = text[at] if at < length else np.uint8(_ROOM)
        if letter > _ROOM:
            hashed = (hashed ^ np.uint64(letter | np.uint8(0x20) if 65 <= letter <= 90 else letter)) * _PRIME
            letters += 1
        elif letters:
            # Multiplied once more: the last letter alone would not reach the upper bits.
            _add(out, words, np.int64((hashed * _GOLDEN) >> np.uint64(64 - _BITS)))
            hashed, letters = _OFFSET, 0
    normalise(out)


@fast_loop
def _add(out: Any, words: Any, word: Any) -> None:
    for at in range(np.uint64(len(out))):
        out[at] += words[word, at]


@fast_loop
def normalise(vector: Any) -> None:
    """Make it as long as 1; zeros stay."""
    square = np.float32(0)
    for at in range(np.uint64(len(vector))):
        square += vector[at] * vector[at]
    factor = np.float32(1) / np.sqrt(square) if square > 0 else np.float32(0)
    for at in range(np.uint64(len(vector))):
        vector[at] *= factor
