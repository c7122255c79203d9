"""Defaults of a notebook: ``[settings]`` of the connections file, changed by ``%dpsql config name=value``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from dpjupyter.errors import BadRequest, DpError, NotConnected
from dpjupyter.magics.options import BY_FLAG

ABOUT: Mapping[str, str] = {
    "epsilon": "budget of each answer; none: the policy's default",
    "delta": "failure probability of each answer, Gauss only; none: the policy's default",
    "mechanism": "laplace or gauss; none: the policy's default",
    "confidence": "of the intervals shown",
    "timeout": "seconds after which a query is given up; none: the gateway's own limit",
    "progress": "show stage and elapsed time while a query runs",
    "traceback": "show Python tracebacks of errors",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cell uses where its own options say nothing."""

    epsilon: float | None = None
    delta: float | None = None
    mechanism: Literal["Laplace", "Gauss"] | None = None
    confidence: float = 0.95
    timeout: float | None = None
    progress: bool = True
    traceback: bool = False

    def with_value(self, name: str, text: str) -> Settings:
        """The same with one setting changed.

        Raises: BadRequest: the name or the value is not known.
        """
        if name not in ABOUT:
            raise BadRequest(f"setting {name!r} is not known", hint=f"Settings: {', '.join(ABOUT)}.")
        try:
            value = _reader(name)(text)
        except DpError as error:
            raise BadRequest(f"{name}: {error.message}", hint=ABOUT[name]) from None
        return replace(self, **{name: value})

    def shown(self) -> list[tuple[str, str, str]]:
        """Name, value and meaning of each setting."""
        return [(field.name, _text(getattr(self, field.name)), ABOUT[field.name]) for field in fields(self)]


def from_file(values: Mapping[str, Any]) -> Settings:
    """Settings as the connections file gives them.

    Raises: NotConnected: one is unknown or malformed.
    """
    settings = Settings()
    for name, value in values.items():
        try:
            settings = settings.with_value(name, _text(value))
        except BadRequest as error:
            raise NotConnected(f"connections file, [settings]: {error.message}", hint=error.hint) from None
    return settings


def _reader(name: str) -> Callable[[str], Any]:
    if name in ("progress", "traceback"):
        return _switch
    read = BY_FLAG[f"--{name}"].read
    if name == "confidence":
        return read
    return lambda text: None if text.casefold() in ("none", "default", "") else read(text)


def _switch(text: str) -> bool:
    match text.casefold():
        case "on" | "true" | "yes" | "1":
            return True
        case "off" | "false" | "no" | "0":
            return False
        case _:
            raise BadRequest(f"{text!r} is neither on nor off")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
