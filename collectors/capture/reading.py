"""Reading one file, or a tree of small files, without ever raising."""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from dataclasses import dataclass

LIMIT_BYTES = 4 << 20

_REASONS = {
    errno.ENOENT: "SOURCE_ABSENT",
    errno.ENOTDIR: "SOURCE_ABSENT",
    errno.ENODEV: "SOURCE_ABSENT",
    errno.ENXIO: "SOURCE_ABSENT",
    errno.EINVAL: "SOURCE_ABSENT",  # what the speed of a network link that is down answers
    errno.ESRCH: "TARGET_GONE",
    errno.EACCES: "PTRACE_DENIED",
    errno.EPERM: "PTRACE_DENIED",
    errno.EOPNOTSUPP: "KERNEL_CONFIG",  # pressure files with psi=0
    errno.ENOSYS: "KERNEL_CONFIG",
}


@dataclass(frozen=True)
class Reading:
    """The text of a source, or the reason (a `Reason` member's name) and detail of its absence."""

    body: str | None
    reason: str = ""
    detail: str = ""


def failure(error: OSError, path: str) -> Reading:
    """Why a system call on `path` gave nothing."""
    reason = _REASONS.get(error.errno or 0, "SOURCE_UNREACHABLE")
    help_ = "; read it as root or as the server's user" if reason == "PTRACE_DENIED" else ""
    return Reading(None, reason, f"{path}: {error.strerror or error}{help_}")


def read(path: str, *, limit: int = LIMIT_BYTES) -> Reading:
    """
    The text of a regular file of at most `limit` bytes; bytes that are not UTF-8 become
    surrogates.
    """
    try:
        content = _content(path, limit)
    except OSError as error:
        return failure(error, path)
    except ValueError as error:  # a NUL in the path
        return Reading(None, "SOURCE_ABSENT", f"{path!r}: {error}")
    if content is None:
        return Reading(None, "SOURCE_ABSENT", f"{path}: not a regular file")
    if len(content) > limit:
        return Reading(None, "TOO_EXPENSIVE", f"{path}: larger than {limit} bytes")
    return Reading(content.decode("utf-8", "surrogateescape"))


def _content(path: str, limit: int) -> bytes | None:
    # Without O_NONBLOCK a FIFO in the place of a file would hold the run for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return _drain(descriptor, limit)
    finally:
        os.close(descriptor)


def _drain(descriptor: int, limit: int) -> bytes:
    chunks = []
    left = limit + 1
    while left > 0:
        chunk = os.read(descriptor, min(left, 1 << 16))
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def record(path: str) -> str:
    """
    The text of a file of /proc that the kernel writes as one record, such as a thread's `stat`; empty where there is
    none.

    One call to read instead of two: of thousands of threads that is a third of the cost.
    """
    try:
        return _record(path).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def _record(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def count_lines(path: str, *, most: int) -> int:
    """The lines of a file, read no further than tells that they are more than `most`; 0 where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return 0
    try:
        return _lines(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else 0
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _lines(descriptor: int, most: int) -> int:
    count = 0
    while count <= most:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        count += chunk.count(b"\n")
    return count


def line_of(path: str, *, missing: str = "") -> str:
    """The stripped text of a one-line file, `missing` where it cannot be read."""
    body = read(path).body
    return missing if body is None else body.strip()


def gather(root: str, patterns: tuple[str, ...]) -> Reading:
    """
    The files below `root` that match, as `path:line` (the format of `grep -r ''`), in natural
    order.

    Files that cannot be read are left out; with none left, the reason of the last one stands for
    all.
    """
    lines: list[str] = []
    last = Reading(None, "SOURCE_ABSENT", f"{root}: no such files")
    for path in matching(root, patterns):
        reading = read(os.path.join(root, path))
        if reading.body is None:
            last = reading
        else:
            lines.extend(f"{path}:{line}" for line in reading.body.splitlines())
    return Reading("\n".join(lines) + "\n") if lines else last


def matching(root: str, patterns: tuple[str, ...]) -> list[str]:
    """The paths below `root` that match a pattern, in natural order (cpu2 before cpu10)."""
    found = set()
    for pattern in patterns:
        for path in glob.glob(os.path.join(glob.escape(root), pattern)):
            found.add(os.path.relpath(path, root))
    return sorted(found, key=natural)


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key under which embedded figures count as figures."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def entries(path: str) -> list[str]:
    """The names in a directory in natural order; none where it cannot be listed."""
    try:
        return sorted(os.listdir(path), key=natural)
    except OSError:
        return []
