"""``--within W``: the epsilon at which every half-width is at most W, found with free quotes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dpjupyter.answer import formats
from dpjupyter.errors import AskRefused
from dpjupyter.magics.options import Within
from dpjupyter.wire import BudgetSetting, QueryRequest, QuoteReply

MOST_QUOTES = 12
CLOSE_ENOUGH = 0.97  # of the wanted half-width: integer noise moves in steps

Widths = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where to begin and how low epsilon may go: from the policy."""

    start: float
    least: float


def solve(
    ask: Callable[[QueryRequest], QuoteReply], request: QueryRequest, within: Within, confidence: float, allowed: Allowed
) -> tuple[QueryRequest, str]:
    """Choose epsilon so that the expected half-widths fit.

    Half-widths of columns shown as they are drawn fall with 1/epsilon, up to integer rounding; a few quotes settle it.

    Args:
        ask: quotes a request; free.
        request: the question, with everything else as it will be asked.
        within: what is wanted.
        confidence: of the half-widths.
        allowed: an epsilon the policy allows, and its smallest.
    Returns: the request with its epsilon, and one sentence on what was chosen.
    Raises: AskRefused: no column's noise is known beforehand, or the gateway refuses the epsilon that is needed.
    """
    first = _widths(ask(_with(request, {}, allowed.start)), confidence)
    named = dict(within.columns)
    for column in named:
        if column not in first:
            raise AskRefused(f"the noise of {column!r} is not known beforehand", hint=_hint(first))
    if within.every is not None:
        if not first:
            raise AskRefused("no column's noise is known beforehand", hint=_hint(first))
        limit = within.every

        def widest(epsilon: float) -> float:
            return max(_widths(ask(_with(request, {}, epsilon)), confidence).values()) / limit

        epsilon = _search(widest, max(first.values()) / limit, allowed)
        return _with(request, {}, epsilon), f"±{limit:g} at {confidence:.0%} needs ε {formats.epsilon(epsilon)} per answer"
    chosen: dict[str, float] = {}
    for column, limit in named.items():

        def ratio(epsilon: float, column: str = column, limit: float = limit) -> float:
            return _widths(ask(_with(request, {**chosen, column: epsilon}, None)), confidence)[column] / limit

        chosen[column] = _search(ratio, first[column] / limit, allowed)
    said = ", ".join(f"{column} ±{named[column]:g} needs ε {formats.epsilon(epsilon)}" for column, epsilon in chosen.items())
    return _with(request, chosen, None), f"{said} (at {confidence:.0%})"


def _search(ratio: Callable[[float], float], at_start: float, allowed: Allowed) -> float:
    """Smallest epsilon, to about 3%, with ratio(epsilon) <= 1; ratio falls about as 1/epsilon."""
    epsilon, too_small, fits = allowed.start * at_start, 0.0, math.inf
    for _ in range(MOST_QUOTES):
        epsilon = max(_rounded_up(epsilon), allowed.least)
        try:
            now = ratio(epsilon)
        except AskRefused as refused:
            raise AskRefused(
                f"a half-width this small is not to be had: {refused.message}", hint=f"{refused.hint} A wider interval needs less.".strip()
            ) from None
        if now <= 1:
            fits = min(fits, epsilon)
            if epsilon <= allowed.least or now >= CLOSE_ENOUGH or fits <= too_small / CLOSE_ENOUGH:
                break
            epsilon = max(epsilon * now, (too_small + fits) / 2) if too_small else epsilon * now
        else:
            too_small = max(too_small, epsilon)
            epsilon = epsilon * now if math.isinf(fits) else (too_small + fits) / 2
        if epsilon >= fits:
            break
    if math.isinf(fits):
        raise AskRefused("no epsilon was found that gives this half-width", hint="Ask for a wider interval, or set --epsilon yourself.")
    return fits


def _widths(quote: QuoteReply, confidence: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for column in quote.utility:
        for level, width in column.half_width.items():
            if not column.derived and width > 0 and math.isclose(float(level), confidence):
                found[column.name] = width
    return found


def _with(request: QueryRequest, answers: Mapping[str, float], epsilon: float | None) -> QueryRequest:
    setting = request.dpconfig.budget_setting
    mixed = {**setting.answers, **{name: {"epsilon": value} for name, value in answers.items()}}
    setting = BudgetSetting.model_validate(
        {"epsilon": epsilon if epsilon is not None else setting.epsilon, "delt": setting.delt, "answers": mixed}
    )
    return request.model_copy(update={"dpconfig": request.dpconfig.model_copy(update={"budget_setting": setting})})


def _rounded_up(epsilon: float) -> float:
    """Four digits, upwards: the sentence says what is asked."""
    if epsilon <= 0 or not math.isfinite(epsilon):
        return epsilon
    step = 10.0 ** (math.floor(math.log10(epsilon)) - 3)
    return float(f"{math.ceil(epsilon / step - 1e-9) * step:.6g}")


def _hint(known: Widths) -> str:
    if known:
        return f"Known beforehand: {', '.join(known)}. Other columns are computed from released values."
    return "Counts and sums shown as they are have a known noise; ratios and averages do not. Set --epsilon instead, or use --dry-run."
