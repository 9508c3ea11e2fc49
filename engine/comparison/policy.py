"""
What counts: `rules/catalogue/comparison.yaml`, checked.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

Better = Literal["lower", "higher"]
SENSES: Final = ("rise", "fall", "below", "above")
Sense = Literal["rise", "fall", "below", "above"]


@dataclass(frozen=True, slots=True)
class Least:
    """
    The fewest samples a side must have: independent runs, or windows, of which at least `independent` are worth one
    independent sample each, unless the sides lie `apart` times their range from each other.
    """

    runs: int
    windows: int
    independent: float
    apart: float = math.inf


@dataclass(frozen=True, slots=True)
class Windows:
    """
    How one side's raw samples are cut into windows.

    About `wanted` of them, each of at least `scrapes` scrapes and at most `longest` seconds, out of the last `span`
    seconds.
    """

    wanted: int
    scrapes: int
    longest: float
    span: float


@dataclass(frozen=True, slots=True)
class Measure:
    """
    One side of the load: the first of `facts` that both sides know is compared.

    `tolerance` is a share of the larger figure, or with `absolute` in the unit of the fact. With `heavier`, more of it
    is a heavier load.
    """

    name: str
    facts: tuple[str, ...]
    tolerance: float
    absolute: bool = False
    heavier: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """
    A figure that is compared unless others are asked for.

    A change is one from `share` of the larger median on, and from `least` in base units. With `worsens`, a heavier load
    can only make it worse; with `ratio`, its noise grows with it.
    """

    on: str
    better: Better
    share: float
    least: float
    worsens: bool = False
    ratio: bool = False


@dataclass(frozen=True, slots=True)
class Regression:
    """
    A rule against the baseline: its parameter `limit` bounds `on`.

    `rise` and `fall` are shares of the baseline's figure; `below` and `above` are levels that the baseline kept. With
    `clients`, the figure counts only where the fact of that name is at least `share_of` (another parameter) of the
    baseline's, and the rate of requests is not held against it.
    """

    rule: str
    on: str
    limit: str
    sense: Sense
    clients: str = ""
    share_of: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a comparison decides by. `confidence` is that of all verdicts of one comparison together."""

    confidence: float
    least: Least
    windows: Windows
    load: tuple[Measure, ...]
    figures: tuple[Figure, ...]
    regressions: tuple[Regression, ...]
    share: float
    background: tuple[str, ...] = ()
    places: int = 8

    def figure(self, on: str) -> Figure | None:
        """What counts for one fact; None when the policy does not speak of it."""
        return next((figure for figure in self.figures if figure.on == on), None)
