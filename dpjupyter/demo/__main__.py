"""``python -m dpjupyter.demo``."""

from __future__ import annotations

import sys

from dpjupyter.demo.run import main

sys.exit(main())
