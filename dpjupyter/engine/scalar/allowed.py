"""The allow-list as analysts meet it: checking a tree, names for completion, and the table in the docs."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.model import BoundSubquery
from dpjupyter.engine.scalar.rules import RULES, anonymous, casts
from dpjupyter.engine.scalar.terms import place_of, refused, whole
from dpjupyter.errors import FunctionRefused

# Parts of expressions that are no functions themselves.
_PARTS = (exp.Column, exp.Identifier, exp.Paren, exp.Var, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Star)
_NOT_DESCENDED = (BoundSubquery, exp.Window)
_VOLATILE = (exp.Rand, exp.Randn, exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Uuid, exp.CurrentUser)
_VOLATILE_NAMES = (
    "NOW",
    "RANDOM",
    "GEN_RANDOM_UUID",
    "UUID",
    "TODAY",
    "NEXTVAL",
    "CURRVAL",
    "GET_CURRENT_TIMESTAMP",
    "TRANSACTION_TIMESTAMP",
)


def check(expr: exp.Expression) -> None:
    """Refuse every node of the tree that is not on the allow-list.

    Raises: FunctionRefused: with the place of the first such node.
    """
    if isinstance(expr, _NOT_DESCENDED):
        return
    if isinstance(expr, exp.Anonymous):
        if expr.name.upper() in _VOLATILE_NAMES:
            raise _volatile(expr)
        anonymous.rewritten(expr)
    elif isinstance(expr, _VOLATILE):
        raise _volatile(expr)
    elif isinstance(expr, (exp.Cast, exp.TryCast)):
        casts.target(expr)
    elif isinstance(expr, exp.Star):
        raise FunctionRefused("* is no value here.", hint="Name a column.", place=place_of(expr))
    elif not isinstance(expr, _PARTS) and type(expr) not in RULES:
        raise refused(expr)
    if isinstance(expr, exp.Column) and isinstance(expr.this, exp.Star):
        raise FunctionRefused("* is no value here.", hint="Name a column.", place=place_of(expr))
    if isinstance(expr, (exp.Column, exp.DataType)):
        return
    if type(expr) in RULES:
        whole(expr)
    if isinstance(expr, (exp.Like, exp.ILike)) and isinstance(expr.expression, exp.Any):
        check(expr.this)
        return
    for child in expr.iter_expressions():
        check(child)


def _volatile(node: exp.Expression) -> FunctionRefused:
    name = node.name.upper() if isinstance(node, exp.Anonymous) else node.sql("duckdb").upper()
    return refused(node, f"{name} changes from call to call.", "Write the value itself, for example DATE '2024-01-31'.")


_TABLE: tuple[tuple[str, str], ...] = (
    ("+ - *", "exact types widened so that nothing overflows"),
    ("/, DIV0", "DOUBLE; a zero divisor gives what the warehouse gives, or NULL where it would raise"),
    ("//", "integers towards zero; NULL for a zero divisor"),
    ("%, MOD", "sign of the dividend; NULL for a zero divisor"),
    ("= <> < <= > >=, BETWEEN, IN (list)", "both sides brought to one type; literal strings are read as the other side's type"),
    ("IS NULL, IS TRUE, IS FALSE, IS DISTINCT FROM, EQUAL_NULL", "never NULL"),
    ("AND, OR, NOT, XOR", "three-valued"),
    ("LIKE, ILIKE, LIKE ANY", "literal pattern of at most 200 characters"),
    ("CASE, IF, IFF, NVL2, DECODE", "bounds: hull of the branches, each with what its condition says"),
    ("COALESCE, IFNULL, NVL, ZEROIFNULL", "bounds: hull of the arguments"),
    ("NULLIF, NULLIFZERO", "bounds of the first argument"),
    ("LEAST, GREATEST", "NULL as in the dialect written: DuckDB passes over it, Snowflake returns it"),
    ("ABS, SIGN", "widened where the least integer would raise"),
    ("ROUND, FLOOR, CEIL, CEILING, TRUNC", "digits must be literal"),
    ("SQRT, CBRT, EXP, LN, LOG, LOG10, LOG2, POWER, POW, SQUARE", "outside their range: as DuckDB (NaN, infinity), NULL on Snowflake"),
    ("SIN, COS, TAN, COT, ASIN, ACOS, ATAN, ATAN2, SINH, COSH, TANH, DEGREES, RADIANS, PI", "as above"),
    ("WIDTH_BUCKET", "literal ends and number; written as CASE and FLOOR"),
    ("ISNAN, ISINF", "DuckDB"),
    ("CAST, TRY_CAST, ::, TO_NUMBER, TO_DOUBLE, TO_DATE, DATE, TO_TIMESTAMP", "NULL where the value does not fit"),
    ("LOWER, UPPER, TRIM, LTRIM, RTRIM, REVERSE", "text"),
    ("LENGTH, LEN, STRPOS, POSITION, CHARINDEX, INSTR", "whole number from 0"),
    ("SUBSTR, SUBSTRING, LEFT, RIGHT, SPLIT_PART", "literal positions up to 10000"),
    ("CONCAT, CONCAT_WS, ||", "NULL as in the dialect written"),
    ("REPLACE", "literal texts"),
    ("LPAD, RPAD", "literal length of at most 1000"),
    ("ASCII", "whole number"),
    ("STARTS_WITH, ENDS_WITH, CONTAINS, PREFIX, SUFFIX", "condition"),
    ("DATE_TRUNC", "literal unit; domain from bounds"),
    (
        "EXTRACT, DATE_PART, YEAR, QUARTER, MONTH, DAY, DAYOFWEEK, WEEKDAY, ISODOW, DAYOFYEAR, HOUR, MINUTE, SECOND, EPOCH",
        "domain from bounds or from the calendar",
    ),
    ("WEEK, WEEKOFYEAR, YEAROFWEEK, ISOYEAR", "weeks as in ISO 8601"),
    ("DAYNAME, MONTHNAME, LAST_DAY", "domain from the calendar"),
    ("DATE_DIFF, DATEDIFF, TIMESTAMPDIFF", "literal unit; within years 1 to 9999"),
    (
        "x + INTERVAL, x - INTERVAL, DATEADD, TIMESTAMPADD, DATE_ADD, DATE_SUB, date + days, date - date",
        "literal intervals up to 1000 years; within years 1 to 9999",
    ),
    ("STRPTIME, TRY_STRPTIME", "literal format; NULL where the text does not fit"),
    ("STRFTIME, TO_CHAR", "literal format"),
)
_NOT_NAMES = ("BETWEEN", "IN", "IS", "AND", "OR", "NOT", "XOR", "LIKE", "ILIKE", "CASE")


def table() -> tuple[tuple[str, str], ...]:
    """Rows of the table of functions: what is answered, and how."""
    return _TABLE


def markdown() -> str:
    """The page docs/functions.md."""
    lines = [
        "# Scalar functions",
        "",
        "What may stand in an expression, below and above a measurement. Anything else is refused: volatile functions (`RANDOM`, `NOW`,",
        "`CURRENT_DATE`), functions of the server (`GETENV`, `CURRENT_SETTING`), regular expressions, lists, structs, lambdas, hashes,",
        "UDFs. A value that plain SQL would raise an error for is NULL. Dates outside years 1 to 9999 are NULL in date functions.",
        "Integers of more than 38 digits, and operands so large that their product would have them, are NULL.",
        "",
        "This page is made from the code: `python -m dpjupyter.engine.scalar > docs/functions.md`.",
        "",
        "| expression | how it is answered |",
        "|---|---|",
    ]
    for names, how in _TABLE:
        shown = names.replace("|", "\\|")
        lines.append(f"| {shown} | {how} |")
    return "\n".join(lines) + "\n"


def _names() -> tuple[str, ...]:
    found = {word for names, _ in _TABLE for word in names.replace(",", " ").split() if word.replace("_", "").isalnum() and word.isupper()}
    return tuple(sorted((found | set(anonymous.NAMES)) - {"NULL", "TRUE", "FALSE", "DISTINCT", "FROM", "INTERVAL", "IS", "ANY"}))


NAMES: tuple[str, ...] = _names()
