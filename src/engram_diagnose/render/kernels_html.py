"""
What a host attained as one HTML file, to open offline, mail or attach: drawings, with the tables that say the same.

It loads nothing and runs nothing: its one style sheet is inside, and its policy allows that sheet alone.
"""

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

from markupsafe import Markup

from engram_diagnose.attaining.roofs import Roofline, roofline_of
from engram_diagnose.attaining.standing import Attained
from engram_diagnose.render.attained import SAYS, view
from engram_diagnose.render.drawing import drawn_ladder, drawn_roofline
from engram_diagnose.render.html import stylesheet, template
from engram_diagnose.render.measured import figure
from engram_diagnose.render.roofline import name_of

_TEMPLATE: Final = "kernels.html.j2"
_STYLES: Final = ("plot.css", "kernels.css")


class RooflineRow(NamedTuple):
    """A line of the table beneath the roofline."""

    what: str
    intensity: str
    attained: str


def render_kernels_html(attained: Attained) -> str:
    """The record as a page; whatever stands in it is shown as text, and none of it becomes markup."""
    shown = view(attained)
    roofline = roofline_of(shown.record)
    page = {
        "view": shown,
        "roofline": drawn_roofline(roofline) if roofline else None,
        "roofline_rows": _rows(roofline) if roofline else [],
        "ladder": drawn_ladder(shown.record),
        "says": SAYS,
        "style": _style(),
        "policy": _policy(),
    }
    return template(_TEMPLATE).render(page=page).strip() + "\n"


def _rows(roofline: Roofline) -> list[RooflineRow]:
    roofs = [
        RooflineRow(f"roof: reading {roof.level}", "", figure(roof.bytes_per_second, "B/s")) for roof in roofline.roofs
    ]
    peak = RooflineRow("roof: arithmetic", "", figure(roofline.peak / 1e9, "Gflop/s"))
    return [*roofs, peak, *(
        RooflineRow(f"{name_of(number)}  {point.name}".strip(), figure(point.intensity, ""),
                    figure(point.flops / 1e9, "Gflop/s"))
        for number, point in enumerate(roofline.points)
    )]  # fmt: skip


@lru_cache(maxsize=1)
def _style() -> Markup:
    folder = resources.files("engram_diagnose").joinpath("templates")
    own = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _STYLES)
    return Markup(f"{stylesheet()}\n{own}")  # noqa: S704 -- our own files


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
