"""
The names a rule gives to expressions.

A name may use others whatever their order, since the keys of a mapping have none; it cannot stand for itself.
"""

import re
from itertools import chain
from typing import Final

from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import UNREADABLE, Extent, extent
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.parser import RESERVED
from engram_diagnose.engine.language.source import Scalar
from engram_diagnose.engine.language.stages import circle_in, layers
from engram_diagnose.engine.language.types import Let

MAX_LETS: Final = 64
MAX_EXTENT: Final = Extent(size=500, depth=64)
"""What one name may stand for, with the names in it written out."""

_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_WORD: Final = re.compile(r"(?<![\w.$@])[A-Za-z_]\w*(?![\w.@(])")


def is_local_name(name: str) -> bool:
    """Whether a `let` or a parameter can be called that."""
    return bool(_NAME.fullmatch(name)) and name not in RESERVED


def read_lets(fields: Fields, context: Context) -> None:
    """Read the `let:` of a rule into the context."""
    mapping = fields.mapping("let")
    if mapping is None:
        return
    texts = {name: node for name, node in mapping.values.items() if isinstance(node, Scalar)}
    for name in mapping.values.keys() - texts.keys():
        context.problems.error(mapping.values[name].mark, f"let {name} must be an expression")
    context.lets |= dict.fromkeys(mapping.values, UNREADABLE)
    if len(texts) > MAX_LETS:
        context.problems.error(fields.mark("let"), f"more than {MAX_LETS} names in one rule", hint="split the rule")
        return
    waiting = {name: _used(node.text) & texts.keys() for name, node in texts.items()}
    for name in chain.from_iterable(layers(waiting)):
        if not is_local_name(name):
            context.problems.error(mapping.keys[name].mark, f"{name!r} cannot be a name", length=len(name),
                                   hint="a name is a word without dots and hyphens")  # fmt: skip
        _read(name, texts[name], context)
    if waiting:
        path = circle_in(waiting)
        context.problems.error(mapping.keys[path[0]].mark, f"this stands for itself: {' -> '.join((*path, path[0]))}",
                               hint="one of them has to be said without the others", length=len(path[0]))  # fmt: skip


def _read(name: str, node: Scalar, context: Context) -> None:
    read = context.value(node)
    if read is None:
        return
    measured = extent(read[0], {other: let.extent for other, let in context.typed.items()})
    if measured.size > MAX_EXTENT.size or measured.depth > MAX_EXTENT.depth:
        context.problems.error(node.mark, f"{name} stands for {measured.size} parts, {measured.depth} deep: too many",
                               hint="move a part into a `derive` rule's fact", length=len(node.text))  # fmt: skip
        return
    context.lets[name] = read[0]
    context.typed[name] = Let(read[1], measured)


def _used(text: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', "", text) if '"' in text or "'" in text else text
    return set(_WORD.findall(bare))
