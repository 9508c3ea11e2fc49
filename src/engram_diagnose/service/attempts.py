"""
How often a caller may try what costs us much: a bucket of tokens for each, and a bounded number of buckets.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_PREFIX = 64
"""Bits of an IPv6 address that name a caller's network; the others it may choose as it likes."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Attempts:
    """
    `burst` attempts at once for each caller, and one more every `every_seconds`.

    Of `most` callers it is remembered how many they have left; the one that has tried least recently is forgotten for a
    further one, and has all of them again.
    """

    def __init__(
        self, *, burst: int, every_seconds: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._every = every_seconds
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str) -> float:
        """0 when there was a token, which is gone now; else the seconds until there is one."""
        bucket = self._bucket(who)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) * self._every
        bucket.tokens -= 1
        return 0.0

    def give_back(self, who: str) -> None:
        """The attempt was a right one, and is not counted."""
        bucket = self._bucket(who)
        bucket.tokens = min(self._burst, bucket.tokens + 1)

    def used(self, who: str) -> int:
        """How many of its attempts are gone, whole ones."""
        return math.ceil(self._burst - self._bucket(who).tokens)

    def __len__(self) -> int:
        return len(self._buckets)

    def _bucket(self, who: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.pop(who, None) or _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) / self._every)
        bucket.at = now
        while len(self._buckets) >= self._most:
            self._buckets.popitem(last=False)
        self._buckets[who] = bucket
        return bucket


def network_of(address: str) -> str:
    """Whom an address belongs to: itself for IPv4, the /64 for IPv6; text that is no address stands for itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _PREFIX), strict=False))


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """The header that tells a caller when to come again, in whole seconds."""
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()
