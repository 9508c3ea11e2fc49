"""The programs of this folder are scripts, which import each other by their names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
