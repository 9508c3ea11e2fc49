"""Programs and stand-ins of this folder import each other by their names, also in processes of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
