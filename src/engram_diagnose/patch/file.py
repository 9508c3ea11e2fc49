"""
The patch as it is kept: comments for people, lines for the machine, the diff, and the diff that takes it back.

    # engram-diagnose patch 1
    # file: /etc/engram/engram.toml
    # base: sha256:…
    # result: sha256:…
    # made: 2026-03-01T09:30:00Z
    # expires: 2026-03-08T09:30:00Z
    --- engram.toml
    +++ engram.toml
    @@ …
    # reverse:
    # | --- engram.toml
    # | …

Other comment lines may stand anywhere before the diff. GNU `patch` takes the file as it is. Read and write it as
bytes: the line ends within the diff are those of the configuration.
"""

import datetime
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.language.problem import printable
from engram_diagnose.patch.error import PatchError as PatchError
from engram_diagnose.patch.unified import hunks, patched

FIRST_LINE: Final = "# engram-diagnose patch 1"
_ANY_VERSION: Final = re.compile(r"# engram-diagnose patch \S+")
_REVERSE: Final = "# reverse:"
_BEHIND: Final = "# | "
_FIELDS: Final = ("file", "base", "result", "made", "expires")
_FIELD: Final = re.compile(rf"# ({'|'.join(_FIELDS)}): (.*)")
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_AGAIN: Final = "make the patch again with `engram-diagnose tune`"


@dataclass(frozen=True, slots=True)
class SavedPatch:
    """
    A patch that was read. `base` and `result` are SHA-256 in hexadecimal digits of the configuration before and
    after, the times are UTC, `diff` and `reverse` unified diffs, `text` is the whole.
    """

    file: str
    base: str
    result: str
    made: datetime.datetime
    expires: datetime.datetime
    diff: str
    reverse: str
    text: str


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def machine_lines(
    *, file: str, base: str, result: str, made: datetime.datetime, expires: datetime.datetime
) -> list[str]:
    """The lines that `read_patch` looks for, without line ends; the first is the first of the patch."""
    return [
        FIRST_LINE,
        f"# file: {_path_words(file)}",
        f"# base: sha256:{base}",
        f"# result: sha256:{result}",
        f"# made: {_time_words(made)}",
        f"# expires: {_time_words(expires)}",
    ]


def body(diff: str, reverse: str) -> str:
    """What follows the header: the diff, then its reverse as comment lines."""
    behind = "".join(f"{_BEHIND}{line}\n" for line in reverse.removesuffix("\n").split("\n"))
    return f"{diff}{_REVERSE}\n{behind}"


def _path_words(path: str) -> str:
    plain = path.isprintable() and path == path.strip() and not path.startswith('"')
    return path if plain else json.dumps(path)


def _time_words(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime(_TIME)


def read_patch(text: str) -> SavedPatch:
    """The patch a text holds; raises `PatchError` for another text, and for one that is truncated or inconsistent."""
    first = text.split("\n", 1)[0]
    if first == f"{FIRST_LINE}\r":
        raise PatchError(f"the line ends of the patch were changed on the way; copy it as a binary file, or {_AGAIN}")
    if first != FIRST_LINE:
        other = f"a patch of another version ({first[2:]})" if _ANY_VERSION.fullmatch(first) else "no patch"
        raise PatchError(f"{printable(other)}: its first line should be {FIRST_LINE!r}; {_AGAIN}")
    header, diff, reverse = _parts(text)
    fields = _fields(header)
    if not diff or not reverse or _balance(diff) != _balance(reverse, sign=-1):
        raise PatchError(
            "the diff and its reverse do not belong together, so the result would not be the one whose sha256 the "
            f"patch names: it was edited by hand or damaged; {_AGAIN}"
        )
    return SavedPatch(
        _path(fields["file"]),
        _sha256(fields, "base"),
        _sha256(fields, "result"),
        _time(fields, "made"),
        _time(fields, "expires"),
        diff,
        reverse,
        text,
    )


def _parts(text: str) -> tuple[list[str], str, str]:
    """Header lines, diff and reverse diff."""
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith("--- ")), None)
    end = next((i for i, line in enumerate(lines) if line == _REVERSE), None)
    if start is None or end is None or end < start or lines.pop():
        raise PatchError(
            f"the patch is truncated: it should hold a diff and, below {_REVERSE!r}, its reverse; {_AGAIN}"
        )
    strange = [line for line in lines[:start] if line and not line.startswith("#")]
    strange += [line for line in lines[end + 1 :] if not line.startswith(_BEHIND)]
    if strange:
        raise PatchError(f"{printable(strange[0][:60])!r} is no line of a patch where it stands; {_AGAIN}")
    reverse = "".join(f"{line.removeprefix(_BEHIND)}\n" for line in lines[end + 1 :])
    return lines[:start], "".join(f"{line}\n" for line in lines[start:end]), reverse


def _fields(header: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in filter(None, map(_FIELD.fullmatch, header)):
        if match[1] in found:
            raise PatchError(f"the patch says twice what its {match[1]!r} is; {_AGAIN}")
        found[match[1]] = match[2]
    for name in _FIELDS:
        if name not in found:
            raise PatchError(f"the patch has no line '# {name}: …'; {_AGAIN}")
    return found


def _path(words: str) -> str:
    if not words.startswith('"'):
        return words
    try:
        return str(json.loads(words))
    except ValueError:
        raise PatchError(f"{printable(words)} after '# file:' is no path; {_AGAIN}") from None


def _sha256(fields: dict[str, str], name: str) -> str:
    match = _DIGEST.fullmatch(fields[name])
    if not match:
        raise PatchError(f"'# {name}:' should be followed by sha256: and 64 hexadecimal digits; {_AGAIN}")
    return match[1]


def _time(fields: dict[str, str], name: str) -> datetime.datetime:
    try:
        return datetime.datetime.strptime(fields[name], _TIME).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise PatchError(f"'# {name}:' should be followed by a time such as 2026-03-01T09:30:00Z; {_AGAIN}") from None


def _balance(diff: str, *, sign: int = 1) -> dict[bytes, int]:
    """How often each line goes (positive) or comes, less what cancels out."""
    count: Counter[bytes] = Counter()
    for hunk in hunks(diff):
        count.update(hunk.old)
        count.subtract(hunk.new)
    return {line: sign * number for line, number in count.items() if number}


def refuse_expired(patch: SavedPatch, *, now: datetime.datetime) -> None:
    """Raises `PatchError` for a patch whose time is over."""
    if now >= patch.expires:
        raise PatchError(
            f"the patch expired at {_time_words(patch.expires)}: what it was made from may no longer hold; {_AGAIN}"
        )


def content_to_apply(patch: SavedPatch, current: bytes) -> bytes:
    """
    What the patch makes of the configuration `current`; `current` itself where it was applied already.

    Raises `PatchError` when the configuration is another than the patch was made for, or the diff does not lead to
    the result it names.
    """
    if digest(current) == patch.result:
        return current
    if digest(current) != patch.base:
        raise PatchError(f"the configuration is another than the patch was made for: it moved on since; {_AGAIN}")
    result = patched(current, patch.diff)
    if digest(result) != patch.result:
        raise PatchError(
            "the diff does not lead to the result whose sha256 the patch names: it was edited by hand; "
            f"{_AGAIN}, or change the configuration yourself"
        )
    if patched(result, patch.reverse) != current:
        raise PatchError(f"the reverse of the patch does not lead back: it was edited by hand; {_AGAIN}")
    return result
