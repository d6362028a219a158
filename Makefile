# make demo       set up, make phantoms, convert, train, evaluate, predict, and say where the pictures are
# make test       set up and run every test but those of test-long
# make test-long  what takes minutes: grids of networks, among them the study's in small size
# make test-exhaustive  what takes an hour and more: every backbone at 1024² in half precision
# make test-tfio  the same for the extra tfio, in an environment of its own: TensorFlow 2.17, Python 3.10 to 3.12
# make programs   Debian's Chromium and dciodvfy, where there are none, for the tests of pages and DICOM; needs root
# make check      format, lint, types
# make clean      remove what the other targets made

PYTHON ?= python3
BIN := .venv/bin
TFIO := .venv-tfio/bin
DEMO := demo
# A test module stays with one process, so that its costly fixtures are made once.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: setup demo test test-long test-exhaustive test-tfio check format clean programs

setup: .venv/ready

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: expected Python 3.10 or later as PYTHON. Received: $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python -m tools.make_phantoms --output_dir=$(DEMO)/phantoms --count=240
	$(BIN)/python -m tools.make_tfrecords --dicom_dir=$(DEMO)/phantoms/dicom --annotations=$(DEMO)/phantoms/train-rle.csv \
	  --patient_map=$(DEMO)/phantoms/patient-map.csv --output_dir=$(DEMO)/tfrecords --image_size=256 --num_shards=2
	$(BIN)/python -m ptxtf.train --flagfile=demo.flags --records_dir=$(DEMO)/tfrecords --run_dir=$(DEMO)/run
	$(BIN)/python -m ptxtf.evaluate --run_dir=$(DEMO)/run --records_dir=$(DEMO)/tfrecords --output_dir=$(DEMO)/test
	sed -n '2,7p' $(DEMO)/test/images.csv | cut -d, -f1 | while read id; do find $(DEMO)/phantoms -name $$id.dcm; done | \
	  xargs $(BIN)/python -m ptxtf.predict --run_dir=$(DEMO)/run --output_dir=$(DEMO)/predictions
	@echo
	@echo "scores    $(DEMO)/test/report.html"
	@echo "curves    $(DEMO)/run/curves.png"
	@echo "overlays  $(DEMO)/predictions/*_overlay.png"

test: setup
	$(BIN)/python -m pytest $(PARALLEL)

test-long: setup
	$(BIN)/python -m pytest $(PARALLEL) -m long

# Each in a process of its own: together they gather more memory than many machines have.
test-exhaustive: setup
	tests=$$($(BIN)/python -m pytest -m exhaustive --collect-only --quiet | grep ::) && for test in $$tests; do \
	  $(BIN)/python -m pytest -m exhaustive --quiet "$$test" || exit 1; done

.venv-tfio/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
	  { echo "make: expected Python 3.10 to 3.12 as PYTHON. Received: $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv .venv-tfio
	$(TFIO)/python -m pip install --quiet --disable-pip-version-check --editable '.[tfio,dev-tfio]'
	@touch $@

# The first line fails where tensorflow-io does not load; the tests would only be skipped.
test-tfio: .venv-tfio/ready
	$(TFIO)/python -c 'from ptxtf.data import tfio; tfio.load()'
	$(TFIO)/python -m pytest $(PARALLEL) tests/tfio tests/ops

programs:
	command -v chromium || command -v google-chrome || { apt-get update --quiet && apt-get install --quiet --yes chromium; }
	command -v dciodvfy || { apt-get update --quiet && apt-get install --quiet --yes dicom3tools; }

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-tfio $(DEMO) build *.egg-info
