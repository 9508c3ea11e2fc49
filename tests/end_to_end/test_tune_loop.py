"""
The whole way round on real input: a planted fault, a patch, a restart, and a verification that it helped.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stage import Said, engram_diagnose, folder_on_disk, free_port, planted, prometheus

pytestmark = [pytest.mark.server, pytest.mark.slow]

WARM_UP = 12.0
SPAN = 50.0
"""Seconds of one side: a dozen windows of four scrapes."""


@dataclass(frozen=True)
class Loop:
    """What each step said, and the configuration before and after it."""

    before: str
    after: str
    applied: Said
    again: Said
    verified: Said
    history: Said


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    port = free_port()
    with folder_on_disk() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        instance = f"127.0.0.1:{port}"
        with prometheus(folder / "prometheus", {instance: instance}) as scraper:
            with planted(folder / "faulty", port=port) as server:
                before = server.config.read_text(encoding="utf-8")
                time.sleep(WARM_UP)
                start = time.time()
                time.sleep(SPAN)
                applied = tune(scraper.url, server.config, server.folder, "--apply")
                again = tune(scraper.url, server.config, server.folder)
                faulty = (start, start + SPAN)
                after = server.config.read_text(encoding="utf-8")
            mended = folder / "mended"
            mended.mkdir()
            shutil.copy(server.config, mended / server.config.name)
            with planted(mended, port=port):
                time.sleep(WARM_UP)
                start = time.time()
                time.sleep(SPAN)
                sides = ("--before", "/".join(map(str, faulty)), "--after", f"{start}/{time.time()}")
                verified = engram_diagnose("verify", "--prometheus", scraper.url, "--instance", instance, *sides,
                                           "--format", "json")  # fmt: skip
        history = engram_diagnose("tune", "--history", "--format", "json")
        yield Loop(before, after, applied, again, verified, history)


def tune(url: str, config: Path, data: Path, *options: str) -> Said:
    return engram_diagnose(
        "tune", "--prometheus", url, "--config", config, "--data-dir", data, "--seconds", "3", *options
    )


def test_the_patch_turns_batching_on_and_leaves_the_rest(loop: Loop) -> None:
    assert loop.applied.code == 0, loop.applied.out + loop.applied.err
    changed = [
        (old, new) for old, new in zip(loop.before.splitlines(), loop.after.splitlines(), strict=True) if old != new
    ]
    assert ('sync_mode = "immediate"', 'sync_mode = "batch"') in changed
    assert all(old.split(" = ")[0] == new.split(" = ")[0] for old, new in changed)


def test_what_was_applied_is_not_advised_again_before_the_server_was_restarted(loop: Loop) -> None:
    assert loop.again.code == 0
    assert "PATCH" not in loop.again.out


def test_it_helped_and_the_ledger_knows(loop: Loop) -> None:
    assert loop.verified.code == 0, loop.verified.out + loop.verified.err
    assert loop.verified.document["verdict"]["state"] == "improved"
    (entry,) = loop.history.document["applications"]
    assert entry["state"] == "applied"
    assert "improved" in json.dumps(entry)
