"""Every error dpjupyter shows to a person, as one tree.

    DpError
    ├── Refused                    the question cannot be answered; asking was free      422
    │   ├── SyntaxRefused          the text is not one SELECT statement                  400
    │   ├── UnknownName            table or column is not in the policy                  404
    │   ├── FunctionRefused        function or expression is not on the allow-list       422
    │   ├── PrivacyUnitLost        a person's rows can no longer be told apart           422
    │   ├── BoundsMissing          no finite bounds for a value that is to be summed     422
    │   ├── UnsupportedSQL         no sound rule is known for this shape                 422
    │   └── AskRefused             epsilon, delta, mechanism or limits are not allowed   400
    ├── PolicyError                the owner's policy is broken                          500
    ├── PolicyChanged              the checksum given is not the policy's                409
    ├── RequestReused              request id was used with another body                 409
    ├── BudgetExhausted            the budget cannot pay; nothing was debited            422
    ├── BudgetMissing              budget info does not exist                            404
    ├── Suspended                  the owner suspended this analyst or table             403
    ├── Unauthorized / Forbidden   no valid token / the role may not do this             401 / 403
    ├── Busy                       all workers are taken                                 429
    ├── LedgerUnavailable          the ledger's database does not answer                 503
    ├── WarehouseUnavailable       the warehouse cannot be reached; nothing was charged  503
    ├── QueryFailed                charged, then failed: one constant message            503
    ├── BadRequest / NotFound      malformed request / no such thing                     400 / 404
    ├── Cancelled                  the analyst interrupted a running query               analyst side only
    └── NotConnected               the notebook knows no gateway, or a broken setting    analyst side only
        └── GatewayUnreachable     nothing answers at the gateway's address              analyst side only

Messages are made from the SQL text, the policy and the caller's own balance, never from data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the analyst's text an error is; line and column count from 1."""

    line: int
    column: int
    length: int = 1


class DpError(Exception):
    """Base of all errors: what went wrong, where, and what to write instead."""

    status = 400  # HTTP status of the reply

    def __init__(self, message: str, *, hint: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place
        if hint:
            self.add_note(f"Hint: {hint}")  # Python shows notes below a traceback

    @property
    def kind(self) -> str:
        """Name of the error type, as sent in ``status.error.type``."""
        return type(self).__name__

    def shown(self, sql: str | None = None) -> str:
        """Message, the line with a caret where the text is known, and the hint."""
        parts = [f"{self.kind}: {self.message}"]
        if sql is not None and self.place is not None:
            lines = sql.splitlines()
            if 0 < self.place.line <= len(lines):
                text = lines[self.place.line - 1].replace("\t", " ")
                parts.append(f"  {text}")
                parts.append("  " + " " * (self.place.column - 1) + "^" * max(1, self.place.length))
        if self.hint:
            parts.append(f"Hint: {self.hint}")
        return "\n".join(parts)


class Refused(DpError):
    """The question cannot be answered as it stands. Refusing is free."""

    status = 422


class SyntaxRefused(Refused):
    """The text is not exactly one SELECT statement."""

    status = 400


class UnknownName(Refused):
    """A table, column or alias that the policy does not declare."""

    status = 404


class FunctionRefused(Refused):
    """A function or expression outside the allow-list."""


class PrivacyUnitLost(Refused):
    """A relation no longer says which privacy unit each row belongs to."""


class BoundsMissing(Refused):
    """A value is to be summed but nothing bounds it."""


class UnsupportedSQL(Refused):
    """No sound rule is known for this query shape."""


class AskRefused(Refused):
    """Epsilon, delta, mechanism or contribution bounds outside what the policy allows."""

    status = 400


class PolicyError(DpError):
    """The owner's policy file is broken."""

    status = 500


class PolicyChanged(DpError):
    """The caller's checksum differs from the policy in force."""

    status = 409


class RequestReused(DpError):
    """The request id was already used with a different body."""

    status = 409


class BudgetExhausted(DpError):
    """A budget row that rejects cannot pay this query. Nothing was debited."""

    status = 422


class BudgetMissing(DpError):
    """No budget row of this name exists."""

    status = 404


class Suspended(DpError):
    """The owner has suspended this analyst or table."""

    status = 403


class Unauthorized(DpError):
    """No valid token came with the request."""

    status = 401


class Forbidden(DpError):
    """The token's role does not allow this."""

    status = 403


class Busy(DpError):
    """All workers are taken; try again later."""

    status = 429


class LedgerUnavailable(DpError):
    """The ledger's database cannot be reached. Nothing was asked of the warehouse."""

    status = 503


class WarehouseUnavailable(DpError):
    """The warehouse cannot be reached. Nothing was charged."""

    status = 503


class QueryFailed(DpError):
    """The warehouse was asked and charged for, but no answer came.

    The message is constant: a failure must not say anything about the data.
    """

    status = 503

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the query could not be completed; request {request_id}")


class BadRequest(DpError):
    """The request is malformed."""

    status = 400


class NotFound(DpError):
    """There is no such thing."""

    status = 404


class Cancelled(DpError):
    """The analyst interrupted a query. What was charged stays charged."""


class NotConnected(DpError):
    """The notebook knows no gateway, or the connection's settings are broken. Nothing was sent."""


class GatewayUnreachable(NotConnected):
    """Nothing that speaks our protocol answers at the gateway's address."""

    status = 503
