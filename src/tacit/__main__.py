"""`python -m tacit`: the command `tacit`."""

import sys

from tacit.cli.main import main

sys.exit(main())
