"""Print docs/functions.md: ``python -m dpjupyter.engine.scalar > docs/functions.md``."""

from __future__ import annotations

import sys

from dpjupyter.engine.scalar.allowed import markdown

sys.stdout.write(markdown())
