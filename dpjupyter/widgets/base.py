"""What every widget here has: a stable text form beside the live one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from pydantic import ValidationError

LINES = "line-height:1.4"  # of text in a widget: ipywidgets spaces lines as it spaces buttons


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


def mistake(error: ValidationError, names: Mapping[str, str]) -> str:
    """The first thing wrong with a form, by the names of its fields."""
    first = error.errors()[0]
    field = str(first["loc"][-1]) if first["loc"] else ""
    # pydantic speaks of inputs, a form of its fields; "Value error, ..." is a validator's own sentence.
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    said = said.replace("a valid integer", "a whole number").replace("a valid number", "a number").partition(", unable to parse")[0]
    return f"{names.get(field, field)}: {said}"


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
