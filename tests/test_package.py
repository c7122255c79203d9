"""What must hold of the package as a whole."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import jsonschema
import pytest

from dpjupyter.engine import policy
from scripts.write_docs import MADE

ROOT = Path(__file__).parent.parent
ENGINE_PARTS = ("sqlglot", "opendp", "sqlalchemy", "duckdb", "snowflake.connector", "snowflake.snowpark", "alembic", "pymysql", "jupyter_server", "tornado", "prometheus_client")


def tracked() -> list[Path]:
    """Files of the repository, or of the source tree where there is no repository."""
    git = shutil.which("git")
    assert git is not None
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # pictures


def test_imports_keep_their_directions() -> None:
    done = subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# What an analyst's machine does not have: importing it fails there, and here.
WITHOUT_ENGINE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == part or name.startswith(part + ".") for part in {ENGINE_PARTS!r}):
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("module", ["dpjupyter", "dpjupyter.magics", "dpjupyter.client", "dpjupyter.answer", "dpjupyter.widgets", "dpjupyter.wire"])
def test_the_analysts_side_works_without_the_engines_packages(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"{WITHOUT_ENGINE}\nimport {module}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_extension_loads_without_the_engines_packages() -> None:
    script = "from IPython.core.interactiveshell import InteractiveShell as Shell\nShell.instance().run_line_magic('load_ext', 'dpjupyter')"
    done = subprocess.run([sys.executable, "-c", f"{WITHOUT_ENGINE}\n{script}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_analysts_install_requires_no_engine_part() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[^a-z0-9-]", wanted.lower())[0] for wanted in project["dependencies"]}
    assert names == {"comm", "httpx", "ipython", "ipywidgets", "jupyter-core", "pandas", "pydantic"}


# Which extras may be counted on in which part; jupyter_core and traitlets are jupyter-server's own, pyarrow is snowpark's [pandas].
PARTS = {
    "": [],
    "answer": ["plot"],
    "widgets": ["plot"],
    "engine": ["owner", "mysql", "snowflake"],
    "gateway": ["owner", "hub"],
    "cli": ["owner"],
    "demo": ["owner", "demo", "snowflake"],
}
CARRIED = {"jupyter_core": "jupyter-server", "traitlets": "jupyter-server", "pyarrow": "snowflake-snowpark-python", "nbformat": "nbclient"}
JUPYTERS_OWN = {"jupyter_server", "tornado"}  # relay.py runs inside a Jupyter Server


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return {name for name in found if name not in sys.stdlib_module_names and name != "dpjupyter"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_whatever_is_imported_is_declared(part: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(w for extra in PARTS[part] for w in project["optional-dependencies"][extra])]
    declared = {re.split(r"[^a-z0-9-]", w.lower())[0] for w in wanted}
    folder = ROOT / "dpjupyter" / part
    known = packages_distributions()
    for path in folder.rglob("*.py") if part else folder.glob("*.py"):
        for name in imported(path) - (JUPYTERS_OWN if path.name == "relay.py" else set()):
            homes = {CARRIED.get(name, ""), *(d.lower().replace("_", "-") for d in known.get(name, []))}
            assert homes & declared, f"{path.relative_to(ROOT)} imports {name}"


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {re.split(r"[^a-z0-9-]", w.lower())[0] for w in wanted} - {"dpjupyter"}
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints" / "all.txt").read_text(encoding="utf-8").splitlines()}
    assert names <= pinned, names - pinned


def test_constraints_hold_names_and_versions_only() -> None:
    for path in (ROOT / "constraints").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line), f"{path.name}: {line}"


def test_no_lock_file_records_an_address() -> None:
    locks = [path for path in tracked() if path.name in {"yarn.lock", "package-lock.json", ".yarnrc.yml", ".npmrc"} or path.suffix == ".lock"]
    assert [path.name for path in locks if "://" in text_of(path)] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    # Written in pieces, as this file is tracked too.
    homes = re.compile("|".join(("/ro" + "ot/", "/wo" + "rk/", "/ho" + r"me/(?!you\b)[a-z]+/", "/Us" + r"ers/[a-z]+/", r"C:\\Us" + "ers")))
    found = {f"{path.relative_to(ROOT)}: {match[0]}" for path in tracked() for match in homes.finditer(text_of(path))}
    assert found == set()


@pytest.mark.parametrize("name", sorted(MADE))
def test_documents_made_from_code_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == MADE[name](), "run: make docs"


def test_shipped_policies_fit_the_schema() -> None:
    for path in (ROOT / "dpjupyter" / "demo" / "policies").glob("*.toml"):
        jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), policy.schema())


def test_documentation_links_lead_somewhere() -> None:
    links = [(path, target) for path in tracked() if path.suffix == ".md" for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(path))]
    broken = [f"{path.relative_to(ROOT)}: {target}" for path, target in links if "://" not in target and not (path.parent / target).exists()]
    assert broken == []


def test_the_policy_reference_names_every_key() -> None:
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    schema = json.loads(json.dumps(policy.schema()))
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})} - {"kind", "path", "column", "ref_table", "ref_column"}
    assert {key for key in keys if f"`{key}`" not in text and f"[{key}" not in text and f".{key}]" not in text} == set()
