# Each word sets up .venv by itself. The two that a newcomer needs: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
WHOLE := .venv/whole

.PHONY: demo test check docs bench results clean

demo: $(READY)
	$(BIN)/relatum quickstart -o runs/quickstart

test: $(WHOLE)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(WHOLE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: $(WHOLE)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

# How fast: the tables of docs/performance.md, without those of quality and the longest rows.
bench: $(WHOLE) runs/quickstart/store
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/condition.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/parity.py
	$(BIN)/python benchmarks/quality.py --rival MNRL --limit 450
	$(BIN)/python benchmarks/search.py --million
	$(BIN)/python benchmarks/serve.py runs/quickstart/store
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/relations.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scaling.py --largest 100000

# How good: every table of docs/results.md, and that of examples.
results: $(WHOLE)
	$(BIN)/python benchmarks/results.py
	$(BIN)/python benchmarks/examples.py

runs/quickstart/store: $(READY)
	$(BIN)/relatum quickstart -o runs/quickstart

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[starter,serve]'
	touch $(READY)

# What the tests need beside what the demo does: every extra.
$(WHOLE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[starter,serve,encoders,export,scale,dev]'
	touch $(WHOLE)

clean:
	rm -rf .venv runs site
