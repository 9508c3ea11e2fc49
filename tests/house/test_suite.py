"""
The suite itself: tests that share a server run in one worker.
"""

import pytest


def test_what_shares_a_server_is_one_group_of_tests(request: pytest.FixtureRequest) -> None:
    """Under pytest 9.2, pytest-xdist 3.8 leaves the groups out and says nothing, and servers start several times."""
    if not request.config.getoption("loadgroup", False):
        pytest.skip("not distributed by groups")
    grouped = [item.nodeid for item in request.session.items if item.get_closest_marker("xdist_group")]
    assert [name for name in grouped if "@" not in name] == []
