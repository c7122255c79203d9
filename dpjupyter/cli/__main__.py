"""``python -m dpjupyter.cli``: the same as the command ``dpjupyter``."""

from __future__ import annotations

import sys

from dpjupyter.cli import main

sys.exit(main())
