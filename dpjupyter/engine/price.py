"""Price a plan: how much noise each statistic gets, what that costs, how exact the answer will be.

Everything here follows from the query's text and the public policy; nothing touches data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

from dpjupyter.engine import accounting
from dpjupyter.engine.intervals import Carrier, half_width, noisy_tables
from dpjupyter.engine.model import (
    CONFIDENCES,
    Ask,
    Cost,
    DpCall,
    Expectation,
    Item,
    Measurement,
    Mechanism,
    Noise,
    Plan,
    Quote,
    Selection,
    Statistic,
)
from dpjupyter.engine.policy import Limits, Policy
from dpjupyter.errors import AskRefused

OPEN_KEYS = "which groups exist"  # label of the unit count that decides it


@dataclass(frozen=True, slots=True)
class _Asked:
    """Epsilon and delta of one answer or one statistic."""

    epsilon: Fraction
    delta: Fraction  # 0 for Laplace


@dataclass(frozen=True, slots=True)
class _Loss:
    """What releasing one statistic costs."""

    noise: Noise
    epsilon: Fraction
    rho: Fraction
    delta: Fraction


def price(plan: Plan, ask: Ask, policy: Policy) -> Quote:
    """Put a price on a plan.

    Each answer gets the asked epsilon, split among its statistics; a statistic several answers share is measured once,
    at the largest epsilon any of them needs.

    Raises: AskRefused: epsilon, delta, mechanism or an answer's name is not allowed, or the noise would not fit in 64 bits.
    """
    mechanism = _mechanism(ask, policy.limits)
    whole = _Asked(_epsilon(ask.epsilon, policy.limits, "epsilon"), _delta(ask, policy.limits, mechanism))
    items = _items(plan, ask, policy.limits, whole)
    needs = _needs(items)
    calls: list[DpCall] = []
    losses: dict[str, _Loss] = {}
    thresholds: dict[str, int] = {}
    key_delta = 0
    for m in plan.measurements:
        if m.threshold is not None and m.threshold not in needs:
            needs[m.threshold] = (whole, None)
        for part in m.parts:
            for wanted in (*part.statistics, *part.selections):
                if wanted.name not in needs:
                    raise ValueError(f"statistic {wanted.name} belongs to no answer")
                losses[wanted.name] = _loss(wanted, m.max_groups, needs[wanted.name][0], mechanism)
        if m.threshold is not None:
            thresholds[m.name] = _threshold(m, losses[m.threshold].noise)
            key_delta += accounting.atto_up(m.key_delta)
    for item, _ in items:
        paid = [losses[name] for name, _ in item.shares if needs[name][1] is item]
        used = losses[item.shares[0][0]].noise.mechanism if item.shares else "none"
        calls.append(DpCall(item.label, float(sum(p.epsilon for p in paid)), float(sum(p.delta for p in paid)), used))
    for m in plan.measurements:
        if m.threshold is not None:
            own = losses[m.threshold] if needs[m.threshold][1] is None else None
            used = losses[m.threshold].noise.mechanism
            delta = accounting.exact(m.key_delta, "key_delta") + (own.delta if own else 0)
            calls.append(DpCall(OPEN_KEYS, float(own.epsilon) if own else 0.0, float(delta), used))
    noise = {name: loss.noise for name, loss in losses.items()}
    return Quote(
        plan=plan,
        ask=ask,
        checksum=policy.checksum,
        mechanism=mechanism,
        epsilon=float(whole.epsilon),
        delta=float(whole.delta),
        noise=noise,
        thresholds=thresholds,
        cost=Cost(
            pico_epsilon=accounting.pico_up(sum((loss.epsilon for loss in losses.values()), Fraction(0))),
            pico_rho=accounting.pico_up(sum((loss.rho for loss in losses.values()), Fraction(0))),
            atto_key_delta=min(key_delta, accounting.MAX_INTEGER),
            atto_gauss_delta=accounting.atto_up(sum((loss.delta for loss in losses.values()), Fraction(0))),
            calls=tuple(calls),
        ),
        expectations=_expectations(plan, noise),
        fingerprint=_fingerprint(plan, ask, policy, mechanism, whole),
    )


# ---------------------------------------------------------------- what was asked
def _mechanism(ask: Ask, limits: Limits) -> Mechanism:
    chosen = ask.mechanism or limits.default_mechanism
    if chosen not in get_args(Mechanism):
        raise AskRefused(f"Mechanism {chosen!r} is not known.", hint="Use laplace or gauss.")
    return chosen


def _epsilon(value: float | None, limits: Limits, name: str) -> Fraction:
    asked = accounting.exact(limits.default_epsilon if value is None else value, name)
    if not accounting.exact(limits.min_epsilon, "min_epsilon") <= asked <= accounting.exact(limits.max_epsilon, "max_epsilon"):
        raise AskRefused(
            f"{name} {float(asked):g} is outside what the policy allows.",
            hint=f"Ask for {limits.min_epsilon:g} to {limits.max_epsilon:g} per answer.",
        )
    return asked


def _delta(ask: Ask, limits: Limits, mechanism: Mechanism) -> Fraction:
    if ask.delta is not None and (isinstance(ask.delta, bool) or not 0 <= ask.delta < 1):
        raise AskRefused("delta must be at least 0 and less than 1.", hint=f"The policy's default is {limits.default_delta:g}.")
    if mechanism == "laplace":
        return Fraction(0)  # Laplace has none, whatever was asked
    asked = accounting.exact(limits.default_delta if ask.delta is None else ask.delta, "delta of Gaussian noise")
    if asked >= 1:
        raise AskRefused("delta of Gaussian noise must be greater than 0 and less than 1.")
    return asked


def _items(plan: Plan, ask: Ask, limits: Limits, whole: _Asked) -> list[tuple[Item, _Asked]]:
    """Every answer with what is asked for it; an override goes by the name of an output column."""
    shown = {name for item in plan.items for name in item.columns}
    spelled = {name.casefold(): name for name in sorted(shown)}
    overrides: dict[str, Fraction] = {}
    for name, value in ask.answers.items():
        found = name if name in shown else spelled.get(name.casefold())
        if found is None:
            offered = ", ".join(sorted(shown)) or "none"
            raise AskRefused(f"No answer is called {name!r}.", hint=f"Columns that show answers: {offered}.")
        overrides[found] = _epsilon(value, limits, f"epsilon of {name}")
    result: list[tuple[Item, _Asked]] = []
    for item in plan.items:
        own = [overrides[name] for name in item.columns if name in overrides]
        result.append((item, _Asked(max(own), whole.delta) if own else whole))
    return result


def _needs(items: list[tuple[Item, _Asked]]) -> dict[str, tuple[_Asked, Item | None]]:
    """What each statistic must get: the most any answer wants, and the answer that pays for it."""
    needs: dict[str, tuple[_Asked, Item | None]] = {}
    for item, asked in items:
        if sum((share for _, share in item.shares), Fraction(0)) > 1:
            raise ValueError(f"the shares of {item.label} exceed its epsilon")
        for name, share in item.shares:
            wanted = _Asked(asked.epsilon * share, asked.delta * share)
            if name not in needs or wanted.epsilon > needs[name][0].epsilon:
                needs[name] = (wanted, item)
    return needs


# ---------------------------------------------------------------- what it takes
def _loss(wanted: Statistic | Selection, groups: int, asked: _Asked, mechanism: Mechanism) -> _Loss:
    try:
        if isinstance(wanted, Selection):
            return _selection_loss(wanted, groups, asked)
        if mechanism == "laplace":
            scale = accounting.laplace_scale(groups * wanted.largest, asked.epsilon)
            noise = Noise("discrete_laplace", scale, float(asked.epsilon))
            return _Loss(noise, asked.epsilon, accounting.pure_rho(asked.epsilon), Fraction(0))
        squared = groups * wanted.largest**2
        sigma = accounting.gaussian_sigma(squared, asked.epsilon, asked.delta)
        noise = Noise("discrete_gaussian", sigma, float(asked.epsilon), float(asked.delta))
        return _Loss(noise, asked.epsilon, accounting.gaussian_rho(squared, sigma), asked.delta)
    except AskRefused as refused:
        hint = "Ask for a larger epsilon, tighter bounds, or fewer rows or groups per unit (max_rows, max_groups)."
        raise AskRefused(refused.message, hint=hint) from None


def _selection_loss(wanted: Selection, groups: int, asked: _Asked) -> _Loss:
    # A unit is in up to k groups, so k selections see it: each gets a k-th of the answer's epsilon and all are paid.
    each = asked.epsilon / groups
    sensitivity = wanted.max_rows * max(wanted.numerator, wanted.denominator - wanted.numerator) * wanted.weight
    noise = Noise("exponential", accounting.selection_scale(sensitivity, each), float(asked.epsilon))
    return _Loss(noise, accounting.selection_epsilon(each, groups), accounting.selection_rho(each, groups), Fraction(0))


def _threshold(m: Measurement, noise: Noise) -> int:
    if noise.mechanism == "discrete_laplace":
        return accounting.laplace_threshold(noise.scale, m.max_groups, m.key_delta, m.min_units)
    return accounting.gaussian_threshold(noise.scale, m.max_groups, m.key_delta, m.min_units)


# ---------------------------------------------------------------- what to expect
def _expectations(plan: Plan, noise: Mapping[str, Noise]) -> tuple[Expectation, ...]:
    """For every column that noise enters: exact half-widths where it is shown unchanged, else that it is derived."""
    noisy = Carrier(noisy_tables(plan, noise)).carry(plan.finishing).noisy
    statistics = {s.name: s for m in plan.measurements for p in m.parts for s in p.statistics}
    result: list[Expectation] = []
    for output in plan.outputs:
        statistic = statistics.get(output.direct or "")
        if statistic is not None:
            widths = {str(c): half_width(noise[statistic.name], c) * float(statistic.grid) for c in CONFIDENCES}
            result.append(Expectation(output.name, widths, derived=False))
        elif noisy.get(output.id):
            result.append(Expectation(output.name, {}, derived=True))
    return tuple(result)


def _fingerprint(plan: Plan, ask: Ask, policy: Policy, mechanism: Mechanism, whole: _Asked) -> str:
    """Same question, same answer: everything an answer's distribution depends on, and the names it is shown under."""
    said = {
        "plan": plan.fingerprint,
        "outputs": [[o.name, o.type.text] for o in plan.outputs],
        "epsilon": str(whole.epsilon),
        "delta": str(whole.delta),
        "mechanism": mechanism,
        "answers": {name: repr(float(value)) for name, value in ask.answers.items()},
        "bounds": [ask.max_rows, ask.max_groups, [[m.max_rows, m.max_groups] for m in plan.measurements]],
        "parameters": dict(ask.parameters),
        "checksum": policy.checksum,
        "data_version": policy.database.data_version,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
