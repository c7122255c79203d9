"""Figures that say what they show: JupyterLab gives a plain PNG output no text, so ours come with an image that has one."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO

from matplotlib.figure import Figure


class Described(Figure):
    """A matplotlib figure whose HTML form is an ``img`` with its description as ``alt``; all else is as always."""

    description = ""

    def _repr_html_(self) -> str | None:
        if "WebAgg" in type(self.canvas).__name__:
            return super()._repr_html_()  # interactive back ends draw themselves
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, bbox_inches="tight")
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="{escape(self.description, quote=True)}" style="max-width:100%" src="data:image/png;base64,{data}">'
