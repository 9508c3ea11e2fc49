"""How far collecting goes, from the rule files in force."""

from engram_diagnose.collectors.capture.site import Bounds
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.eventtables import event_documents


def bounds_of(loaded: Loaded, *, here: bool = True) -> Bounds:
    """
    The limits of collecting and, for who looks at a server `here`, the tables of hardware events.

    Raises `RuleBaseError` where a pack's limits cannot be read.
    """
    return Bounds(read_limits(loaded.texts, "collection"), event_documents(loaded.texts) if here else {})
