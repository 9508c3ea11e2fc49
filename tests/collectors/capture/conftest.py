"""What several tests of capture have in common is beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
