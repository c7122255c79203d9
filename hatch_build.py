"""Build hook: the JupyterLab extension is built where node is, and shipped where it was built.

A machine without node still gets a working package, only without the status bar and side panel.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = Path("dpjupyter") / "labextension"
SHARED = "share/jupyter/labextensions/dpjupyter"


class LabExtensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds labextension/ if that was not done yet, and adds the result to the wheel's data files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the wheel or sdist is written; never fails for want of node."""
        built = Path(self.root) / BUILT
        if not (built / "package.json").exists():
            self._build(version)
        if self.target_name == "wheel" and (built / "package.json").exists():
            build_data["shared_data"][str(built)] = SHARED
            build_data["shared_data"][str(Path(self.root) / "labextension" / "install.json")] = f"{SHARED}/install.json"
        if self.target_name == "wheel" and version != "editable":
            # The demo copies its tutorial from the source checkout or, installed, from here.
            build_data["force_include"][str(Path(self.root) / "notebooks")] = "dpjupyter/demo/notebooks"

    def _build(self, version: str) -> None:
        source = Path(self.root) / "labextension"
        if os.environ.get("SKIP_JUPYTER_BUILDER") or not (source / "package.json").exists():
            return
        if shutil.which("node") is None:
            warnings.warn("node is not installed: building without the JupyterLab extension", stacklevel=2)
            return
        from hatch_jupyter_builder import npm_builder  # noqa: PLC0415 - needed only when there is something to build

        try:
            npm_builder(self.target_name, version, path=str(source), build_cmd="build:prod", npm="jlpm", force=True)
        except Exception as error:  # noqa: BLE001 - whatever npm did wrong, the Python package is whole without it
            warnings.warn(f"the JupyterLab extension was not built: {error}", stacklevel=2)
