"""
Records the incident that comes with the tool, from a process that really has it.

    python tests/end_to_end/record.py [--seconds 330] [--clients 160] [--output FILE]

A planted server flushes its log on every write, a real Prometheus scrapes it, `engram-diagnose collect --redact` makes
the bundle. The bundle is kept only when it names nobody and its diagnosis names the fault.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stage import ROOT, Planted, Said, Scraper, engram_diagnose, folder_on_disk, planted, prometheus

from engram_diagnose.collectors.bundle import read_bundle, write_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import host_identity

INCIDENT = ROOT / "src" / "engram_diagnose" / "incidents" / "wal-write-amplification.bundle"
FAULT = "storage.wal-write-amplification"
MOST_BYTES = 100_000
USUAL_PORT = 7432


def main() -> int:
    options = parsed()
    with (
        folder_on_disk() as folder,
        planted(folder / "server", port=USUAL_PORT, clients=options.clients, seconds=options.seconds + 120) as server,
        prometheus(folder / "prometheus", {server.instance: server.instance}, interval="5s") as scraper,
    ):
        say(f"the server runs at {server.url}; collecting in {options.seconds:g} s, when five minutes are known of it")
        time.sleep(options.seconds)
        made = folder / "incident.bundle"
        collected = collect(server, scraper, made)
        say(collected.err.strip())
        wrong = [*([] if collected.code == 0 else [f"collect ended with {collected.code}"]), *problems(made, folder)]
        for problem in wrong:
            say(f"not good enough: {problem}")
        kept = options.output.with_suffix(".rejected") if wrong else options.output
        if made.exists():
            kept.write_bytes(made.read_bytes())
            say(f"kept as {kept}, {kept.stat().st_size} bytes")
        return bool(wrong)


def collect(server: Planted, scraper: Scraper, bundle: Path) -> Said:
    sources = ["--prometheus", scraper.url, "--config", server.config, "--data-dir", server.folder]
    said = engram_diagnose("collect", *sources, "--seconds", "5", "--redact", "-o", bundle)
    if said.code == 0:
        write_bundle(bundle, without_builds(read_bundle(bundle)))
    return said


def without_builds(bundle: Bundle) -> Bundle:
    """Of the kernel only its version: where and by whom it was built is nobody's business."""
    answers = (one for one in bundle.answers if one.name != "/proc/version")
    return replace(bundle, answers=tuple(_plain_kernel(one) if one.name == "uname" else one for one in answers))


def _plain_kernel(answer: Answer) -> Answer:
    return replace(answer, body=re.sub(r"(release [0-9.]+)\S*", r"\1", answer.body or ""))


def problems(path: Path, folder: Path) -> Iterator[str]:
    """What stands against shipping a bundle."""
    if not path.exists():
        return
    if path.stat().st_size > MOST_BYTES:
        yield f"{path.stat().st_size} bytes are more than {MOST_BYTES}"
    yield from names(read_bundle(path), folder)
    said = engram_diagnose("run", "--bundle", path, "--format", "json")
    causes = said.document["causes"] if said.out else []
    first = causes[0] if causes else {"rule": "nothing", "confidence": {"probability": 0}, "severity": None}
    if first["rule"] != FAULT or first["confidence"]["probability"] < 0.9 or not first["severity"]:
        yield f"its diagnosis names {first['rule']} first, at {first['confidence']['probability']:.0%}: {said.err}"


def names(bundle: Bundle, folder: Path) -> Iterator[str]:
    """What of this machine and this user is still in the bundle."""
    texts = [json.dumps([bundle.instance, bundle.host, bundle.host_name, dict(bundle.options), dict(bundle.rules)])]
    texts += [f"{answer.name}\n{answer.host}\n{answer.detail}\n{answer.body or ''}" for answer in bundle.answers]
    identity = host_identity()
    known = {"host name": identity.name, "machine id": identity.id, "folder": str(folder), "home": str(Path.home()),
             "checkout": str(ROOT), "interpreter": sys.prefix, "user": os.environ.get("USER", ""),
             "kernel build": platform.release(), "kernel's builder": platform.version()}  # fmt: skip
    for what, name in known.items():
        found = next(
            (text for text in texts if name and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text)), None
        )
        if found is not None:
            yield f"it holds the {what} {name}: {found[:200]!r}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--clients", type=int, default=160)
    parser.add_argument("--output", type=Path, default=INCIDENT)
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
