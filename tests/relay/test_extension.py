"""What the JupyterLab extension repeats of the Python side is the same on both sides; what is shipped is small."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from dpjupyter.magics.options import OPTIONS
from dpjupyter.relay import PREFIX, READABLE, _jupyter_server_extension_points

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "labextension"
BUILT = ROOT / "dpjupyter" / "labextension"
MOST_BYTES = 300_000


def test_the_types_are_those_of_the_wire() -> None:
    written = runpy.run_path(str(EXTENSION / "scripts" / "wire_types.py"))["written"]
    assert (EXTENSION / "src" / "wire.ts").read_text(encoding="utf-8") == written()


def test_the_options_are_those_of_the_magic() -> None:
    source = (EXTENSION / "src" / "magic.ts").read_text(encoding="utf-8")
    listed = re.findall(r"\{\s*name: '(--[a-z-]+)',\s*value: '([^']*)'", source)
    assert {name: bool(value) for name, value in listed} == {option.flag: bool(option.value) for option in OPTIONS}


def test_the_routes_are_those_of_the_relay() -> None:
    source = (EXTENSION / "src" / "api.ts").read_text(encoding="utf-8")
    asked = set(re.findall(r"_ask<\w+>\('([a-z/]+)'", source))
    assert asked <= {*READABLE, "connections", "audit", "quote"}
    assert PREFIX in source


def test_jupyter_server_finds_the_relay() -> None:
    enabled = json.loads((ROOT / "jupyter-config" / "jupyter_server_config.d" / "dpjupyter.json").read_text(encoding="utf-8"))
    names = {point["module"] for point in _jupyter_server_extension_points()}
    assert set(enabled["ServerApp"]["jpserver_extensions"]) == names


def test_the_lock_names_no_address() -> None:
    assert "://" not in (EXTENSION / "yarn.lock").read_text(encoding="utf-8")


def test_the_bundle_is_small() -> None:
    if not (BUILT / "package.json").exists():
        pytest.skip("the extension is not built here")
    sizes = {file.name: file.stat().st_size for file in (BUILT / "static").glob("*.js")}
    assert sum(sizes.values()) < MOST_BYTES, sizes
