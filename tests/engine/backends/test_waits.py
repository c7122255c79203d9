"""Of a backend's progress an analyst hears that the warehouse has not begun, and no more."""

from __future__ import annotations

import pytest

from dpjupyter.engine.backends.waits import RUNNING, WAITING, Waits


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], []),
        ([RUNNING, RUNNING], []),
        ([WAITING, WAITING, RUNNING], [WAITING, RUNNING]),
        ([RUNNING, WAITING, RUNNING, WAITING], [WAITING, RUNNING]),
        ([WAITING, "a stage with 4711 rows", WAITING], [WAITING, RUNNING]),
    ],
)
def test_two_fixed_texts_at_most(texts: list[str], told: list[str]) -> None:
    heard: list[str] = []
    waits = Waits(heard.append)
    for text in texts:
        waits.tell(text)
    waits.begun()
    waits.tell(WAITING)  # the next statement
    assert heard == told
