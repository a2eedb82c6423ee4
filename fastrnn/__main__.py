"""`python -m fastrnn`: the command `fastrnn`."""

import sys

from fastrnn.cli.main import main

sys.exit(main())
