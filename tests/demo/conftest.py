"""The demo's databases, built once per test process."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjupyter.demo.build import build_all


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both databases and their policies, as `make demo` writes them."""
    folder = tmp_path_factory.mktemp("demo")
    build_all(folder)
    return folder
