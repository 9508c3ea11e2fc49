"""The flame graph: one offline page that runs only its own scripts, and the same stacks for other tools."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.perf_script import fold, kept
from engram_diagnose.collectors.parse.stacks import Profile, parse_collapsed
from engram_diagnose.render.flamegraph import flame_tree, render_flamegraph, render_speedscope

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data/profile"
VENDORED = ROOT / "templates/vendored"
EVIL = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\x1b[31mred", "a\u202eb", '"><b>',
        "{{ 7*7 }}", "--><!--", "'; alert(1)//", "\ud800", "</style>", "]]>", "&lt;"]  # fmt: skip


def real(name: str = "perf-6.1.script.rust-v0.txt", **changes: Any) -> Profile:
    text = (DATA / name).read_text(encoding="utf-8", errors="surrogateescape")
    folded = fold(text, pid=int(text.split("/")[0].split()[-1]))
    lines = "".join(f"{stack} {count}\n" for stack, count in kept(folded, most=9999, most_bytes=10**7))
    about: dict[str, Any] = {"samples": folded.samples, "hertz": 99.0, "seconds": 4.0, "event": "cpu-clock"}
    return Profile(parse_collapsed(lines), **(about | changes))


def hostile() -> Profile:
    stacks = tuple(((f"t{at}", name, f"{name}_[k]"), 10 + at) for at, name in enumerate(EVIL))
    return Profile(stacks, sum(count for _, count in stacks), event="cpu-clock", cut="<b>cut</b>")


class Page(HTMLParser):
    """Elements, the texts of scripts and styles, and all other text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open = tag if tag in self.inside else ""
        if self._open:
            self.inside[tag].append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open:
            self.inside[self._open][-1] += data
        else:
            self.text += data


def test_every_script_and_style_is_in_the_policy_and_nothing_else_may_run_or_load():
    page = Page(render_flamegraph(real(), title="db1"))
    policy = next(
        value for tag, name, value in page.attributes if tag == "meta" and name == "content" and "src" in value
    )
    allowed = {part.split()[0]: set(part.split()[1:]) for part in policy.split("; ")}
    assert allowed["default-src"] == {"'none'"}
    assert "'unsafe-inline'" not in policy
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
               for text in page.inside["script"][1:]]  # fmt: skip
    assert set(digests) == allowed["script-src"]
    assert len(digests) == 3
    style = page.inside["style"][0]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in allowed["style-src"]
    assert not [
        found for found in page.attributes if found[1] in ("src", "srcset", "style") or found[1].startswith("on")
    ]
    assert {value for _, name, value in page.attributes if name == "href"} == {"data:,", "#functions"}


def test_hostile_names_are_text_and_make_no_element():
    plain = Page(render_flamegraph(real()))
    page = Page(render_flamegraph(hostile(), title="<script>alert(1)</script>"))
    rows = page.tags.count("tr") - plain.tags.count("tr")
    assert set(page.tags) <= set(plain.tags)
    assert page.tags.count("script") == plain.tags.count("script")
    assert abs(rows) <= 20
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    tree = json.loads(page.inside["script"][0])
    names = {child["n"] for thread in tree["c"] for child in thread["c"]}
    assert "</script><script>alert(1)</script>" in names
    assert "<" not in page.inside["script"][0]


def test_the_table_says_the_top_twenty_without_javascript():
    page = render_flamegraph(real())
    assert page.count("<tr>") == 21
    assert "<noscript>" in page
    first = re.search(r"<tbody>\s*<tr>.*?<code>(.*?)</code>", page, re.S)
    assert first is not None
    assert first.group(1) == "hot::activation::cosine_similarity"


def test_what_makes_the_profile_less_than_whole_is_said():
    page = render_flamegraph(real(samples=1000, lost=7, cut="perf: took long", whole_host=True, event="cpu-clock:u"))
    for words in ("7 samples were lost", "rare stacks", "perf: took long", "whole host", "Kernel code was not sampled"):
        assert words in page


