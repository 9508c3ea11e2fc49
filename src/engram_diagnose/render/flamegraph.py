"""
A CPU profile to look at: a flame graph as one page, and the stacks for other tools.

The page holds all it needs and loads nothing. Only its own scripts and styles run there, by their digests.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from markupsafe import Markup

from engram_diagnose.collectors.capture.perf_script import INLINED, JIT, KERNEL
from engram_diagnose.collectors.parse.stacks import Profile, nameless, places, split_mark
from engram_diagnose.render.html import stylesheet, template
from engram_diagnose.render.neutral import visible

_TEMPLATE: Final = "flamegraph.html.j2"
_D3: Final = "vendored/d3-7.9.0.min.js"
_LIBRARY: Final = "vendored/d3-flame-graph-5.0.0.umd.min.js"
_KINDS: Final = {KERNEL: "kernel", JIT: "jit", INLINED: "inlined"}
_SAYS: Final = {
    "code": "the server's code and its libraries",
    "kernel": "the kernel",
    "jit": "compiled at run time",
    "inlined": "inlined",
    "nameless": "without a name",
}
_LEFT_OUT: Final = "[stacks that the bundle had no room for]"
_MOST_FRAMES: Final = 20_000
"""Drawn ones: a page of 1,500 pixels shows no more, and a browser draws these in half a second."""
_DEEPEST: Final = 250
"""Twice what the kernel takes of a stack; JSON cannot be nested without end."""
_MOST_FUNCTIONS: Final = 20


def render_flamegraph(profile: Profile, *, title: str = "") -> str:
    """The profile as one HTML page, to open offline, mail or attach; names are shown as text, whatever they hold."""
    scripts = tuple(_script(name) for name in (_D3, _LIBRARY, "flamegraph.js"))
    style = Markup(f"{stylesheet()}\n{_read('flamegraph.css')}")  # noqa: S704 -- our own files
    page = {
        "title": title,
        "summary": _summary(profile),
        "notes": _notes(profile),
        "functions": [_function(place, profile.kept) for place in places(profile)[:_MOST_FUNCTIONS]],
        "kinds": [{"name": name, "says": says} for name, says in _SAYS.items() if name in _present(profile)],
        "data": _embedded(flame_tree(profile)),
        "scripts": scripts,
        "style": style,
        "policy": _policy(scripts, (style, _style_of_library())),
    }
    return template(_TEMPLATE).render(page=page).strip() + "\n"


def render_speedscope(profile: Profile, *, title: str = "CPU profile") -> str:
    """
    The stacks in speedscope's file format, weights in samples.

    One sampled profile: `samples` are lists of indexes into `frames`, outermost first, each with its weight.
    """
    frames = {
        name: at for at, name in enumerate(dict.fromkeys(frame for stack, _ in profile.stacks for frame in stack))
    }
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "engram-diagnose",
        "name": visible(title),
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": visible(name)} for name in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": visible(title),
                "unit": "none",
                "startValue": 0,
                "endValue": profile.kept,
                "samples": [[frames[frame] for frame in stack] for stack, _ in profile.stacks],
                "weights": [count for _, count in profile.stacks],
            }
        ],
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n"


# The tree


@dataclass(slots=True)
class _Node:
    name: str
    depth: int
    value: int = 0
    children: dict[str, "_Node"] = field(default_factory=dict)


def flame_tree(profile: Profile, *, most: int = _MOST_FRAMES) -> dict[str, Any]:
    """
    The stacks as a tree: `n` a frame's name, `v` its samples, `l` its kind if not the usual one, `c` what it called.

    At most `most` frames, the widest, and 250 on each other; a frame's samples include those of what was left out.
    """
    root = _Node("all", 0, profile.samples)
    nodes = [root]
    for stack, count in profile.stacks:
        node = root
        for depth, frame in enumerate(stack[:_DEEPEST], 1):
            child = node.children.get(frame)
            if child is None:
                child = node.children[frame] = _Node(frame, depth)
                nodes.append(child)
            child.value += count
            node = child
    if profile.samples > profile.kept:
        root.children[_LEFT_OUT] = _Node(_LEFT_OUT, 1, profile.samples - profile.kept)
    return _written(root, _least_of(nodes, most))


def _least_of(nodes: Sequence[_Node], most: int) -> tuple[int, int]:
    """(samples, -depth) of the last frame that is drawn: none is narrower, or as narrow and further out."""
    if len(nodes) <= most:
        return 0, 0
    widths = sorted(((node.value, -node.depth) for node in nodes), reverse=True)
    return widths[most]


def _written(node: _Node, least: tuple[int, int]) -> dict[str, Any]:
    """Without recursion: stacks are deep."""
    top: dict[str, Any] = {}
    left = [(node, top)]
    while left:
        at, entry = left.pop()
        name, kind = _name_and_kind(at.name)
        entry |= {"n": name, "v": at.value}
        if kind != "code":
            entry["l"] = kind
        drawn = [
            child for _, child in sorted(at.children.items()) if (child.value, -child.depth) > least or not any(least)
        ]
        if drawn:
            entry["c"] = [{} for _ in drawn]
            left += zip(drawn, entry["c"], strict=True)
    return top


def _name_and_kind(frame: str) -> tuple[str, str]:
    name, mark = split_mark(frame)
    return visible(name), "nameless" if nameless(frame) else _KINDS.get(mark, "code")


def _present(profile: Profile) -> set[str]:
    return {_name_and_kind(frame)[1] for stack, _ in profile.stacks for frame in stack[1:]}


# The page


def _summary(profile: Profile) -> str:
    if not profile.samples:
        return f"The server used no CPU in the {profile.seconds:g} s that were watched: there is nothing to draw."
    busy = f", about {_cores(profile):.1f} CPUs busy" if profile.hertz and profile.seconds else ""
    return (
        f"{profile.samples:,} samples of {profile.event or 'an unknown event'} in {profile.seconds:g} s, "
        f"{profile.hertz:g} a second and CPU{busy}."
    )


def _cores(profile: Profile) -> float:
    return profile.samples / (profile.hertz * profile.seconds)


def _notes(profile: Profile) -> list[str]:
    unnamed, every = _unnamed(profile)
    said = [
        (profile.lost, f"{profile.lost:,} samples were lost: they were not read in time."),
        (profile.samples > profile.kept, f"{profile.samples - profile.kept:,} samples are in rare stacks for which the "
                                         "bundle had no room; they stand as one block."),
        (profile.cut, f"Reading the recording back ended early: {profile.cut}."),
        (profile.samples and not profile.kernel, "Kernel code was not sampled: this user may not."),
        (unnamed, f"{unnamed / max(every, 1):.0%} of the frames have no name: no symbols, or no frame pointers."),
        (profile.whole_host, "The whole host was sampled and only the server's samples kept: it has many threads."),
    ]  # fmt: skip
    return [text for holds, text in said if holds]


def _unnamed(profile: Profile) -> tuple[int, int]:
    frames = [(frame, count) for stack, count in profile.stacks for frame in stack[1:]]
    return sum(count for frame, count in frames if nameless(frame)), sum(count for _, count in frames)


def _function(place: Any, samples: int) -> dict[str, str]:
    name, mark = split_mark(place.name)
    kind = f" ({_SAYS[_KINDS[mark]]})" if mark else ""
    return {
        "own": f"{place.own / samples:.1%}",
        "total": f"{place.total / samples:.1%}",
        "name": visible(name) + kind,
    }


def _embedded(tree: dict[str, Any]) -> Markup:
    """JSON that ends no element of HTML and begins none, in ASCII."""
    text = json.dumps(tree, ensure_ascii=True, separators=(",", ":"))
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704 -- escaped above


@lru_cache(maxsize=8)
def _script(name: str) -> Markup:
    return Markup(f"\n{_read(name)}")  # noqa: S704 -- our own file, or a vendored one


@lru_cache(maxsize=1)
def _style_of_library() -> str:
    """The style sheet that d3-flame-graph puts into the page itself: between the first two back-quotes of its code."""
    return _read(_LIBRARY).split("`")[1]


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    allowed = " ".join(map(_digest, scripts)), " ".join(map(_digest, styles))
    return (
        f"default-src 'none'; script-src {allowed[0]}; style-src {allowed[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    """What a Content-Security-Policy calls a text within the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return resources.files("engram_diagnose").joinpath("templates", name).read_text(encoding="utf-8")
