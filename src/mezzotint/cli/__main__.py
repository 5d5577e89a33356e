"""`python -m mezzotint.cli` is the command `mezzotint`."""

from __future__ import annotations

import sys

from mezzotint.cli.exits import main

sys.exit(main())