def test_a_server_that_used_no_cpu_has_a_page_that_says_so_and_runs_nothing():
    page = render_flamegraph(Profile((), 0, seconds=5.0, hertz=99.0))
    assert "used no CPU in the 5 s" in page
    assert "<script" not in page


def test_the_same_profile_gives_the_same_bytes():
    assert render_flamegraph(real()) == render_flamegraph(real())
    assert render_speedscope(real()) == render_speedscope(real())


def naive_total(profile: Profile, path: tuple[str, ...]) -> int:
    return sum(count for stack, count in profile.stacks if stack[: len(path)] == path)


STACKS = st.dictionaries(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(tuple), st.integers(1, 99), max_size=20
)


@given(STACKS)
def test_each_frame_of_the_tree_has_the_samples_of_the_stacks_through_it(stacks):
    profile = Profile(tuple(stacks.items()), sum(stacks.values()))

    def check(node: dict[str, Any], path: tuple[str, ...]) -> None:
        assert node["v"] == naive_total(profile, path)
        for child in node.get("c", ()):
            check(child, (*path, child["n"]))

    check(flame_tree(profile), ())


@given(STACKS, st.integers(1, 12))
def test_a_pruned_tree_is_small_whole_at_its_root_and_keeps_the_widest(stacks, most):
    profile = Profile(tuple(stacks.items()), sum(stacks.values()))

    def frames(node: dict[str, Any]) -> list[int]:
        return [node["v"], *(value for child in node.get("c", ()) for value in frames(child))]

    pruned, whole = frames(flame_tree(profile, most=most)), frames(flame_tree(profile))
    assert len(pruned) <= max(most, 1)
    assert pruned[0] == profile.samples
    assert sorted(pruned, reverse=True) == sorted(whole, reverse=True)[: len(pruned)]


def test_deep_stacks_are_drawn_without_running_out_of_stack():
    deep = (tuple(f"f{depth}" for depth in range(500)), 3)
    assert "f240" in render_flamegraph(Profile((deep,), 3))


FRAME = {
    "type": "object", "required": ["name"], "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "file": {"type": "string"}, "line": {"type": "number"},
                   "col": {"type": "number"}},
}  # fmt: skip
SAMPLED = {
    "type": "object", "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
    "properties": {
        "type": {"const": "sampled"}, "name": {"type": "string"}, "startValue": {"type": "number"},
        "endValue": {"type": "number"}, "weights": {"type": "array", "items": {"type": "number"}},
        "unit": {"enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]},
        "samples": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
    },
}  # fmt: skip
SPEEDSCOPE = {
    "type": "object", "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "shared": {"required": ["frames"], "properties": {"frames": {"type": "array", "items": FRAME}}},
        "profiles": {"type": "array", "items": SAMPLED},
    },
}  # fmt: skip


@pytest.mark.parametrize("profile", [real(), hostile(), Profile((), 0)], ids=["real", "hostile", "empty"])
def test_the_speedscope_file_has_its_form_and_all_samples(profile):
    document = json.loads(render_speedscope(profile))
    jsonschema.validate(document, SPEEDSCOPE)
    (shown,) = document["profiles"]
    assert sum(shown["weights"]) == shown["endValue"] == profile.kept
    assert len(shown["samples"]) == len(shown["weights"])
    frames = document["shared"]["frames"]
    assert all(0 <= at < len(frames) for sample in shown["samples"] for at in sample)


def test_the_vendored_files_are_as_their_authors_published_them():
    table = (VENDORED / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", table, re.MULTILINE))
    assert set(rows) == {path.name for path in VENDORED.iterdir()} - {"README.md"}
    for name, digest in rows.items():
        data = (VENDORED / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest, name
        assert b"</script" not in data


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_it_and_runs_no_name(tmp_path):
    path = tmp_path / "flame.html"
    path.write_text(render_flamegraph(hostile()), encoding="utf-8")
    run = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=4000", "--enable-logging=stderr", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "CONSOLE" not in run.stderr
    assert run.stdout.count('class="frame"') > len(EVIL) * 2
    assert "alert(1)</script>" not in run.stdout.split("</main>")[0].replace("&lt;/script&gt;", "")
