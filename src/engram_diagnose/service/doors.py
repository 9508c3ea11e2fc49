"""
The ways in that the settings name: bearer tokens, and logins whose passwords may be hashed.

A hash is slow on purpose, which a flood of wrong passwords must not turn against those who have the right one. So a
login that was proven a while ago is known again by a keyed digest; others are computed in two threads, one of which
serves nobody but users who were let in before from where they call; and each caller may be wrong only so often. Callers
are told apart by the address that their connection comes from. Behind a proxy that is the proxy's for all of them: then
the proven ones still pass, and so do those with a token, which costs nothing to compare.
"""

import asyncio
import base64
import binascii
import bisect
import hmac
import itertools
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.service.attempts import Attempts, network_of, retry_after
from engram_diagnose.service.passwords import (
    Hashed,
    Logins,
    SecretFileError,
    Watched,
    digest_of,
    parse_logins,
    parse_token,
)
from engram_diagnose.service.refusal import RefusedError
from engram_diagnose.service.settings import Auth

Clock = Callable[[], float]

BURST: Final = 5
"""Wrong passwords that a caller may send at once: more than a person mistypes."""
EVERY_SECONDS: Final = 6.0
"""When a caller may send one more: it takes some hundred callers to keep one thread busy."""
MOST_CALLERS: Final = 10_000
"""Addresses whose attempts are remembered; some 3 MB."""
WAITING: Final = 8
"""Hashes that wait for the thread of one lane, 40 ms each."""
PROVEN_SECONDS: Final = 3600.0
"""How long a right password is not computed again."""
REFUTED_SECONDS: Final = 300.0
"""How long a wrong one is not: a program with an old password sends it again and again."""
MOST_REMEMBERED: Final = 1000
"""Logins that are remembered of each kind, and pairs of user and address that were let in before."""


class Doors:
    """Who is let in. Files that have changed count at once."""

    def __init__(self, auth: Auth, *, clock: Clock = time.monotonic) -> None:
        self.auth = auth
        self._tokens = [Watched(path, parse_token) for path in auth.bearer_token_files]
        self._logins = Watched(auth.basic_auth_file, parse_logins) if auth.basic_auth_file else None
        self._passwords = Passwords(clock=clock) if self._logins else None

    async def admit(self, authorization: bytes, client: str) -> None:
        """
        Raise `RefusedError` unless the header proves who calls. Every secret is compared, also after one fitted.

        `client` is the address that the connection comes from.
        """
        kind, _, given = authorization.partition(b" ")
        if kind.lower() == b"bearer" and self._by_token(given.strip()):
            return
        if kind.lower() == b"basic" and await self._by_login(given.strip(), client):
            return
        raise RefusedError(401, "no valid bearer token or login", (b"www-authenticate", self._challenge()))

    def _challenge(self) -> bytes:
        kinds = ['Basic realm="engram-diagnose", charset="UTF-8"'] if self._logins else []
        kinds += ['Bearer realm="engram-diagnose"'] if self._tokens else []
        return ", ".join(kinds).encode()

    def _by_token(self, token: bytes) -> bool:
        given, fits = digest_of(token), False
        for watched in self._tokens:
            fits |= hmac.compare_digest(given, _held(watched) or b"")
        return fits

    async def _by_login(self, encoded: bytes, client: str) -> bool:
        logins = _held(self._logins) if self._logins else None
        try:
            login = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        if logins is None or self._passwords is None:
            return False
        given, fits = digest_of(login), False
        for digest in logins.plain:
            fits |= hmac.compare_digest(given, digest)
        return fits or (bool(logins.hashed) and await self._passwords.fits(login, logins, client))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One login to be computed: what of, and at whose cost."""

    key: bytes
    user: bytes
    password: bytes
    network: str
    who: str
    known: bool
    wrong: int


class Passwords:
    """Whether a login fits a hashed password: looked up when it was proven, computed within bounds when not."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._proven = Proven(clock=clock)
        self._refuted = Refuted(clock=clock)
        self._familiar = Familiar()
        self._attempts = Attempts(burst=BURST, every_seconds=EVERY_SECONDS, most=MOST_CALLERS, clock=clock)
        self._lanes = {known: Lane(f"hashing-{'known' if known else 'others'}") for known in (True, False)}
        self._under_way: dict[tuple[bytes, int], asyncio.Task[bool]] = {}
        self._nobody = os.urandom(16), os.urandom(32)

    async def fits(self, login: bytes, logins: Logins, client: str) -> bool:
        """
        Whether it does. The same login from the same place is computed once for all who wait for it.

        Raises `RefusedError`: 429 for a caller that was wrong too often, 503 when too many wait.
        """
        if self._proven.knows(login, logins):
            return True
        attempt = self._attempt(login, logins, client)
        if self._refuted.knows(attempt.key, logins):
            return False
        mark = attempt.key, id(logins)
        task = self._under_way.get(mark)
        if task is None:
            if seconds := self._attempts.take(attempt.who):
                raise RefusedError(429, "too many wrong passwords; wait before the next", retry_after(seconds))
            task = asyncio.create_task(self._computed(attempt, login, logins))
            self._under_way[mark] = task
            task.add_done_callback(lambda _: self._under_way.pop(mark, None))
        return await asyncio.shield(task)

    def _attempt(self, login: bytes, logins: Logins, client: str) -> _Attempt:
        user, _, password = login.partition(b":")
        network = network_of(client)
        known = self._against(user, logins)[1] and self._familiar.knows(network, user)
        key = self._proven.digest(network.encode() + b"\n" + login)
        # A user who was let in from here has attempts of its own: nobody else at this address can use them up without
        # knowing the name.
        who = f"{network} {digest_of(user).hex()}" if known else network
        return _Attempt(key, user, password, network, who, known, self._attempts.used(who))

    async def _computed(self, attempt: _Attempt, login: bytes, logins: Logins) -> bool:
        against, there = self._against(attempt.user, logins)
        try:
            right = await self._lanes[attempt.known].matches(against, attempt.password, after=attempt.wrong) and there
        except RefusedError:
            self._attempts.give_back(attempt.who)  # nothing was computed
            raise
        if right:
            self._attempts.give_back(attempt.who)
            self._proven.add(login, logins)
            self._familiar.add(attempt.network, attempt.user)
        else:
            self._refuted.add(attempt.key, logins)
        return right

    def _against(self, user: bytes, logins: Logins) -> tuple[Hashed, bool]:
        """What to compute for a user: one that nobody knows takes as long as one with a wrong password."""
        name, first = digest_of(user), logins.hashed[0][1]
        found, there = Hashed(first.n, first.r, first.p, *self._nobody), False
        for known, candidate in logins.hashed:
            if hmac.compare_digest(name, known):
                found, there = candidate, True
        return found, there


