"""
What the engine keeps from one start to the next: the memories' vectors, texts and links.

A snapshot is a folder that is written beside the one before and takes its place as a whole. The log goes on from there.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw_sketches import _encode_all
from engram_diagnose.lab import tiers as tier_files
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.world import World

FOLDER: Final = "snapshot"
_FORMAT: Final = 2


class SnapshotError(ValueError):
    """A snapshot that cannot be read; says what is wrong with it, and what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row's text and confidence."""

    content: str
    confidence: float


def save(world: World, folder: Path, *, names: Mapping[str, int], kept: Mapping[int, Kept], sequence: int) -> None:
    """Write all that is there; no thread may work on it meanwhile. Raises `OSError`; the one before is then kept."""
    new = folder / f"{FOLDER}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    tier_files.save(world.tiers, new / "tiers")
    described = []
    for name, space in names.items():
        of, state = world.spaces[space], world.states[space]
        stored, linked, above = int(of[at.STORED]), int(state[hnsw.COUNT]), int(state[hnsw.ROWS])
        low, first = int(of[at.BASE]), int(of[at.ABOVE])
        with (new / f"space-{space}.npz").open("wb") as file:
            np.savez(
                file,
                vectors=world.vectors[low : low + stored],
                bottom=world.bottom[low : low + linked],
                above=world.above[first : first + above],
                first=world.first[low : low + linked],
                layers=world.layers[low : low + linked],
                state=state,
            )
            file.flush()
            os.fsync(file.fileno())
        described.append({"name": name, "space": space, "stored": stored, "data": int(of[at.DATA]),
                          "serial": int(of[at.SERIAL])})  # fmt: skip
    texts = [[row, one.content, one.confidence] for row, one in kept.items()]
    links, construction = world.above.shape[1] - 1, int(world.settings[at.CONSTRUCTION])
    document = {"format": _FORMAT, "sequence": sequence, "links": links, "construction": construction,
                "spaces": described, "texts": texts}  # fmt: skip
    with (new / "contents.json").open("w", encoding="utf-8") as text:
        json.dump(document, text, ensure_ascii=False)
        text.flush()
        os.fsync(text.fileno())
    old = folder / f"{FOLDER}.old"
    shutil.rmtree(old, ignore_errors=True)
    if (folder / FOLDER).exists():
        (folder / FOLDER).rename(old)
    new.rename(folder / FOLDER)
    shutil.rmtree(old, ignore_errors=True)


def load(world: World, folder: Path) -> tuple[dict[str, int], dict[int, Kept], int]:
    """
    Fill empty arrays with what was saved; the spaces' numbers by name, the texts by row, and the last sequence of the
    log that is in it (0 where there is no snapshot).

    Links of an index that was built with other parameters are left out: the memories are linked anew. Raises
    `SnapshotError`, `OSError`.
    """
    place = next((found for found in (folder / FOLDER, folder / f"{FOLDER}.old") if found.is_dir()), None)
    if place is None:
        return {}, {}, 0
    try:
        document = json.loads((place / "contents.json").read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise ValueError("it is of another release")
        is_linked = (document["links"], document["construction"]) == (
            world.above.shape[1] - 1,
            int(world.settings[at.CONSTRUCTION]),
        )
        names = {str(one["name"]): int(one["space"]) for one in document["spaces"]}
        for one in document["spaces"]:
            _load_space(world, place, one, is_linked=is_linked)
        tier_files.load(world.tiers, place / "tiers")
        kept = {int(row): Kept(content, confidence) for row, content, confidence in document["texts"]}
        return names, kept, int(document["sequence"])
    except (ValueError, KeyError, TypeError, IndexError, EOFError) as error:
        raise SnapshotError(
            f"{place} cannot be read ({error}); remove it, and the lab begins without memories"
        ) from None


def _load_space(world: World, place: Path, one: Mapping[str, Any], *, is_linked: bool) -> None:
    space, stored = int(one["space"]), int(one["stored"])
    of = world.spaces[space]
    low, above = int(of[at.BASE]), int(of[at.ABOVE])
    chunks = -(-stored // at.CHUNK) * at.CHUNK
    if chunks:
        os.posix_fallocate(int(world.vector_file[0]), low * at.DIMENSIONS * 4, chunks * at.DIMENSIONS * 4)
    of[[at.STORED, at.BACKED, at.DATA, at.SERIAL]] = stored, chunks, int(one["data"]), int(one["serial"])
    world.ready[low : low + stored] = 1
    with np.load(place / f"space-{space}.npz", allow_pickle=False) as arrays:
        world.vectors[low : low + stored] = arrays["vectors"]
        if not is_linked:
            return
        state = arrays["state"]
        linked, rows = int(state[hnsw.COUNT]), int(state[hnsw.ROWS])
        world.bottom[low : low + linked] = arrays["bottom"]
        world.above[above : above + rows] = arrays["above"]
        world.first[low : low + linked] = arrays["first"]
        world.layers[low : low + linked] = arrays["layers"]
        kept = (hnsw.COUNT, hnsw.ENTRY, hnsw.TOP, hnsw.ROWS)
        world.states[space, kept] = state[list(kept)]
        of[at.SEARCHABLE] = linked
    high = low + linked
    _encode_all(world.vectors[low:high], 0, linked, world.codes[low:high], world.figures[low:high])
