#!/usr/bin/env bash
# Run every notebook from top to bottom and compare with its stored outputs; `notebooks.sh refresh` stores new ones.
# Cells tagged nbval-ignore-output are noisy; the cell after each asserts what must hold.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
notebooks=(notebooks/*.ipynb)
[ ${#notebooks[@]} -gt 0 ] || { echo "no notebooks"; exit 1; }

# Nobody's own settings, tokens or kernels: the notebooks start a gateway of their own.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export HOME="$home" IPYTHONDIR="$home/ipython" JUPYTER_CONFIG_DIR="$home/jupyter" JUPYTER_DATA_DIR="$home/data" MPLBACKEND=agg
unset "${!DPJUPYTER_@}"
if [ "${1:-}" = refresh ]; then
    unset MPLBACKEND
    .venv/bin/python scripts/refresh_notebooks.py
    exit
fi
.venv/bin/python -m pytest --nbval --nbval-sanitize-with notebooks/sanitize.cfg --nbval-cell-timeout 120 --timeout 600 -p no:xdist "${notebooks[@]}"
