"""`python -m irkit`."""

import sys

from irkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
