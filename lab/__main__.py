"""`python -m engram_diagnose.lab`."""

import sys

from engram_diagnose.lab.main import main

if __name__ == "__main__":
    sys.exit(main())
