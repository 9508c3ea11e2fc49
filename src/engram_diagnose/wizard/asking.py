"""
Questions to whoever sits at standard input, and to a script that pipes its answers.
"""

from collections.abc import Callable
from typing import BinaryIO, Final, TextIO

_LONGEST: Final = 4096
"""Bytes of an answer that are read; no answer is longer."""


def asking(answers: BinaryIO, prompts: TextIO, *, terminal: bool) -> Callable[[str, str], str]:
    """
    A function that asks: it prints the prompt and reads one line.

    At the end of the input it raises `EOFError` on a terminal; a script that has no more answers takes what Enter would
    give. What a script answers is printed too, so that its output reads like a dialogue.
    """

    def ask(prompt: str, default: str) -> str:
        prompts.write(f"{prompt} [{default}]: ")
        prompts.flush()
        line = _line(answers)
        if line is None and terminal:
            raise EOFError
        text = "" if line is None else line.strip()
        if not terminal:
            prompts.write(f"{ascii(text)[1:-1]}\n")
        return text

    return ask


def _line(answers: BinaryIO) -> str | None:
    """One line; None at the end. What is no UTF-8 or far too long stays something that is no answer."""
    line = answers.readline(_LONGEST)
    if not line:
        return None
    rest = line
    while len(rest) == _LONGEST and not rest.endswith(b"\n"):
        rest = answers.readline(_LONGEST)
    return line.decode("utf-8", "replace")
