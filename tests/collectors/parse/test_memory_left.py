"""What control groups leave a process of memory."""

from engram_diagnose.collectors.parse.cgroup import memory_left


def test_the_tightest_level_decides_and_what_can_be_dropped_counts_as_left():
    text = (
        "version:2\n0/memory.max:1000\n0/memory.current:700\n0/memory.stat:inactive_file 200\n"
        "1/memory.max:2000\n1/memory.current:1900\n1/memory.stat:inactive_file 0\n"
    )
    assert memory_left(text) == 100


def test_without_a_limit_there_is_no_figure():
    assert memory_left("version:2\n0/memory.max:max\n0/memory.current:700\n") is None


def test_a_level_that_says_not_what_it_uses_leaves_its_limit():
    assert memory_left("version:2\n0/memory.max:1000\n") == 1000


def test_a_full_level_leaves_next_to_nothing_and_not_everything():
    assert memory_left("version:1\n0/memory.limit_in_bytes:1000\n0/memory.usage_in_bytes:1200\n") == 1
