"""
Questions to whoever sits at standard input, and to a script that pipes its answers.
"""

from typing import BinaryIO, Final, TextIO

_LONGEST: Final = 4096
"""Bytes of an answer that are read; no answer is longer."""


class Asking:
    """
    Asks by printing the prompt and reading one line.

    At the end of the input a terminal raises `EOFError`; a script that has no more answers takes what Enter would give,
    and `ended` tells that it did. What a script answers is printed too, so that its output reads like a dialogue.
    """

    def __init__(self, answers: BinaryIO, prompts: TextIO, *, terminal: bool) -> None:
        self._answers = answers
        self._prompts = prompts
        self._terminal = terminal
        self.ended = False

    def __call__(self, prompt: str, default: str) -> str:
        self._prompts.write(f"{prompt} [{default}]: ")
        self._prompts.flush()
        line = _line(self._answers)
        if line is None and self._terminal:
            raise EOFError
        self.ended = self.ended or line is None
        text = "" if line is None else line.strip()
        if not self._terminal:
            self._prompts.write(f"{ascii(text)[1:-1]}\n")
        return text


def asking(answers: BinaryIO, prompts: TextIO, *, terminal: bool) -> Asking:
    """A function that asks, and knows whether the answers have run out."""
    return Asking(answers, prompts, terminal=terminal)


def _line(answers: BinaryIO) -> str | None:
    """One line; None at the end. What is no UTF-8 or far too long stays something that is no answer."""
    line = answers.readline(_LONGEST)
    if not line:
        return None
    rest = line
    while len(rest) == _LONGEST and not rest.endswith(b"\n"):
        rest = answers.readline(_LONGEST)
    return line.decode("utf-8", "replace")
