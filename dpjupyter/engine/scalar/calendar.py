"""Calendar steps on the ordinal axis (microseconds since 1970-01-01), as both warehouses count them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

from dpjupyter.engine.model import Interval

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - SQL TIMESTAMP has no zone
_MICRO = dt.timedelta(microseconds=1)
FIRST_US = float((dt.datetime(1, 1, 1) - _EPOCH) // _MICRO)  # noqa: DTZ001
_LAST = (dt.datetime(9999, 12, 31, 23, 59, 59, 999_999) - _EPOCH) // _MICRO  # noqa: DTZ001
LAST_US = float(_LAST)
DAY_US = 86_400_000_000
HOUR_US, MINUTE_US, SECOND_US = 3_600_000_000, 60_000_000, 1_000_000
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12, "DECADE": 120, "CENTURY": 1200, "MILLENNIUM": 12000}
MICROS = {
    "WEEK": 7 * DAY_US,
    "DAY": DAY_US,
    "HOUR": HOUR_US,
    "MINUTE": MINUTE_US,
    "SECOND": SECOND_US,
    "MILLISECOND": 1000,
    "MICROSECOND": 1,
}
_SYNONYMS = {
    "YEAR": "Y YY YYYY YR YEARS YRS",
    "QUARTER": "QUARTERS QTR QTRS Q",
    "MONTH": "MON MONS MONTHS MM",
    "WEEK": "W WK WEEKS WY WEEKOFYEAR WEEKISO ISOWEEK WEEK_ISO",
    "DAY": "D DD DAYS DAYOFMONTH",
    "HOUR": "H HH HR HOURS HRS",
    "MINUTE": "M MI MIN MINUTES MINS",
    "SECOND": "S SEC SECONDS SECS",
    "MILLISECOND": "MS MSEC MILLISECONDS",
    "MICROSECOND": "US USEC MICROSECONDS",
    "DECADE": "DECADES",
    "CENTURY": "CENTURIES",
    "MILLENNIUM": "MILLENNIA MILLENIUM",
    "DOW": "DAYOFWEEK WEEKDAY DW",
    "ISODOW": "DAYOFWEEKISO DAYOFWEEK_ISO WEEKDAY_ISO DOW_ISO",
    "DOY": "DAYOFYEAR YEARDAY DY",
    "ISOYEAR": "YEAROFWEEK YEAROFWEEKISO",
    "EPOCH": "EPOCH_SECOND",
}
_NAMES = {word: name for name, words in _SYNONYMS.items() for word in words.split()}


def unit(name: str) -> str:
    """One name for each unit, whatever synonym was written."""
    upper = name.strip().upper()
    return _NAMES.get(upper, upper)


def moment(position: float) -> dt.datetime | None:
    """Calendar time at a position; None outside years 1 to 9999."""
    if not FIRST_US <= position <= LAST_US:
        return None
    # Doubles are 32 us apart at the far end, so the last position may round past the last moment.
    return min(int(position), _LAST) * _MICRO + _EPOCH


def place(when: dt.datetime) -> float:
    """Position of a calendar time."""
    return float((when - _EPOCH) // _MICRO)


def truncate(position: float, name: str) -> float:
    """Start of the unit that holds the position; itself outside the calendar."""
    at = moment(position)
    if at is None:
        return position if math.isinf(position) else math.copysign(math.inf, position)
    if name in MONTHS:
        size = MONTHS[name]
        if size <= 12:
            index = (at.year * 12 + at.month - 1) // size * size
            return place(dt.datetime(index // 12, index % 12 + 1, 1))  # noqa: DTZ001
        years = size // 12
        # Decades start in years ending in 0; centuries and millennia as the warehouses truncate them.
        start = at.year // years * years
        return place(dt.datetime(start, 1, 1)) if start >= 1 else -math.inf  # noqa: DTZ001
    step = MICROS[name]
    position = min(int(position), _LAST)
    shift = 3 * DAY_US if name == "WEEK" else 0  # 1970-01-01 was a Thursday; weeks start on Monday
    return float((position + shift) // step * step - shift)


def index(position: float, name: str) -> float:
    """Number of the unit that holds the position: its differences are what DATE_DIFF counts."""
    if math.isinf(position):
        return position
    at = moment(position)
    if name in MONTHS:
        if at is None:
            return math.copysign(math.inf, position)
        return float((at.year * 12 + at.month - 1) // MONTHS[name])
    shift = 3 * DAY_US if name == "WEEK" else 0
    return float((min(int(position), _LAST) + shift) // MICROS[name])


def shift(position: float, months: int, micros: int) -> float:
    """Position after adding months (to the last day where the month is shorter), then microseconds."""
    at = moment(position)
    if at is None:
        return position if math.isinf(position) else math.copysign(math.inf, position)
    count = at.year * 12 + at.month - 1 + months
    if not 12 <= count < 120_000:
        return math.copysign(math.inf, months)
    year, month = count // 12, count % 12 + 1
    last = 31 if month == 12 else (dt.date(year, month + 1, 1) - dt.timedelta(days=1)).day
    return place(at.replace(year=year, month=month, day=min(at.day, last))) + micros


def steps(interval: Interval, name: str, most: int) -> list[float] | None:
    """Starts of all units that meet the interval; None if unbounded or more than ``most``."""
    if not interval.finite:
        return None
    return list(found) if (found := _walk(interval, name, most)) is not None else None


def _walk(interval: Interval, name: str, most: int) -> list[float] | None:
    first = truncate(interval.lower, name)
    if math.isinf(first) or moment(interval.upper) is None:
        return None
    if index(interval.upper, name) - index(interval.lower, name) >= most:
        return None
    found: list[float] = []
    here = first
    while here <= interval.upper:
        found.append(here)
        here = shift(here, MONTHS[name], 0) if name in MONTHS else here + MICROS[name]
    return found


def days(interval: Interval) -> Iterator[float]:
    """Every whole day of an interval in days."""
    return (float(d) for d in range(math.ceil(interval.lower), math.floor(interval.upper) + 1))
