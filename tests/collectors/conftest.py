"""Tests of collectors share small hosts written as files, and a web server with the tests of the service."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "capture"), str(HERE.parent / "service")]
