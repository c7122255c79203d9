"""What every widget here has: a stable text form beside the live one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets


class Panel(ipywidgets.VBox):
    """A box whose text form is its content: shown where widgets are not, and compared by notebook tests."""

    def text(self) -> str:
        """The content as text."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**arguments)
        # ipywidgets cuts the text form to 110 characters and shows memory addresses.
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = self.text()
        return bundle

    def __repr__(self) -> str:
        return self.text()


def chosen(selection: ipywidgets.Dropdown) -> Any:
    """The value that is selected; of the options' own type."""
    return selection.value


def on_press(button: ipywidgets.Button, do: Callable[[], object]) -> None:
    """Do something when a button is pressed."""

    def pressed(_: ipywidgets.Button) -> None:
        do()

    button.on_click(pressed)


def on_change(widget: ipywidgets.Widget, do: Callable[[], object], *, trait: str = "value") -> None:
    """Do something when a widget's value changes."""

    def changed(_: Any) -> None:
        do()

    widget.observe(changed, names=trait)