class Lane:
    """
    One thread that computes hashes, and a bounded number of those that wait for it.

    Who was wrong less often is served first, and takes the place of who was wrong more often when all are taken.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._busy = False
        self._come = itertools.count()

    async def matches(self, against: Hashed, password: bytes, *, after: int) -> bool:
        """Whether it is this password, asked by who was wrong `after` times; `RefusedError` when too many wait."""
        await self._turn(after)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, against.matches, password)
        finally:
            self._next()

    async def _turn(self, after: int) -> None:
        if not self._busy:
            self._busy = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bisect.insort(self._waiting, (after, next(self._come), mine))
        if len(self._waiting) > WAITING:
            *_, last = self._waiting.pop()
            if not last.done():
                last.set_exception(RefusedError(503, "too many logins are being checked", retry_after(1)))
        await mine

    def _next(self) -> None:
        while self._waiting:
            *_, first = self._waiting.pop(0)
            if not first.done():  # as it is when the service ends
                first.set_result(None)
                return
        self._busy = False


class Proven:
    """
    Logins that were found right a while ago, so that a hash is computed once; kept as keyed digests only.

    One is forgotten after its time, with any change of the file that it was proven against, and when too many came
    after it.
    """

    def __init__(self, *, most: int = MOST_REMEMBERED, clock: Clock = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._most = most
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[bytes, Logins, float]] = OrderedDict()

    def knows(self, login: bytes, logins: Logins) -> bool:
        """Whether this login was proven against this very content of the file, not too long ago."""
        digest, against, until = self._known.get(self._of_user(login), (b"", None, 0.0))
        fits = hmac.compare_digest(digest, self.digest(login))
        return fits and against is logins and self._clock() < until

    def add(self, login: bytes, logins: Logins) -> None:
        """Remember it."""
        user = self._of_user(login)
        self._known.pop(user, None)
        while len(self._known) >= self._most:
            self._known.popitem(last=False)
        self._known[user] = self.digest(login), logins, self._clock() + PROVEN_SECONDS

    def digest(self, secret: bytes) -> bytes:
        """What may be kept of a secret: of no use to anybody without the key, which this process alone has."""
        return hmac.digest(self._key, secret, "sha256")

    def _of_user(self, login: bytes) -> bytes:
        return self.digest(b"user\n" + login.partition(b":")[0])


class Refuted:
    """Logins that were found wrong a while ago, by their keyed digests: they need not be computed to be so again."""

    def __init__(self, *, most: int = MOST_REMEMBERED, clock: Clock = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Logins, float]] = OrderedDict()

    def knows(self, key: bytes, logins: Logins) -> bool:
        """Whether it was wrong against this very content of the file, not too long ago."""
        against, until = self._known.get(key, (None, 0.0))
        return against is logins and self._clock() < until

    def add(self, key: bytes, logins: Logins) -> None:
        """Remember it."""
        self._known.pop(key, None)
        while len(self._known) >= self._most:
            self._known.popitem(last=False)
        self._known[key] = logins, self._clock() + REFUTED_SECONDS


class Familiar:
    """Which users were let in from where. It opens no door: it only tells whom a stranger must not keep waiting."""

    def __init__(self, *, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._pairs: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def knows(self, network: str, user: bytes) -> bool:
        """Whether this user was let in from there."""
        return (network, digest_of(user)) in self._pairs

    def add(self, network: str, user: bytes) -> None:
        """Remember it, and forget the pair that was let in longest ago when there are too many."""
        pair = network, digest_of(user)
        self._pairs.pop(pair, None)
        while len(self._pairs) >= self._most:
            self._pairs.popitem(last=False)
        self._pairs[pair] = None


def _held(watched: Watched[Any]) -> Any:
    """What the file holds, or None: one that cannot be read lets nobody in; `/-/ready` says which."""
    try:
        return watched.value()
    except SecretFileError:
        return None


def unusable_secrets(auth: Auth) -> list[str]:
    """What is wrong with the files of secrets; empty when nothing is."""
    watched: list[Watched[Any]] = [Watched(path, parse_token) for path in auth.bearer_token_files]
    watched += [Watched(auth.basic_auth_file, parse_logins)] if auth.basic_auth_file else []
    problems = []
    for one in watched:
        try:
            one.value()
        except SecretFileError as error:
            problems.append(str(error))
    return problems
