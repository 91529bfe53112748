#!/usr/bin/env bash
# Runs the conformance suite and a sweep of the engine candle-cuda on this machine, and leaves both under results/runs-published. The
# sweep is run whatever the suite says; the exit code is that of the suite where it failed, else that of the sweep.
#   usage: gpu-sweep.sh MACHINE EXPERIMENT [FLAGS of `crossover run`]
# It takes the programs that `just build-cuda` left in target-cuda/gpu (or in CROSSOVER_GPU_PROGRAMS), which may have been built on
# another machine: nothing is compiled here but the kernels, by NVRTC and the driver.
set -euo pipefail
cd "$(dirname "$0")/../.."
machine=${1:?usage: gpu-sweep.sh MACHINE EXPERIMENT [FLAGS]}
experiment=${2:?usage: gpu-sweep.sh MACHINE EXPERIMENT [FLAGS]}
shift 2
case "$machine" in
    *[!a-z0-9-]*) echo "the name of a machine has lower-case letters, digits and dashes: nvidia-h200" >&2; exit 2 ;;
esac
programs=$(cd "${CROSSOVER_GPU_PROGRAMS:-target-cuda/gpu}" 2>/dev/null && pwd) || {
    echo "the programs are not there: run \`just build-cuda\`, here or elsewhere, and bring target-cuda/gpu" >&2
    exit 3
}
folder=results/runs-published/$machine/$experiment
if [ -e "$folder" ]; then
    echo "$folder exists: published runs are not overwritten; move it away or take another name" >&2
    exit 2
fi
mkdir -p "results/runs-published/$machine"
export CROSSOVER_WORKER=$programs/crossover-worker-cuda CROSSOVER_NEEDS_GPU=1
# What the driver makes of candle's kernels is kept, so that it is made once and not in every worker.
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$PWD/target-cuda/kernels} CUDA_CACHE_MAXSIZE=${CUDA_CACHE_MAXSIZE:-1073741824}
"$programs/crossover" doctor || echo "the doctor found something; its words are above"
suite=0
"$programs/conformance" --nocapture on_a_gpu | tee "results/runs-published/$machine/conformance.txt" || suite=$?
status=0
"$programs/crossover" run "$experiment" --filter 'engine == "candle-cuda"' --out "$folder" "$@" || status=$?
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv \
    > "results/runs-published/$machine/gpu.csv" 2>/dev/null || echo "nvidia-smi is not there: gpu.csv is missing" >&2
echo "the run is in $folder; make its report where the reports program is: crossover report $folder --out $folder/report"
if [ "$suite" -ne 0 ]; then
    echo "the conformance suite failed: results/runs-published/$machine/conformance.txt" >&2
    exit "$suite"
fi
exit "$status"
