"""Stopped at any touch of the disk, the configuration is the old or the new one, whole, and can be rolled back."""

import datetime
import errno
import inspect
import os
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.patch import disk
from engram_diagnose.patch.apply import CannotApplyError, NothingToRollBackError, apply, roll_back
from engram_diagnose.patch.file import digest

OLD, NEW, NEWER = (name.encode() * 3000 for name in ("old ", "new ", "newer "))
NOW = datetime.datetime(2026, 3, 1, 9, 30, tzinfo=datetime.UTC)
STEPS = tuple(name for name, member in vars(disk).items() if inspect.isfunction(member))

Act = Callable[[Path], object]


def put(path: Path) -> object:
    return apply(path, base=digest(OLD), content=NEW, now=NOW)


def put_second(path: Path) -> object:
    return apply(path, base=digest(NEW), content=NEWER, now=NOW + datetime.timedelta(minutes=1))


class Touches:
    """Counts the touches of the disk, and calls `stop` around the one of that number."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int = 0, stop: Callable[..., Any] | None = None
    ) -> None:
        self.names: list[str] = []
        self.number, self.stop = number, stop
        for name in STEPS:
            monkeypatch.setattr(disk, name, self.counted(name, getattr(disk, name)))

    def counted(self, name: str, touch: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            self.names.append(name)
            if len(self.names) != self.number or self.stop is None:
                return touch(*arguments)
            if name != "close":
                return self.stop(touch, *arguments)
            touch(*arguments)  # a descriptor is closed whatever the call says
            return self.stop(lambda *_: None, *arguments)

        return run


def fresh(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    path = folder / "engram.toml"
    path.write_bytes(OLD)
    return path


def touches_of(act: Act, path: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        touches = Touches(monkeypatch)
        act(path)
    return touches.names


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def temporaries(path: Path) -> list[str]:
    return [name for name in names(path) if name != path.name and ".backup-" not in name]


def test_every_step_is_seen(tmp_path: Path) -> None:
    path = fresh(tmp_path, "config")
    steps = touches_of(put, path)
    wanted = ["lock", "create", "write", "fsync", "rename", "fsync_folder", "create", "write", "fsync", "rename"]
    assert [step for step in steps if step in wanted] == [*wanted, "fsync_folder"]
    assert steps.index("lock") < steps.index("create")


def full(_: Callable[..., Any], *__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(_: Callable[..., Any], *__: Any) -> Any:
    raise KeyboardInterrupt


def interrupted_after(touch: Callable[..., Any], *arguments: Any) -> Any:
    touch(*arguments)
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [full, interrupted, interrupted_after])
def test_a_stopped_run_leaves_the_old_file_and_nothing_else(tmp_path: Path, stop: Callable[..., Any]) -> None:
    steps = touches_of(put, fresh(tmp_path, "whole"))
    replaced = len(steps) - steps[::-1].index("rename")
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, f"{stop.__name__}-{number}")
        failed: BaseException | None = None
        with pytest.MonkeyPatch.context() as monkeypatch:
            Touches(monkeypatch, number, stop)
            try:
                put(path)
            except (CannotApplyError, KeyboardInterrupt) as error:
                failed = error
        assert failed is None or isinstance(failed, KeyboardInterrupt) == (stop is not full)
        there = path.read_bytes()
        assert temporaries(path) == [], f"at {steps[number - 1]}"
        if there == OLD:
            assert failed is not None
            assert names(path) == ["engram.toml"], f"at {steps[number - 1]}"
            with pytest.raises(NothingToRollBackError):
                roll_back(path)
        else:
            assert there == NEW
            assert failed is None or number >= replaced
            assert roll_back(path).result == digest(OLD)
        assert path.read_bytes() == OLD
        assert put(path)
        assert roll_back(path).result == digest(OLD)


@pytest.mark.parametrize("stop", [full, interrupted, interrupted_after])
def test_a_stopped_rollback_leaves_the_new_file_or_the_old_one(tmp_path: Path, stop: Callable[..., Any]) -> None:
    whole = fresh(tmp_path, "whole")
    put(whole)
    steps = touches_of(roll_back, whole)
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, f"{stop.__name__}-{number}")
        put(path)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Touches(monkeypatch, number, stop)
            with suppress(CannotApplyError if stop is full else KeyboardInterrupt):
                roll_back(path)
        assert temporaries(path) == [], f"at {steps[number - 1]}"
        finish_rollback(path)


def finish_rollback(path: Path) -> None:
    if path.read_bytes() == NEW:
        assert roll_back(path).result == digest(OLD)
    assert path.read_bytes() == OLD
    with pytest.raises(NothingToRollBackError):
        roll_back(path)


def test_a_disk_that_refuses_everything_is_reported(tmp_path: Path) -> None:
    steps = touches_of(put, fresh(tmp_path, "whole"))
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, str(number))
        with pytest.MonkeyPatch.context() as monkeypatch:
            touches = Touches(monkeypatch)

            def full_from_here(*_: Any, number: int = number, touches: Touches = touches) -> Any:
                touches.number = len(touches.names) + 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            touches.number, touches.stop = number, full_from_here
            with suppress(CannotApplyError):
                put(path)
        assert path.read_bytes() in (OLD, NEW)
        finish_rollback(path)
        assert names(path) == ["engram.toml"]


def killed(_: Callable[..., Any], *__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after(touch: Callable[..., Any], *arguments: Any) -> Any:
    touch(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


def killed_half_way(touch: Callable[..., Any], *arguments: Any) -> Any:
    if isinstance(arguments[-1], bytes | memoryview):
        touch(*arguments[:-1], arguments[-1][: len(arguments[-1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_killed_child(act: Act, path: Path, number: int, stop: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of the test runner; the child does next to nothing
        child = os.fork()
    if child == 0:
        try:
            Touches(pytest.MonkeyPatch(), number, stop)
            act(path)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.parametrize("stop", [killed, killed_after, killed_half_way])
def test_a_killed_run_leaves_one_of_the_two_files_whole(tmp_path: Path, stop: Callable[..., Any]) -> None:
    steps = touches_of(put, fresh(tmp_path, "whole"))
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, f"{stop.__name__}-{number}")
        in_a_killed_child(put, path, number, stop)
        assert path.read_bytes() in (OLD, NEW)
        finish_rollback(path)
        assert names(path) == ["engram.toml"], f"killed at {steps[number - 1]}"


@pytest.mark.parametrize("stop", [killed, killed_after, killed_half_way])
def test_after_a_killed_run_the_next_one_goes_through(tmp_path: Path, stop: Callable[..., Any]) -> None:
    steps = touches_of(put, fresh(tmp_path, "whole"))
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, f"{stop.__name__}-{number}")
        in_a_killed_child(put, path, number, stop)
        put(path)
        assert path.read_bytes() == NEW
        assert len(names(path)) == 2
        finish_rollback(path)


@pytest.mark.parametrize("stop", [killed, killed_after, killed_half_way])
@pytest.mark.parametrize("act", [put_second, roll_back])
def test_killed_in_the_middle_of_a_chain_the_chain_is_still_walked_back(
    tmp_path: Path, act: Act, stop: Callable[..., Any]
) -> None:
    whole = fresh(tmp_path, "whole")
    put(whole)
    steps = touches_of(act, whole)
    for number in range(1, len(steps) + 1):
        path = fresh(tmp_path, f"{stop.__name__}-{number}")
        put(path)
        in_a_killed_child(act, path, number, stop)
        if path.read_bytes() == NEWER:
            assert roll_back(path).result == digest(NEW)
        finish_rollback(path)
        assert names(path) == ["engram.toml"]
