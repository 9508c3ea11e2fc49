"""
Which cases a fit may look at, and which are held out: by fault family and by host shape, never by chance.

A family, or a shape, is held out when the hash of its name falls below a share. A case is held out when one of its
families is, or its host's shape is; so what is held out holds families that no fit has seen, on shapes that it has and
has not, and all the others on shapes that it has not. The hash depends on the name alone: the side of a case stays what
it is however a corpus grows, and nobody can choose it.
"""

import hashlib
from typing import Final, Literal

from engram_diagnose.cases.label import Label

SALT: Final = "engram-diagnose split 58"
"""
Settled before a case on two cores was made: the first number after 28, whose held-out cases were looked at, with which
two cores are held out, three and healthy servers are not (rules are worked on with these), and three to six families
are.
"""

Side = Literal["train", "held-out"]
Place = Literal["train", "new family", "new host", "new family and host"]

_SCALE: Final = 2**64


def is_held_out(kind: Literal["family", "host"], name: str, *, share: float) -> bool:
    """Whether a family or a host shape is among the `share` that is held out."""
    digest = hashlib.sha256(f"{SALT}/{kind}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _SCALE < share


def place_of(label: Label, *, share: float) -> Place:
    """Where a case stands: in train, or what of it is new to whoever has seen only that."""
    family = any(is_held_out("family", name, share=share) for name in label.families)
    host = is_held_out("host", label.host.shape, share=share)
    if family:
        return "new family and host" if host else "new family"
    return "new host" if host else "train"


def side_of(label: Label, *, share: float) -> Side:
    """The side on which a case stands."""
    return "train" if place_of(label, share=share) == "train" else "held-out"
