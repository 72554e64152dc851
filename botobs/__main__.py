"""`python -m botobs`."""

from __future__ import annotations

import sys

from botobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
