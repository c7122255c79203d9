#!/usr/bin/env bash
# Make .venv ready:  scripts/environment.sh demo|dev
#
# Needs Python 3.11 or newer and nothing else. Does nothing when nothing has changed since the last time.
# Node 20+, where it is installed, builds the JupyterLab extension; without it everything else still works.
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:?demo or dev}"

say() { printf '%s\n' "$*" >&2; }

# The first Python that is new enough and can make virtual environments.
find_python() {
    local name
    for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python3.14; do
        [ -n "$name" ] || continue
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

fingerprint() {
    { cat pyproject.toml hatch_build.py constraints/all.txt dpjupyter/__init__.py
      find jupyter-config labextension -type f -not -path '*/node_modules/*' -not -path '*/lib/*' -not -path '*/.yarn/*' \
          -not -name '*.tsbuildinfo' 2>/dev/null | LC_ALL=C sort | xargs cat
      command -v node || true
      echo "$1"
    } | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

build_labextension() {
    [ -f labextension/package.json ] || return 0
    if ! command -v node >/dev/null; then
        say "node is not installed: the JupyterLab extension (status bar, side panel, hints) is left out. Everything else works."
        return 0
    fi
    say "Building the JupyterLab extension ..."
    local log
    log=$(mktemp)
    if (cd labextension && PATH="$PWD/../.venv/bin:$PATH" && jlpm install && jlpm build:prod) >"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        say "The JupyterLab extension was not built (see above). Everything else works."
        # Who tests must know; who only wants to see the demo goes on.
        [ "$extra" != dev ]
    fi
}

python=.venv/bin/python
if ! "$python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    if ! base=$(find_python); then
        say "dpjupyter needs Python 3.11 or newer with its venv module, and found none."
        say "Debian, Ubuntu: apt-get install python3 python3-venv. Another interpreter: make PYTHON=/path/to/python3 ..."
        exit 1
    fi
    say "Creating .venv with $("$base" --version) ..."
    rm -rf .venv
    "$base" -m venv .venv
fi

# `dev` holds all of `demo`.
for done in "$extra" dev; do
    if [ -f ".venv/.ready-$done" ] && [ "$(cat ".venv/.ready-$done")" = "$(fingerprint "$done")" ]; then
        exit 0
    fi
done

say "Installing packages into .venv (the first time takes a few minutes) ..."
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install -c constraints/all.txt hatchling hatch-jupyter-builder jupyter-builder
build_labextension
# The build tools above are used, not a second copy in an isolated environment; the extension is built already.
SKIP_JUPYTER_BUILDER=1 pip install --no-build-isolation -c constraints/all.txt -e ".[$extra]"
fingerprint "$extra" > ".venv/.ready-$extra"
