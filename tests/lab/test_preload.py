"""Memories to begin with: the same ones each time, stored once and copied from then on."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from engram_diagnose.lab import preload as preload_module
from engram_diagnose.lab.host import Host
from engram_diagnose.lab.preload import preload, texts
from engram_diagnose.lab.settings import Settings, fitting
from engram_diagnose.lab.sparse import copy_file, copy_folder

SETTINGS = replace(fitting(Host(4, 1 << 14, 1, "avx2", True)), hnsw_index_m=8, wal_sync_mode="immediate")


class Kept(FakeEngine):
    """An engine that writes what was stored into its folder when it stops."""

    made: list[tuple[Settings, Path]]

    def stop(self) -> None:
        _, folder = self.made[-1]
        (folder / "deep" / "deeper").mkdir(parents=True)
        (folder / "deep" / "deeper" / "file").write_text("too")
        (folder / "snapshot").write_text("\n".join(memory.content for memory in self.stored["default"]))


def loaded(folder: Path, count: int, made: list[tuple[Settings, Path]], said: list[str]) -> None:
    def make(settings: Settings, place: Path) -> FakeEngine:
        made.append((settings, place))
        engine = Kept()
        engine.made = made
        return engine

    folder.mkdir(exist_ok=True)
    preload(folder, count=count, settings=SETTINGS, make_engine=make, say=said.append)


def test_texts_are_the_same_each_time_and_share_words_within_their_topic() -> None:
    first, again = list(texts(500)), list(texts(500))
    assert first == again
    assert len(set(first)) == 500
    assert all(8 <= len(text.split()) <= 20 and len(text) < 4000 for text in first)
    shared = [
        len(set(one.split()) & set(other.split())) for one in first[:100] for other in first[:100] if one != other
    ]
    assert max(shared) >= 5
    assert sorted(shared)[len(shared) // 2] <= 2


def test_memories_are_stored_once_with_settings_that_fit_and_copied_for_the_next(tmp_path: Path) -> None:
    made: list[tuple[Settings, Path]] = []
    loaded(tmp_path / "one", 300, made, [])
    loaded(tmp_path / "two", 300, made, [])
    assert len(made) == 1
    assert (made[0][0].hnsw_index_m, made[0][0].wal_sync_mode) == (8, "batch")
    first = (tmp_path / "one" / "snapshot").read_text()
    assert first.splitlines() == list(texts(300))
    assert (tmp_path / "two" / "snapshot").read_text() == first
    assert (tmp_path / "two" / "deep" / "deeper" / "file").read_text() == "too"
    loaded(tmp_path / "three", 301, made, [])
    assert len(made) == 2


def test_a_folder_with_data_is_left_as_it_is(tmp_path: Path) -> None:
    made: list[tuple[Settings, Path]] = []
    said: list[str] = []
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "wal-1").write_text("data")
    loaded(tmp_path / "one", 10, made, said)
    assert (made, said) == ([], ["there are data already; nothing is preloaded"])


def test_settings_and_the_lock_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "engram.toml").write_text("mine")
    (tmp_path / "one" / "lock").write_text("")
    loaded(tmp_path / "one", 10, [], [])
    assert (tmp_path / "one" / "engram.toml").read_text() == "mine"
    assert (tmp_path / "one" / "snapshot").exists()


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    class Full(Kept):
        def submit(self, *given: object, **named: object) -> int:
            raise OSError("no space left on the device")

    (tmp_path / "one").mkdir()
    engine = Full()
    engine.made = [(SETTINGS, tmp_path / "one")]
    with pytest.raises(OSError, match="no space"):
        preload(tmp_path / "one", count=10, settings=SETTINGS, make_engine=lambda *_: engine, say=print)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_killed_lab_left_half_built_is_removed(tmp_path: Path) -> None:
    loaded(tmp_path / "one", 10, [], [])
    (kept,) = (path for path in tmp_path.iterdir() if path.name.startswith(".engram-lab"))
    kept.rename(kept.with_name(f"{kept.name}.4194305"))
    loaded(tmp_path / "two", 10, [], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "one", "two"]


def test_what_a_killed_lab_left_half_copied_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, it runs no `finally`: what it copies into has to be known by its name."""
    places: list[Path] = []

    def killed(kept: Path, target: Path) -> None:
        copy_folder(kept, target)
        places.append(target)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(preload_module, "copy_folder", killed)
        patch.setattr(preload_module.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            loaded(tmp_path / "one", 10, [], [])
    (left,) = places
    left.rename(left.with_suffix(".4194305"))  # as a process that is gone would have called it
    made: list[tuple[Settings, Path]] = []
    loaded(tmp_path / "two", 10, made, [])
    assert made == []
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".4194305")] == []


def test_more_memories_than_a_space_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 60000 memories"):
        loaded(tmp_path / "one", 60_001, [], [])


def test_holes_stay_holes_in_a_copy(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.seek(10 << 20)
        file.write(b"data" * 5000)
        file.truncate(1 << 30)
    copy_file(tmp_path / "a", tmp_path / "b")
    copied = (tmp_path / "b").stat()
    assert copied.st_size == 1 << 30
    assert copied.st_blocks * 512 < 1 << 20
    with (tmp_path / "b").open("rb") as file:
        file.seek(10 << 20)
        assert file.read(20_000) == b"data" * 5000
        assert not any(file.read(100))


def test_an_empty_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""
