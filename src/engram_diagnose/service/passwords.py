"""
Who may call: tokens and passwords from files, compared in a time that tells nothing of them.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

_PREFIX: Final = "scrypt$"
_N, _R, _P = 1 << 14, 8, 1
"""scrypt's costs: 16 MiB and some 40 ms."""
_LENGTH: Final = 32

T = TypeVar("T")


class SecretFileError(ValueError):
    """A file of secrets that cannot be used; names the file and the line, and never what stands there."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """A password of which only the hash is kept."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, password: bytes) -> bool:
        """Whether it is this password. Takes as long for a wrong one."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p), self.digest)


@dataclass(frozen=True, slots=True)
class Logins:
    """What a file of `user:password` lines holds: digests of plain lines, and hashed passwords by user."""

    plain: tuple[bytes, ...] = ()
    hashed: tuple[tuple[bytes, Hashed], ...] = ()


def hashed(password: str, *, salt: bytes | None = None) -> str:
    """A password in the form that may stand in the file instead of it."""
    salt = salt or os.urandom(16)
    digest = _scrypt(password.encode(), salt, _N, _R, _P)
    return f"{_PREFIX}{_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=_LENGTH, maxmem=256 * n * r + (1 << 20))


def parse_token(text: str) -> bytes:
    """`TOKEN`: the digest of a file's one token; raises `ValueError` with what is wrong."""
    token = text.strip()
    if not token:
        raise ValueError("it is empty; write the token into it")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token is one word of printable ASCII; write it alone into the file")
    return digest_of(token.encode())


def parse_logins(text: str) -> Logins:
    """`USER:PASSWORD` or `USER:scrypt$…` a line, `#` for comments; raises `ValueError` with the line and problem."""
    plain: list[bytes] = []
    found: list[tuple[bytes, Hashed]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.strip().partition(":")
        if not (user and colon and password):
            raise ValueError(f"line {number} is not user:password")
        if password.startswith(_PREFIX):
            name = digest_of(user.encode())
            if any(name == known for known, _ in found):
                raise ValueError(f"line {number} has a hash for a user who has one above; leave one of them out")
            found.append((name, _parse_hashed(password, number)))
        else:
            plain.append(digest_of(f"{user}:{password}".encode()))
    if not plain and not found:
        raise ValueError("it holds no line user:password; write one into it")
    return Logins(tuple(plain), tuple(found))


def _parse_hashed(text: str, number: int) -> Hashed:
    """`scrypt$N$R$P$SALT$DIGEST`, the last two in base64."""
    try:
        _, n, r, p, salt, digest = text.split("$")
        found = Hashed(
            int(n), int(r), int(p), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
        )
        usable = 2 <= found.n <= 1 << 17 and not found.n & (found.n - 1) and 1 <= found.r <= 16 and 1 <= found.p <= 4
    except (ValueError, binascii.Error):
        usable = False
    if not usable or len(found.digest) != _LENGTH:
        raise ValueError(f"line {number} has a hash of another kind; make one with: engram-diagnose serve hash")
    return found


def parse_secrets(text: str) -> list[str]:
    """What must not be shown of a file, whatever kind it is of: each line, and what stands behind its first colon."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        _, colon, password = line.partition(":")
        is_url = password.startswith("//")
        found += [line] if is_url or not colon else [line, password.removeprefix(_PREFIX)]
    return found


def digest_of(secret: bytes) -> bytes:
    """What is compared instead of a secret: always as long, whatever the secret."""
    return hashlib.sha256(secret).digest()


class Watched(Generic[T]):
    """A file of secrets, parsed, and parsed again when it has changed. One that cannot be used lets nobody in."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self.path = path
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._value: T | None = None
        self._problem = ""

    def value(self) -> T:
        """What the file holds now; raises `SecretFileError`."""
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._read()
                self._seen = seen
        except OSError as error:
            self._seen, self._value = None, None
            self._problem = f"cannot read {self.path}: {error.strerror or error}; check its path and its mode"
        if self._value is None:
            raise SecretFileError(self._problem)
        return self._value

    def _read(self) -> None:
        self._value = None
        try:
            self._value = self._parse(self.path.read_bytes().decode())
        except UnicodeDecodeError:
            self._problem = f"{self.path} is not UTF-8 text"
        except ValueError as error:
            self._problem = f"{self.path}: {error}"
