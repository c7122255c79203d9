"""openapi.json, made from the records of wire.py: what is documented is what is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dpjupyter import __version__, wire

OWNER, ANALYST, ANYONE = "owner", "analyst", "anyone"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: what goes in, what comes out, who may."""

    method: str
    path: str
    summary: str
    who: str
    body: type[BaseModel] | None = None
    data: type[BaseModel] | None = None  # status.data; None: the bare envelope
    query: tuple[str, ...] = ()


ROUTES = (
    Route("post", wire.QUERY, "Ask and pay. With Accept: application/x-ndjson, progress lines precede the reply.", ANALYST,
           wire.QueryRequest, wire.QueryReply),
    Route("delete", wire.QUERY + "/{request_id}", "Cancel a running question; the charge stays. Always accepted.", ANALYST),
    Route("post", wire.QUOTE, "Price a question: free, touches no data.", ANALYST, wire.QueryRequest, wire.QuoteReply),
    Route("post", wire.BUDGET_SET, "Create or change a budget row.", OWNER, wire.BudgetSetRequest),
    Route("get", wire.BUDGET_GET, "One budget row.", "analyst, viewer", None, wire.BudgetInfo,
          ("prefix", "db_name", "table_name", "analyst")),
    Route("get", wire.BUDGET_LIST, "All budget rows the caller may see.", "analyst, viewer", None, wire.BudgetListReply),
    Route("get", wire.CATALOG, "Databases, tables and columns as the policy declares them.", ANALYST, None, wire.CatalogReply),
    Route("get", wire.SAVED, "The caller's saved tables of a database.", ANALYST, None, wire.SavedReply, ("prefix", "db_name")),
    Route("delete", wire.SAVED + "/{name}", "Forget a saved table.", ANALYST, None, wire.SavedReply, ("prefix", "db_name")),
    Route("get", wire.AUDIT, "Who asked what, newest first; analysts see their own rows.", ANALYST, None, wire.AuditReply,
          ("analyst", "table", "verdict", "since", "until", "limit", "offset", "format")),
    Route("post", wire.SUSPEND, "Suspend or lift an analyst or a table.", OWNER, wire.SuspendRequest, wire.SuspendReply),
    Route("get", wire.TWIN, "Cards of published synthetic twins.", ANALYST, None, wire.TwinListReply,
          ("prefix", "db_name", "table_name", "retired")),
    Route("post", wire.TWIN_QUOTE, "Price a synthetic twin: touches no data.", OWNER, wire.TwinRequest, wire.TwinQuoteReply),
    Route("post", wire.TWIN_PUBLISH, "Pay for a synthetic twin and publish it.", OWNER, wire.TwinRequest, wire.TwinListReply),
    Route("post", wire.TWIN_RETIRE, "Offer a twin no longer; nothing is refunded.", OWNER, wire.TwinRetireRequest, wire.TwinListReply),
    Route("post", wire.RELOAD, "Read the policy folder again; a broken file changes nothing.", OWNER, None, wire.ReloadReply),
    Route("get", wire.ME, "Whose token this is.", "any role", None, wire.MeReply),
    Route("get", wire.HEALTH, "Whether the gateway and its ledger answer.", ANYONE, None, wire.HealthReply),
    Route("get", wire.OPENAPI, "This document.", ANYONE),
)  # fmt: skip
STATUSES = {
    "400": "malformed request, SQL or parameters",
    "401": "no valid token",
    "403": "the role may not do this, or the owner suspended the caller",
    "404": "no such database, table, column or budget",
    "409": "the policy's checksum or the request id's body differs",
    "422": "no private answer is possible, or the budget cannot pay",
    "429": "all workers are taken; see Retry-After",
    "503": "ledger or warehouse do not answer",
}


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 description of the gateway."""
    records = sorted(
        {record for route in ROUTES for record in (route.body, route.data) if record is not None} | {wire.ErrorInfo, wire.Progress},
        key=lambda r: r.__name__,
    )
    _, schemas = models_json_schema([(record, "validation") for record in records], ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dpjupyter gateway",
            "version": __version__,
            "description": "SQL answered with differential privacy.",
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "ErrorReply": _envelope(None, error=True)},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`token <your token>`"}
            },
        },
        "security": [{"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    name = route.path.removeprefix(wire.API).partition("{")[0].strip("/").replace("/", "_").replace(".", "_")
    operation: dict[str, Any] = {
        "operationId": f"{route.method}_{name}",
        "summary": route.summary,
        "description": f"For: {route.who}; an owner may do everything." if route.who not in (OWNER, ANYONE) else f"For: {route.who}.",
        "responses": {"200": {"description": "done", "content": {"application/json": {"schema": _envelope(route.data, error=False)}}}},
    }
    for status, text in STATUSES.items():
        operation["responses"][status] = {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
        }
    if route.who == ANYONE:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}},
        }
    parameters = [{"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in route.query]
    in_path = re.findall(r"{(\w+)}", route.path)
    parameters += [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _envelope(data: type[BaseModel] | None, *, error: bool) -> dict[str, Any]:
    status: dict[str, Any] = {
        "type": "object",
        "required": ["code", "Message"],
        "properties": {"code": {"type": "integer", "enum": [1 if error else 200]}, "Message": {"type": "string"}},
    }
    if error:
        status["properties"]["error"] = {"$ref": "#/components/schemas/ErrorInfo"}
    if data is not None:
        status["properties"]["data"] = {"$ref": f"#/components/schemas/{data.__name__}"}
    return {"type": "object", "required": ["status"], "properties": {"status": status}}
