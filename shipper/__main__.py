"""`python -m shipper` is the command `shipper`."""

import sys

from .cli import main

sys.exit(main())
