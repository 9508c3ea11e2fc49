"""The tests of this folder share how pages are read, and take the stage of a server from the end-to-end tests."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "end_to_end")]
