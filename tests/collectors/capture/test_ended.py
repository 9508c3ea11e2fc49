"""A process that has ended is gone, also while its parent has not collected it yet."""

import subprocess
import sys
import time

from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.target import NoTarget, local_target


def test_a_zombie_is_no_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert start_ticks(child.pid) is not None
        assert child.stdin is not None
        child.stdin.close()
        deadline = time.monotonic() + 20
        while start_ticks(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert child.returncode is None, "it has not been collected"
        target = local_target(pid=child.pid)
    assert isinstance(target, NoTarget)
    assert target.reason == "TARGET_GONE"
