# The two commands:  make demo   and   make test.  They need Python 3.11+ and make; the rest is installed into .venv.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Processes running tests side by side; each with servers of its own.
JOBS ?= 2
.PHONY: help demo test check environment system lint unit e2e notebooks jest conformance audit benchmarks docs picture clean

help:
	@echo "make demo                 gateway with sample data, JupyterLab connected to it"
	@echo "make demo ARGS=--check    the same without a browser: one question, one answer, exit"
	@echo "make test                 everything: lint, unit, notebooks, browser, extension"
	@echo "make lint|unit|notebooks|e2e|jest|conformance|audit|benchmarks|docs|picture|clean"

demo:
	@scripts/environment.sh demo
	@exec $(PY) -m dpjupyter.demo $(ARGS)

# -k: whoever breaks two things wants to hear of both.
test: environment system
	@$(MAKE) --no-print-directory -k check

check: lint unit notebooks e2e jest

environment:
	@scripts/environment.sh dev

system:
	@scripts/system.sh

lint:
	.venv/bin/ruff check
	.venv/bin/pyright
	.venv/bin/lint-imports --no-logo

unit:
	$(PYTEST) -n $(JOBS) --dist loadfile tests --ignore=tests/e2e

notebooks:
	scripts/notebooks.sh

# pytest-jupyter's event loop and playwright's do not share a process.
e2e:
	@if ls tests/e2e/test_*.py >/dev/null 2>&1; then $(PYTEST) tests/e2e; fi

jest:
	@if [ -f labextension/package.json ] && command -v node >/dev/null; then cd labextension && PATH="$(CURDIR)/.venv/bin:$$PATH" jlpm lint && PATH="$(CURDIR)/.venv/bin:$$PATH" jlpm test; \
	else echo "node is not installed: the extension's own tests are left out"; fi

conformance:
	$(PYTEST) -n $(JOBS) tests/conformance

audit:
	$(PYTEST) -n $(JOBS) tests/audit

benchmarks: environment
	$(PY) -m benchmarks

docs: environment
	$(PY) scripts/write_docs.py

# The README's picture, taken of a real answer.
picture: environment system
	$(PYTEST) tests/e2e/test_picture.py
	cp .artifacts/e2e/answer.png docs/answer.png

clean:
	rm -rf .venv .demo .artifacts .pytest_cache .ruff_cache .hypothesis dpjupyter/labextension labextension/lib labextension/node_modules
