"""A flood of wrong passwords keeps nobody waiting who has the right one, and a right one is not computed twice."""

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.service import doors as module
from engram_diagnose.service.attempts import Attempts, network_of
from engram_diagnose.service.doors import BURST, EVERY_SECONDS, PROVEN_SECONDS, REFUTED_SECONDS, WAITING, Doors
from engram_diagnose.service.passwords import Hashed, hashed, parse_logins
from engram_diagnose.service.refusal import RefusedError
from engram_diagnose.service.settings import Auth


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Computed:
    """Stands in for scrypt: takes as long as it is told to, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()
        really = Hashed.matches

        def matches(hash: Hashed, password: bytes) -> bool:
            self.number += 1
            self.threads.add(threading.current_thread().name)
            assert self.go.wait(20)
            return really(hash, password)

        monkeypatch.setattr(Hashed, "matches", matches)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    return Computed(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


CHEAP = "scrypt$2$1$1$"


def cheap(password: str) -> str:
    """A hash that takes no time."""
    from engram_diagnose.service.passwords import _scrypt

    digest = _scrypt(password.encode(), b"salt", 2, 1, 1)
    return CHEAP + base64.b64encode(b"salt").decode() + "$" + base64.b64encode(digest).decode()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people"
    path.write_text(f"am:{cheap('right')}\nann:{cheap('right')}\nplain:word\n")
    return path


@pytest.fixture
def doors(people: Path, clock: Clock) -> Doors:
    return Doors(Auth(basic_auth_file=people), clock=clock)


async def status(doors: Doors, login: str, client: str = "192.0.2.1") -> int:
    try:
        await doors.admit(b"Basic " + base64.b64encode(login.encode()), client)
    except RefusedError as refusal:
        return refusal.status
    return 200


def run(inner: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(inner())  # type: ignore[arg-type]  # an async function's


async def settled(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never so")


def test_an_address_that_is_wrong_too_often_is_told_when_to_come_again(doors: Doors, clock: Clock) -> None:
    async def inner() -> None:
        assert [await status(doors, f"ann:wrong{n}") for n in range(BURST)] == [401] * BURST
        with pytest.raises(RefusedError) as caught:
            await doors.admit(b"Basic " + base64.b64encode(b"ann:another"), "192.0.2.1")
        assert caught.value.status == 429
        assert dict(caught.value.headers)[b"retry-after"] == str(int(EVERY_SECONDS)).encode()
        assert await status(doors, "ann:right") == 429
        clock.now += EVERY_SECONDS
        assert await status(doors, "ann:right") == 200

    run(inner)


def test_another_address_is_none_the_worse_for_it(doors: Doors) -> None:
    async def inner() -> None:
        for number in range(BURST + 3):
            await status(doors, f"ann:wrong{number}", "192.0.2.1")
        assert await status(doors, "ann:right", "192.0.2.2") == 200

    run(inner)


def test_a_network_that_has_endless_addresses_counts_as_one(doors: Doors) -> None:
    async def inner() -> None:
        found = [await status(doors, f"ann:wrong{n}", f"2001:db8::{n:x}") for n in range(BURST + 1)]
        assert found == [401] * BURST + [429]
        assert await status(doors, "ann:right", "2001:db8:0:1::1") == 200

    run(inner)


def test_a_right_password_is_not_counted_and_computed_once(doors: Doors, computed: Computed) -> None:
    async def inner() -> None:
        for _ in range(5 * BURST):
            assert await status(doors, "ann:right") == 200

    run(inner)
    assert computed.number == 1


def test_one_who_was_proven_passes_whatever_others_do_at_the_same_address(doors: Doors) -> None:
    """As behind a proxy, where all callers have its address."""

    async def inner() -> None:
        assert await status(doors, "am:right", "127.0.0.1") == 200
        for number in range(3 * BURST):
            await status(doors, f"someone{number}:wrong", "127.0.0.1")
        assert await status(doors, "ann:right", "127.0.0.1") == 429
        assert await status(doors, "am:right", "127.0.0.1") == 200
        assert await status(doors, "plain:word", "127.0.0.1") == 200

    run(inner)


def test_one_who_was_proven_long_ago_is_computed_again_and_still_has_attempts_of_its_own(
    doors: Doors, clock: Clock, computed: Computed
) -> None:
    async def inner() -> None:
        assert await status(doors, "am:right", "127.0.0.1") == 200
        clock.now += PROVEN_SECONDS
        for number in range(3 * BURST):
            await status(doors, f"someone{number}:wrong", "127.0.0.1")
        before = computed.number
        assert await status(doors, "am:right", "127.0.0.1") == 200
        assert computed.number == before + 1

    run(inner)


def test_the_same_wrong_password_again_costs_nothing_and_is_counted_once(
    doors: Doors, clock: Clock, computed: Computed
) -> None:
    """A program with an old password must not lock out the others behind its address."""

    async def inner() -> None:
        for _ in range(10 * BURST):
            assert await status(doors, "ann:old") == 401
        assert computed.number == 1
        assert await status(doors, "ann:right") == 200
        clock.now += REFUTED_SECONDS
        assert await status(doors, "ann:old") == 401
        assert computed.number == 3

    run(inner)


def test_a_changed_file_forgets_what_was_proven_and_what_was_refuted(doors: Doors, people: Path) -> None:
    async def inner() -> None:
        assert await status(doors, "ann:right") == 200
        assert await status(doors, "ann:new") == 401
        people.write_text(f"ann:{cheap('new')}\n# longer\n")
        assert await status(doors, "ann:right") == 401
        assert await status(doors, "ann:new") == 200

    run(inner)


def test_strangers_that_fill_their_lane_do_not_keep_those_waiting_who_were_here_before(
    doors: Doors, clock: Clock, computed: Computed
) -> None:
    async def inner() -> None:
        assert await status(doors, "am:right", "192.0.2.1") == 200
        clock.now += PROVEN_SECONDS
        computed.go.clear()
        flood = [asyncio.create_task(status(doors, "am:wrong", f"198.51.100.{n}")) for n in range(WAITING + 1)]
        await settled(lambda: computed.number == 2)
        assert await status(doors, "am:wrong", "203.0.113.1") == 503
        late = asyncio.create_task(status(doors, "am:right", "192.0.2.1"))
        await settled(lambda: computed.number == 3)  # beside the flood, not behind it
        computed.go.set()
        assert await late == 200
        assert await asyncio.gather(*flood) == [401] * (WAITING + 1)

    run(inner)
    assert len(computed.threads) == 2


def test_one_who_was_never_wrong_goes_before_those_who_were(doors: Doors, computed: Computed) -> None:
    async def inner() -> None:
        for number in range(WAITING + 1):
            assert await status(doors, "am:wrong", f"198.51.100.{number}") == 401
        before = computed.number
        computed.go.clear()
        flood = [asyncio.create_task(status(doors, "am:no", f"198.51.100.{n}")) for n in range(WAITING + 1)]
        await settled(lambda: computed.number == before + 1)
        late = asyncio.create_task(status(doors, "ann:right", "203.0.113.1"))
        await asyncio.sleep(0.05)
        computed.go.set()
        assert await late == 200
        assert computed.number <= before + 3
        assert sorted(await asyncio.gather(*flood)) == [401] * WAITING + [503]

    run(inner)


def test_a_caller_who_was_sent_away_unheard_has_lost_no_attempt(doors: Doors, computed: Computed) -> None:
    async def inner() -> None:
        computed.go.clear()
        flood = [asyncio.create_task(status(doors, "am:wrong", f"198.51.100.{n}")) for n in range(WAITING + 1)]
        await settled(lambda: computed.number == 1)
        for number in range(3 * BURST):
            assert await status(doors, f"ann:{number}", "203.0.113.1") == 503
        computed.go.set()
        await asyncio.gather(*flood)
        assert await status(doors, "ann:right", "203.0.113.1") == 200

    run(inner)


def test_many_calls_at_once_with_one_login_wait_for_one_computation(doors: Doors, computed: Computed) -> None:
    """Alertmanager posts a group each over a connection of its own, right after a start too."""

    async def inner() -> None:
        computed.go.clear()
        calls = [asyncio.create_task(status(doors, "am:right")) for _ in range(10 * WAITING)]
        await settled(lambda: computed.number == 1)
        computed.go.set()
        assert set(await asyncio.gather(*calls)) == {200}

    run(inner)
    assert computed.number == 1


def test_a_user_nobody_knows_costs_what_a_known_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "people").write_text("ann:" + hashed("right").replace("scrypt$16384$8$1", "scrypt$32768$4$2") + "\n")
    seen = []
    monkeypatch.setattr(Hashed, "matches", lambda one, password: bool(seen.append((one.n, one.r, one.p))))
    doors = Doors(Auth(basic_auth_file=tmp_path / "people"))
    assert run(lambda: status(doors, "ann:wrong")) == 401
    assert run(lambda: status(doors, "eve:wrong", "192.0.2.9")) == 401
    assert seen == [(32768, 4, 2)] * 2


def test_an_unknown_user_with_a_password_that_would_fit_is_not_let_in(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hashed, "matches", lambda one, password: True)
    assert run(lambda: status(doors, "eve:anything")) == 401


@pytest.mark.parametrize("kind", ["Proven", "Refuted"])
def test_what_is_remembered_of_logins_is_bounded_and_shows_no_login(kind: str, clock: Clock) -> None:
    logins = parse_logins(f"ann:{cheap('right')}")
    remembered = getattr(module, kind)(most=3, clock=clock)
    for number in range(10):
        remembered.add(f"user{number}:geheim".encode(), logins)
    known = [number for number in range(10) if remembered.knows(f"user{number}:geheim".encode(), logins)]
    assert known == [7, 8, 9]
    assert not remembered.knows(b"user9:geheim", parse_logins(f"ann:{cheap('right')}"))
    if kind == "Proven":
        assert b"geheim" not in repr(vars(remembered)).encode()


def test_two_hashes_for_one_user_are_refused() -> None:
    with pytest.raises(ValueError, match="line 2 has a hash for a user who has one above"):
        parse_logins(f"ann:{cheap('a')}\nann:{cheap('b')}\n")


# Buckets


def test_the_callers_that_are_remembered_are_bounded_and_the_latest_stay() -> None:
    attempts = Attempts(burst=1, every_seconds=60, most=3, clock=Clock())
    assert [attempts.take(f"{n}") for n in range(5)] == [0.0] * 5
    assert len(attempts) == 3
    assert attempts.take("4") > 0
    assert attempts.take("0") == 0.0


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30), st.booleans()), max_size=60),
    burst=st.integers(1, 5),
)
def test_a_caller_never_has_more_attempts_than_time_has_given_it(
    steps: list[tuple[str, float, bool]], burst: int
) -> None:
    clock = Clock()
    attempts, begun, taken = Attempts(burst=burst, every_seconds=6, most=10, clock=clock), clock.now, {"a": 0, "b": 0}
    for who, passed, returned in steps:
        clock.now += passed
        wait = attempts.take(who)
        assert 0 <= wait <= 6 + 1e-6
        if wait == 0:
            taken[who] += 1
            if returned:
                attempts.give_back(who)
                taken[who] -= 1
        assert taken[who] <= burst + (clock.now - begun) / 6 + 1e-6


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_an_address_belongs_to_a_network(address: str, network: str) -> None:
    assert network_of(address) == network
