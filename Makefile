# headgate: everything a person runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/.stamps
RUST := $(shell find crates -name '*.rs' -o -name Cargo.toml 2>/dev/null) Cargo.toml Cargo.lock
MINIMUM_PYTHON := 3.11
FUZZ_SECONDS ?= 5
# What release builds are optimised by; it fits one version of rustc only.
PROFILE := target/profile/rustc-$(shell rustc --version 2>/dev/null | cut -d ' ' -f 2).profdata
profiled = RUSTFLAGS="$$RUSTFLAGS $$(test -s $(PROFILE) && echo -Cprofile-use=$(abspath $(PROFILE)))"
# What `make demo` and the checks run: the profiled build where it is there and newer than all it is made of, else a quick one.
SOURCES := $(RUST) pyproject.toml
READY := $(if $(wildcard $(STAMPS)/release),$(if $(shell find $(SOURCES) -newer $(STAMPS)/release 2>/dev/null | head -n 1),quick,release),quick)
# Processes that pytest is spread over: one more than there are processors, as tests wait for other processes.
TEST_PROCESSES ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
say = @printf '\033[1m==> %s\033[0m\n'

# maturin and cargo share the target directory; the interpreter pyo3 builds against is the one of .venv.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export VIRTUAL_ENV := $(abspath $(VENV))
unexport PYTHONPATH

## ---- build
.PHONY: help
help: ## list all targets
	@awk -F ':.*## ' '/^## ----/ { sub(/^## -+ /, ""); printf "\n\033[1m%s\033[0m\n", $$0 } /^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(STAMPS)/release ## release build, installed in .venv: leaves .venv/bin/headgate ready
	@$(BIN)/python -m compileall -q src/headgate # as pip does when it installs

.PHONY: develop
develop: $(STAMPS)/debug ## debug build, installed in .venv (quick to compile, slow to run)
	@$(BIN)/python -m compileall -q src/headgate

.PHONY: quick
quick: $(STAMPS)/$(READY) ## what the demo and the checks run: the profiled build if it is up to date, else a quick one (some minutes when cold)
	@$(BIN)/python -m compileall -q src/headgate

.PHONY: profile
profile: ## make the profile anew that release builds are optimised by (else made once)
	@rm -f $(PROFILE)
	@$(MAKE) --no-print-directory $(PROFILE)

.PHONY: wheel
wheel: | $(PROFILE) ## a wheel in dist/: what `pip install .` builds, and optimised by the profile
	$(profiled) $(BIN)/maturin build --release --locked --out dist

.PHONY: wheel-fips
wheel-fips: | $(PROFILE) ## the same with the FIPS module, in dist/fips: needs cmake, go and perl; see docs/guide/tls.md
	@for tool in cmake go perl; do command -v $$tool >/dev/null || { echo "no $$tool here; hint: apt-get install cmake golang perl"; exit 1; }; done
	$(profiled) $(BIN)/maturin build --release --locked --features fips --out dist/fips

