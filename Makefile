# The developer's loop; every target does what set-up it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := outputs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint fuzz soak bench gpu-check clean

help:  ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

setup: $(VENV)/.ready  ## A virtual environment with everything in it

# torch goes in first: without a CUDA device the constraints' version brings the CPU build where one is offered.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## Prepare, train, simulate and evaluate the synthetic market; writes outputs/demo/report.html
	$(BIN)/python train.py experiment=demo
	$(BIN)/python simulate.py run=$(RUN)
	$(BIN)/python evaluate.py run=$(RUN)
	@echo
	@echo "made:  prepared/ (order flow, tokens), $(RUN)/checkpoints, $(RUN)/simulation, $(RUN)/evaluation"
	@echo "look:  $(RUN)/report.html"
	@echo "next:  $(BIN)/python train.py data=lobster data.path=DIR_OR_ZIP experiment=small"

test: setup  ## The tests, without the slow ones
	$(BIN)/python -m pytest -m "not slow and not gpu" -n auto --dist worksteal

lint: setup  ## Style, and that the packages keep to their floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

fuzz: setup  ## Damaged input, new at each run: every feed's files, rows and values (ten minutes)
	$(BIN)/python -m pytest -m fuzz --hypothesis-profile=fuzz tests/data

soak: setup  ## The exchange against the reference: ten million messages under every rule file (half an hour on 2 cores)
	$(BIN)/python -m pytest -m slow tests/market/test_venue.py

bench: setup  ## Speed of the exchange, of preparation, of training and of rollouts, against baselines in the same run
	$(BIN)/python -m mars_lmm.bench exchange
	$(BIN)/python -m mars_lmm.bench prepare
	$(BIN)/python -m mars_lmm.bench rollout --books 16
	$(BIN)/python -m mars_lmm.bench loss
	$(BIN)/python -m mars_lmm.bench train

# Without a .venv, the machine's own python serves: an image for GPUs brings torch, numba and lightning, and `make setup`
# would bring another torch. The last tests train, and need the package `datasets` too.
GPU_PYTHON = $(or $(wildcard $(BIN)/python),$(PYTHON))
gpu-check:  ## For whoever has a CUDA device: the exchange, rollouts and training on the card, timed and tested
	$(GPU_PYTHON) -m pytest -m gpu tests/market/test_cuda.py
	$(GPU_PYTHON) -m mars_lmm.bench exchange --device cuda --books 1024 --messages 1024000
	$(GPU_PYTHON) -m mars_lmm.bench exchange --device cuda --books 16384 --messages 8192000
	$(GPU_PYTHON) -m mars_lmm.bench rollout --device cuda --books 256 --orders 25600
	for setting in "10m 64" "10m 1024" "10m 4096" "107m 64" "107m 256" "107m 1024" "1b 16" "1b 64" "1b 256"; do \
		set -- $$setting; \
		$(GPU_PYTHON) -m mars_lmm.bench rollout --device cuda --precision bfloat16 --size $$1 --books $$2 \
			--orders $$((300 * $$2)) --recomputed-steps 1 || exit 1; \
	done
	$(GPU_PYTHON) -m pytest -m gpu tests/models tests/simulation tests/training
	$(GPU_PYTHON) -m mars_lmm.bench loss --width 768 --precision bf16-mixed --device cuda
	$(GPU_PYTHON) -m mars_lmm.bench train --size 107m --device cuda

clean:  ## Remove everything that was made
	rm -rf $(VENV) outputs prepared build *.egg-info mars_lmm/__pycache__
