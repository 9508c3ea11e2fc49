"""Guard rails of the load: whom, how much, where."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.bench.guards import (
    Address,
    GuardError,
    Size,
    checked_address,
    is_ours,
    require_bounds,
    require_confirmation,
    space_name,
)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:7432", "http://localhost:7432/", "http://[::1]:7432", "http://127.0.0.1"]
)
def test_this_machine_needs_no_confirmation(url: str) -> None:
    require_confirmation([checked_address(url)], ())


@pytest.mark.parametrize("url", ["http://db1:7432", "http://10.0.0.7:7432", "http://127.0.0.1.example.org:7432"])
def test_any_other_host_is_refused_until_it_is_named(url: str) -> None:
    address = checked_address(url)
    with pytest.raises(GuardError, match=f"--confirm {address.host}"):
        require_confirmation([address], ())
    with pytest.raises(GuardError, match="name the host that is loaded"):
        require_confirmation([address], ("db2",))
    require_confirmation([address], (address.host.upper(),))


def test_of_two_hosts_each_is_named() -> None:
    both = [checked_address("http://db1:7432"), checked_address("http://db2:7432")]
    with pytest.raises(GuardError, match=r"db1 and db2 are not this machine.*--confirm db1 --confirm db2"):
        require_confirmation(both, ())
    with pytest.raises(GuardError, match="db2 is not this machine"):
        require_confirmation(both, ("db1",))
    require_confirmation(both, ("db2", "db1"))
    require_confirmation([checked_address("http://127.0.0.1:1"), both[0]], ("db1",))


@pytest.mark.parametrize(
    "url",
    ["", "7432", "127.0.0.1:7432", "ftp://127.0.0.1", "https://127.0.0.1:7432", "http://", "http://u:secret@h:1",
     "http://h:0", "http://h:70000", "http://h:1/api", "http://h:1?x=1", "http://[::1", "http://a b:1"],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(GuardError) as caught:
        checked_address(url)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_makes_reading_an_address_fail_in_another_way(text: str) -> None:
    try:
        found = checked_address(text)
    except GuardError:
        return
    assert isinstance(found, Address)


def test_a_plan_beyond_any_cap_is_refused_with_all_caps_it_breaks(limits: dict[str, float]) -> None:
    require_bounds(Size(1000, 1000, 10.0), limits)
    with pytest.raises(GuardError) as caught:
        require_bounds(Size(10**9, 10**12, 10_000.0), limits)
    assert all(word in str(caught.value) for word in ("requests", "B", "10,000 s"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_every_space_is_one_of_ours_and_no_other_space_is(tag: str, name: str) -> None:
    with contextlib.suppress(GuardError):
        assert is_ours(space_name(tag, name))
    assert not any(map(is_ours, ("default", "bench-", "xbench-a", "")))
