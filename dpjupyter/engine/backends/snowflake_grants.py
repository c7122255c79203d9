"""Is the gateway's role really read-only? Judged from SHOW GRANTS; wider roles are warned about, not refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

# What a role needs to read declared tables; MONITOR and REFERENCES show metadata only.
READING = frozenset({"USAGE", "SELECT", "MONITOR", "REFERENCES"})
ADMINISTRATORS = frozenset({"ACCOUNTADMIN", "SECURITYADMIN", "SYSADMIN", "USERADMIN", "ORGADMIN"})
MAX_ROLES = 100  # inherited roles looked at; a tree larger than this is wide by itself

Grants = Callable[[str], Iterable[Mapping[str, object]]]  # role -> rows of SHOW GRANTS TO ROLE


def quoted(name: str) -> str:
    """``name`` as a quoted identifier, exactly as it stands."""
    return '"' + name.replace('"', '""') + '"'


def wider_rights(role: str, grants: Grants) -> list[str]:
    """Why ``role`` can do more than read, one sentence each; an empty list when it cannot.

    Follows roles granted to the role. ``grants`` is asked once per role.
    """
    found: list[str] = []
    waiting, seen = [role], {role}
    while waiting:
        here = waiting.pop()
        if here.upper() in ADMINISTRATORS:
            found.append(f"role {role} is or includes {here}")
            continue
        excess: dict[str, str] = {}
        for row in grants(here):
            privilege, kind, name = (str(row.get(key, "")) for key in ("privilege", "granted_on", "name"))
            if kind.upper() in ("ROLE", "DATABASE_ROLE", "DATABASE ROLE"):
                if kind.upper() == "ROLE" and name not in seen and len(seen) < MAX_ROLES:
                    seen.add(name)
                    waiting.append(name)
                elif kind.upper() != "ROLE":
                    excess.setdefault("USAGE", f"database role {name} (look into it yourself)")
            elif privilege.upper() not in READING:
                excess.setdefault(privilege.upper(), f"{kind.lower()} {name}")
        found += [f"role {here} has {privilege} on {where}" for privilege, where in sorted(excess.items())]
    return found
