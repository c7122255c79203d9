"""Exact numbers: what was typed, and the integer units the ledger counts in."""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction

from dpjupyter.errors import AskRefused

PICO = 10**12  # units of epsilon and rho in one
ATTO = 10**18  # units of delta in one
MAX_INTEGER = 2**63 - 1  # largest BIGINT; above every limit, so a saturated sum admits nothing
MAX_EPSILON = 9_000_000  # largest total budget: 9e18 units of 1e-12 fit in a BIGINT
MIN_DELTA = Fraction(1, 10**30)  # below this the 60-digit arithmetic here proves nothing

Real = int | float | Fraction | Decimal

# Wide exponents: exp(-9e6) must underflow to a tiny number, not raise.
WIDE = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN)
ROUNDING = Decimal(10) ** -50  # relative error allowed to a few operations of WIDE


def exact(value: Real, name: str) -> Fraction:
    """The positive number that was meant: a float is read as its shortest decimal form (0.9 is 9/10).

    Args:
        value: as it came from a person or a policy.
        name: what the value is, for the message.
    Raises: AskRefused: not a number, not finite, zero (of either sign), negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | Decimal):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise AskRefused(f"{name} must be a number.")
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise AskRefused(f"{name} must be finite.", hint="Give an ordinary positive number.")
    # float(): numpy's floats have another repr.
    number = Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)
    if number <= 0:
        raise AskRefused(f"{name} must be greater than 0.")
    return number


def epsilon_of(value: Real, name: str = "epsilon") -> Fraction:
    """An epsilon or rho: as :func:`exact`, and at most 9e6.

    Raises: AskRefused.
    """
    number = exact(value, name)
    if number > MAX_EPSILON:
        raise AskRefused(f"{name} must be at most {MAX_EPSILON}.")
    return number


def delta_of(value: Real, name: str = "delta") -> Fraction:
    """A delta: as :func:`exact`, at least 1e-30 and below 1.

    Raises: AskRefused.
    """
    number = exact(value, name)
    if not MIN_DELTA <= number < 1:
        raise AskRefused(f"{name} must be at least 1e-30 and less than 1.")
    return number


def count_of(value: int, name: str) -> int:
    """A sensitivity, number of groups or number of units: an integer of at least 1.

    Raises: AskRefused.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise AskRefused(f"{name} must be a whole number of at least 1.")
    return value


def float_up(number: Fraction) -> float:
    """Smallest float not below ``number``."""
    near = float(number)
    return math.nextafter(near, math.inf) if Fraction(near) < number else near


def wide(number: Fraction | float) -> Decimal:
    """``number`` to 60 digits."""
    if isinstance(number, float):
        return Decimal(number)
    return WIDE.divide(Decimal(number.numerator), Decimal(number.denominator))


def _units_up(value: Real, unit: int, name: str) -> int:
    if value == 0 and not isinstance(value, bool) and math.copysign(1.0, value) > 0:
        return 0
    return min(math.ceil(exact(value, name) * unit), MAX_INTEGER)


def pico_up(value: Real) -> int:
    """Cost in units of 1e-12, rounded up; saturates at the largest BIGINT. 0 costs 0.

    Raises: AskRefused: negative, -0.0, NaN, infinite.
    """
    return _units_up(value, PICO, "epsilon")


def atto_up(value: Real) -> int:
    """Delta in units of 1e-18, rounded up; saturates at the largest BIGINT. 0 costs 0.

    Raises: AskRefused: negative, -0.0, NaN, infinite.
    """
    return _units_up(value, ATTO, "delta")


def pico_down(value: Real) -> int:
    """Limit in units of 1e-12, rounded down.

    Raises: AskRefused: not in (0, 9e6].
    """
    return math.floor(epsilon_of(value, "total_budget") * PICO)


def atto_down(value: Real) -> int:
    """Limit in units of 1e-18, rounded down.

    Raises: AskRefused: not in [1e-30, 1).
    """
    return math.floor(delta_of(value) * ATTO)
