# Two commands: `make demo` runs the talking head, `make test` runs every test.
# Both install what is missing first; models go to a cache outside this folder.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Debian packages: sound, OpenGL and, for the tests, a virtual screen, a virtual sound server and more voices.
DEMO_PACKAGES := python3-venv libportaudio2 libegl1 libgl1 libopengl0 libgl1-mesa-dri libglx-mesa0 fonts-wqy-microhei
WEIGHTS_PACKAGES := festival festvox-kdlpc16k
TEST_PACKAGES := xvfb xdotool pulseaudio pulseaudio-utils libasound2-plugins espeak-ng flite strace iproute2

.PHONY: demo test check fuzz audit models weights soak clean help

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

demo: $(VENV)/demo-installed models  ## install what is missing and talk to the head
	$(BIN)/python run_demo.py $(ARGS)

# What only computes shares the cores, a thread a process; what keeps time with the clock on the wall follows, alone.
# Status 5 is pytest's for a pass of which ARGS choose nothing, which both passes together must not be.
test: $(VENV)/test-installed models check  ## install the test extras and run every test
	$(if $(filter -m%,$(ARGS)),$(error make test chooses by -m itself; run $(BIN)/python -m pytest $(ARGS)))
	$(BIN)/python -m demo.models vosk-ko
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not processes and not realtime" $(ARGS); first=$$?; \
	$(BIN)/python -m pytest -m "not processes and realtime" $(ARGS); second=$$?; \
	case "$$first $$second" in "0 0"|"0 5"|"5 0") ;; *) exit 1;; esac

WORKERS ?= 2

check: $(VENV)/test-installed  ## lint and type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/test-installed models  ## twenty minutes of a crowd (MINUTES=120 and 480 for hours), judged and plotted
	SOAK=1 $(BIN)/python -m pytest tests/faults -k hundred -q
	$(BIN)/python -m demo.soak --minutes $(MINUTES) --out runs/soak $(ARGS)

MINUTES ?= 20

# Ten minutes: every kind of file damaged a thousandfold, and five minutes of looking for messages nobody would send.
fuzz: $(VENV)/test-installed  ## damaged files and hostile messages, at length
	$(BIN)/pip install --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -m tests.fuzz_messages --seconds 300
	$(BIN)/python -m tests.hostile_files

audit:  ## known vulnerabilities of what requirements.lock lists, where their database can be reached
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --disable-pip-version-check --quiet pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --require-hashes --disable-pip --timeout 10 -r requirements.lock

models: $(VENV)/demo-installed  ## fetch the offline models (checked by SHA-256)
	$(BIN)/python -m demo.models

# The corpus' voices, and what the shipped weights were trained with: about two hours on two cores.
weights: $(VENV)/test-installed | $(VENV)/weights-packages  ## speak the corpus and train the default face from nothing
	$(BIN)/python -m streamingtalker.data.synthetic --out corpus --minutes 352 --seed 0 --no-vertices
	$(BIN)/python -m streamingtalker.train vqvae --data corpus --out runs/default --steps 2600 $(TRAINING)
	$(BIN)/python -m streamingtalker.train encoder --data corpus --out runs/default --steps 6000 $(TRAINING)
	$(BIN)/python -m streamingtalker.train talker --data corpus --out runs/default --steps 5000 $(TRAINING)
	$(BIN)/python -m streamingtalker.train talker --head linear --data corpus --out runs/default --steps 2000 $(TRAINING)
	$(BIN)/python -m streamingtalker.train student --data corpus --out runs/default --steps 4910 $(TRAINING)

TRAINING ?= --seed 0 --threads 1 --bf16

$(VENV)/bin/python: | $(VENV)/demo-packages
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/test-installed: pyproject.toml $(VENV)/demo-installed | $(VENV)/test-packages
	$(BIN)/pip install --disable-pip-version-check -e '.[test,research]'
	@touch $@

# A marker lies in the virtual environment's folder, so that a new environment looks again.
$(VENV)/demo-packages:
	@$(call install_packages,$(DEMO_PACKAGES))
	@mkdir -p $(VENV) && touch $@

$(VENV)/test-packages:
	@$(call install_packages,$(TEST_PACKAGES))
	@mkdir -p $(VENV) && touch $@

$(VENV)/weights-packages:
	@$(call install_packages,$(WEIGHTS_PACKAGES))
	@mkdir -p $(VENV) && touch $@

# Install Debian packages where apt may be used, else print the one line to run and go on.
define install_packages
missing=""; \
for package in $(1); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
if ! command -v apt-get >/dev/null; then \
  echo "No apt-get here: PortAudio and OpenGL are needed from the system (see README.md, Without make)."; \
elif [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
elif [ -n "$$missing" ] && sudo -n true 2>/dev/null; then \
  sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
elif [ -n "$$missing" ]; then \
  echo "Some system packages are missing; please run:  sudo apt-get install$$missing"; \
fi
endef

clean:  ## remove the virtual environment and what runs have written, weights in runs/ too
	rm -rf $(VENV) out runs
