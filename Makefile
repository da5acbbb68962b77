# `make repro` and `make test` are all a fresh machine needs: Python 3.11 to 3.13, pip, make and git.
# TENSORFLOW: the extra of pyproject.toml, cpu or gpu. Once given, it stays until another is.
PYTHON ?= python3
VENV ?= .venv
TENSORFLOW ?= $(if $(wildcard $(VENV)/gpu),gpu,cpu)
OTHER = $(VENV)/$(if $(filter gpu,$(TENSORFLOW)),cpu,gpu)
ifneq ($(TENSORFLOW),$(or $(filter cpu gpu,$(firstword $(TENSORFLOW))),none))
$(error TENSORFLOW=$(TENSORFLOW): choose cpu or gpu)
endif
BIN = $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)

.PHONY: repro test slow faults lint docs dist published speed pr-comment base clean

repro: $(VENV)/$(TENSORFLOW)
	dvc repro

test: $(VENV)/dev
	pytest -n auto --maxprocesses 4

slow: $(VENV)/dev
	pytest -m "slow and not faults" -n auto --maxprocesses 4

# The whole fault campaign, up to an hour, which writes its table into docs/faults.md; then what else is left to the night.
faults: $(VENV)/dev
	python -m tests.faults.campaign
	pytest -m "slow and faults" --ignore tests/faults

lint: $(VENV)/dev
	ruff check .
	ruff format --check .
	mypy
	zizmor --offline --quiet .github

# The documentation as a site in build/site; a broken link between pages or a parameter that a docstring misnames is an error.
docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 mkdocs build

# Wheel, source archive and notes of a release, tried in an empty environment.
dist:
	.ci/dist

# The published systems on CORPUS, whose recordings are in data/sources, as in `make published CORPUS=crema_d`; all without
# CORPUS. It says how long it will take, and goes on where it was interrupted.
CORPUS ?=
export CORPUS # through the environment, so that the shell never parses it

published: $(VENV)/$(TENSORFLOW)
	python -m benchmark.published.system $${CORPUS:+--corpus "$$CORPUS"}
	python -m benchmark.published.table

# Speed compared with the usual alternatives, written to benchmark/speed/speed.json and docs/speed.md. Needs RAVDESS in
# data/sources and two hours on an idle machine. nkululeko and openSMILE need other versions of libraries, so they
# have an environment of their own.
speed: $(VENV)/dev $(VENV)-peers/installed
	SPEED_PEERS=$(VENV)-peers python -m benchmark.speed

$(VENV)-peers/installed: benchmark/speed/peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-peers/bin/python -m pip install --quiet --requirement $<
	touch $@

# What the workspace changes against BASE, a revision whose predictions are in the cache.
BASE ?= main
export BASE # through the environment, so that the shell never parses it

pr-comment: $(VENV)/$(TENSORFLOW)
	@python -m stages.tools.comment -- "$$BASE"

# Reproduces BASE beside the workspace under the tag `base`, for a cache without its predictions.
base: $(VENV)/$(TENSORFLOW)
	.ci/base "$$BASE"

# Byte code is compiled once here: some installers do not, and then every stage would compile TensorFlow again. PyAV, which
# decodes recordings, is here because what a result was made of includes its version: tests would change it otherwise. TensorFlow's
# builds share their files, so the one before is removed.
$(VENV)/$(TENSORFLOW): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	if [ -e $(OTHER) ] || [ -e $(VENV)/installed ]; then \
	  rm -f $(OTHER) && $(BIN)/python -m pip uninstall -qq --yes tensorflow tensorflow-cpu && rm -f $(VENV)/installed; fi
	$(BIN)/python -m pip install --quiet --editable '.[av,$(TENSORFLOW)]'
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	touch $@

# What only tests and lint need: librosa to compare with, optional libraries, tools.
$(VENV)/dev: $(VENV)/$(TENSORFLOW)
	$(BIN)/python -m pip install --quiet --editable '.[dev,$(TENSORFLOW)]' --group docs --group workflows
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-peers build dist
