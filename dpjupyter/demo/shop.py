"""A shop's data, made up and always the same: customers, orders, order lines and a public catalogue.

Skewed as real shops are: most customers order once or twice, a few order more than a hundred times,
and some orders come from guests without a customer_id. Only ``random()`` of a seeded generator is
used: its sequence is the same in every Python version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

CUSTOMERS = 3000
PRODUCTS = 60
MOST_ORDERS = 160  # of one customer
MOST_LINES = 12  # of one order
GUESTS = 0.04  # share of orders without a customer_id
CENT = Decimal("0.01")

CATEGORIES = ("books", "garden", "kitchen", "music", "sports", "toys")
CITIES = ("Aachen", "Bergen", "Cork", "Delft", "Evora", "Ghent", "Graz", "Leeds", "Lund", "Lyon", "Padua", "Porto", "Turku", "Vigo")
FIRST_ORDER = datetime(2023, 1, 1)  # noqa: DTZ001 - the shop's clock is local time without a zone
DAYS = 730  # of orders
FIRST_SIGNUP = date(2020, 1, 1)
SIGNUP_DAYS = 1820


@dataclass(frozen=True, slots=True)
class Shop:
    """Rows of the four tables, in the order of their columns in policies/shop.toml."""

    customers: list[tuple[int, str, str, int | None, date, bool]]
    orders: list[tuple[int, int | None, datetime, str, str, Decimal]]
    order_lines: list[tuple[int, int, int, int, Decimal, float | None]]
    products: list[tuple[int, str, str, Decimal]]


def make_shop(seed: int = 20240229) -> Shop:
    """Make the whole shop. The same seed makes the same shop on every machine."""
    random = Random(seed)  # noqa: S311 - data for a demo
    products = _products(random)
    customers = [_customer(random, number) for number in range(1, CUSTOMERS + 1)]
    shop = Shop(customers, [], [], products)
    for customer in customers:
        for _ in range(_orders_of(random, business=customer[1] == "business")):
            _order(random, shop, customer[0])
    return shop


def _pick(random: Random, values: Sequence[str], weights: Sequence[float]) -> str:
    at = random.random() * sum(weights)
    for value, weight in zip(values, weights, strict=True):
        at -= weight
        if at < 0:
            return value
    return values[-1]


def _whole(random: Random, low: int, high: int) -> int:
    """A whole number, low <= n <= high."""
    return low + int(random.random() * (high - low + 1))


def _products(random: Random) -> list[tuple[int, str, str, Decimal]]:
    rows: list[tuple[int, str, str, Decimal]] = []
    for number in range(1, PRODUCTS + 1):
        category = CATEGORIES[(number - 1) % len(CATEGORIES)]
        price = Decimal(_whole(random, 3, 30) ** 2) / 2 + Decimal("0.99")
        rows.append((number, f"{category} no. {(number - 1) // len(CATEGORIES) + 1}", category, min(price, Decimal(499)).quantize(CENT)))
    return rows


def _customer(random: Random, number: int) -> tuple[int, str, str, int | None, date, bool]:
    segment = _pick(random, ("business", "private"), (12, 88))
    # The first city is large and the last one tiny: its few customers must stay hidden.
    city = _pick(random, CITIES, [1 / (rank * rank) for rank in range(1, len(CITIES) + 1)])
    birth_year = None if segment == "business" else 1935 + _whole(random, 0, 35) + _whole(random, 0, 35)
    signed_up = FIRST_SIGNUP + timedelta(days=_whole(random, 0, SIGNUP_DAYS))
    return (1000 + number * 7, segment, city, birth_year, signed_up, random.random() < 0.4)


def _orders_of(random: Random, *, business: bool) -> int:
    """How many orders a customer makes: a Pareto tail, heavier for businesses."""
    tail = (1 - random.random()) ** (-1 / (1.1 if business else 1.6))
    return min(MOST_ORDERS, int(tail * 1.4) - 1 + _whole(random, 0, 2))


def _order(random: Random, shop: Shop, customer_id: int) -> None:
    """Append one order and its lines."""
    order_id = 50_000 + len(shop.orders)
    # More orders late in the year than early in it.
    day = int((random.random() ** 0.8) * DAYS)
    ordered_at = FIRST_ORDER + timedelta(days=day, minutes=_whole(random, 0, 24 * 60 - 1))
    status = _pick(random, ("cancelled", "delivered", "returned", "shipped"), (5, 80, 9, 6))
    channel = _pick(random, ("app", "phone", "web"), (45, 8, 47))
    shipping = Decimal(0) if random.random() < 0.3 else Decimal(_whole(random, 390, 1490)) / 100
    buyer = None if random.random() < GUESTS else customer_id
    shop.orders.append((order_id, buyer, ordered_at, status, channel, shipping.quantize(CENT)))
    lines = min(MOST_LINES, int((1 - random.random()) ** -0.7))
    for line_no in range(1, lines + 1):
        product = shop.products[min(PRODUCTS - 1, int(random.random() ** 1.5 * PRODUCTS))]
        discount = (None, 0.05, 0.1, 0.25)[int(random.random() ** 2 * 4)]
        paid = (product[3] * (1 - Decimal(str(discount or 0)))).quantize(CENT)
        quantity = min(20, int((1 - random.random()) ** -0.8))
        shop.order_lines.append((order_id, line_no, product[0], quantity, paid, discount))
