"""``python -m banditd``."""

import sys

from banditd.cli import main

if __name__ == "__main__":
    sys.exit(main())
