"""python -m striate: the command line."""

import sys

from striate.cli import main

sys.exit(main())
