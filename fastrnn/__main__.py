"""`python -m fastrnn`: the command `fastrnn`."""

import sys

from fastrnn.charlm.cli import main

sys.exit(main())