$(STAMPS)/venv: pyproject.toml
	$(say) "venv: $(VENV) with the development tools"
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) here; hint: make PYTHON=/path/to/python$(MINIMUM_PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; want = tuple(map(int, "$(MINIMUM_PYTHON)".split("."))); sys.exit(sys.version_info < want)' || \
	  { echo "$(PYTHON) is older than $(MINIMUM_PYTHON); hint: make PYTHON=python3.12"; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "no cargo here; hint: install Rust with rustup"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python tools/requirements.py > $(VENV)/requirements.txt
	@$(PIP) install --quiet -r $(VENV)/requirements.txt
	@mkdir -p $(STAMPS) && touch $@

$(PROFILE): $(wildcard tools/training/*.py) | $(STAMPS)/venv
	$(say) "profile: what a release build is optimised by (once for each version of rustc)"
	@rm -f $(STAMPS)/debug $(STAMPS)/quick $(STAMPS)/release
	@bash tools/profile.sh $@

# Each build puts its module into src/headgate, so each undoes the others' stamps.
$(STAMPS)/release: $(STAMPS)/venv $(PROFILE) $(RUST)
	$(say) "build: release (a cold one takes some minutes)"
	@$(profiled) bash tools/build.sh release $(STAMPS)/release.log
	@rm -f $(STAMPS)/debug $(STAMPS)/quick && touch $@

$(STAMPS)/quick: $(STAMPS)/venv $(RUST)
	$(say) "build: quick, optimised a little (a cold one takes some minutes on two cores; make build makes the fast one)"
	@bash tools/build.sh quick $(STAMPS)/quick.log
	@rm -f $(STAMPS)/debug $(STAMPS)/release && touch $@

$(STAMPS)/debug: $(STAMPS)/venv $(RUST)
	$(say) "build: debug"
	@bash tools/build.sh dev $(STAMPS)/debug.log
	@rm -f $(STAMPS)/quick $(STAMPS)/release && touch $@

## ---- see it work
.PHONY: demo
demo: quick ## a real request through a real gateway, changed by a Python hook (ONCE=1 ends after it)
	@$(BIN)/python demo/main.py $(if $(filter 1,$(ONCE)),--once)

## ---- checks
.PHONY: test
test: announce services fmt-check clippy rust-test quick ruff types import-rules sizes words stub-check reference-check pytest fuzz-short ## the full check, what CI runs
	$(say) "all checks passed"

.PHONY: announce
announce:
	$(say) "make test: services, cargo fmt, clippy, cargo test, quick release build, ruff, mypy, import rules, words, stub, reference pages, pytest (unit, e2e, conformance, docs snippets, examples), short fuzz"

.PHONY: check
check: fmt-check quick ruff types import-rules sizes words stub-check ## the quick subset: no e2e, no fuzz
	$(say) "check: unit tests"
	@$(BIN)/python -m pytest -q -x -m "not slow" tests/unit

.PHONY: services
services: ## install what the tests talk to (redis, postgresql, nginx), where missing
	$(say) "services: the real servers that some tests talk to"
	@bash tools/services.sh

.PHONY: fmt-check
fmt-check: ## cargo fmt --check
	$(say) "fmt-check: cargo fmt --check"
	@$(CARGO) fmt --all --check

.PHONY: clippy
clippy: $(STAMPS)/venv ## clippy, pedantic, warnings are errors
	$(say) "clippy: pedantic, warnings are errors"
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings

.PHONY: rust-test
rust-test: $(STAMPS)/venv ## cargo test of the crates (the bridge's tests are pytest's)
	$(say) "rust-test: cargo test"
	@$(CARGO) test --workspace --exclude headgate-bridge --locked --quiet

.PHONY: ruff
ruff: $(STAMPS)/venv ## ruff check and ruff format --check
	$(say) "ruff: lint and format"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check . | tail -n 20; exit 1; }

.PHONY: types
types: $(STAMPS)/venv ## mypy, strict
	$(say) "types: mypy --strict"
	@$(BIN)/mypy --no-error-summary

.PHONY: import-rules
import-rules: $(STAMPS)/venv ## who may import whom, in Rust and in Python
	$(say) "import-rules: who may import whom"
	@$(BIN)/python tools/check_imports.py

.PHONY: sizes
sizes: $(STAMPS)/venv ## no file or function outgrows its bound
	$(say) "sizes: files and functions"
	@$(BIN)/python tools/check_sizes.py

.PHONY: words
words: $(STAMPS)/venv ## words that are out, in code, messages and pages
	$(say) "words: none that is out"
	@$(BIN)/python tools/check_words.py

.PHONY: stub-check
stub-check: quick ## the .pyi against the built module
	$(say) "stub-check: src/headgate/_core.pyi against the built module"
	@$(BIN)/python tools/check_stub.py

.PHONY: reference-check
reference-check: quick ## docs/reference is what the code says
	$(say) "reference-check: docs/reference is what the code says"
	@$(BIN)/python tools/reference.py --check

.PHONY: pytest
pytest: quick ## the Python tests: unit, e2e, conformance
	$(say) "pytest: unit, e2e, conformance, docs snippets, examples"
	@$(BIN)/python -m pytest -q --maxfail=12 --numprocesses $(TEST_PROCESSES) --dist loadfile tests || { \
	  code=$$?; test $$code = 1 || exit $$code; \
	  printf '\033[1m==> %s\033[0m\n' "pytest: what failed beside other tests, once more alone"; \
	  $(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none tests; }

.PHONY: fuzz-short
fuzz-short:
	$(say) "fuzz-short: every fuzz target for $(FUZZ_SECONDS) s"
	@bash tools/fuzz.sh $(FUZZ_SECONDS)

## ---- more
.PHONY: format
format: $(STAMPS)/venv ## put Rust and Python into the project's format
	@$(CARGO) fmt --all
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

.PHONY: bench
bench: build ## CPU, memory and latency beside nginx and HAProxy (BENCH="h1-5k ..." for some of it)
	@$(BIN)/python bench/run.py $(BENCH)

.PHONY: fuzz
fuzz: ## fuzz every parser, FUZZ_SECONDS each
	@bash tools/fuzz.sh $(FUZZ_SECONDS)

.PHONY: docs
docs: quick ## write docs/reference anew from the code
	@$(BIN)/python tools/reference.py

.PHONY: clean
clean: ## remove what was built
	@rm -rf $(VENV) target dist src/headgate/*.so
