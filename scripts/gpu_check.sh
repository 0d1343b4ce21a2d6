#!/usr/bin/env bash
# Builds for the GPU of this machine, verifies every op on it and measures it beside PyTorch. Needs no network.
# Usage: gpu_check.sh OUT_DIR [quick|full]     quick: no sanitizers, one batch size, PyTorch's eager mode alone
# Leaves a log per part, summary.json, and JSON of layers and steps in OUT_DIR, prints a table last, and exits 1 if a part
# failed. Ends after 9 minutes at most: parts stand in the order of their worth, each has a limit, and what finds no
# time left is named. The build is kept, so that a second run has its time for the parts at the end.
# cuDNN and cuBLASLt may lie in the toolkit or in Python's site-packages; PyTorch is compared with where python3 has it.
set -uo pipefail
out=${1:?usage: gpu_check.sh OUT_DIR [quick|full]}
mode=${2:-full}
[[ $mode == quick || $mode == full ]] || { echo "gpu_check.sh: expected quick or full, got '$mode'" >&2; exit 2; }
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
export build=build-gpu
budget=540  # seconds for all parts
rows=()     # name, seconds, outcome
failures=0

command -v nvidia-smi >/dev/null || { echo "gpu_check.sh: no nvidia-smi here, so no NVIDIA driver; nothing to check" >&2; exit 4; }
command -v nvcc >/dev/null || { echo "gpu_check.sh: nvcc is not on PATH" >&2; exit 4; }

# Where Python brings NVIDIA's libraries, CMake and the loader are told.
while IFS= read -r folder; do
  export CMAKE_PREFIX_PATH=${folder%/lib}${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done < <(python3 -c 'import glob, nvidia
for root in nvidia.__path__:
    for folder in glob.glob(root + "/*/lib"): print(folder)' 2>/dev/null)

# part NAME SECONDS COMMAND...: runs it for at most so long, into OUT_DIR/NAME.log.
part() {
  local name=$1 limit=$2 start=$SECONDS outcome=ok left=$((budget - SECONDS))
  shift 2
  if [ $left -lt 10 ]; then
    echo "no time left" >"$out/$name.log"
    rows+=("$name|0|not run")
    return 1
  fi
  [ "$limit" -le $left ] || limit=$left
  timeout -k 5 "$limit" bash -c '"$@"' _ "$@" >"$out/$name.log" 2>&1  # bash: a part may be a function
  local code=$?
  if [ $code -eq 124 ]; then outcome="stopped after $limit s"; elif [ $code -ne 0 ]; then outcome="FAILED ($code)"; fi
  [ $code -eq 0 ] || failures=$((failures + 1))
  rows+=("$name|$((SECONDS - start))|$outcome")
  return $code
}

versions() {
  set -e
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv
  nvcc --version | tail -n 2
  python3 -c 'import torch; print("torch", torch.__version__, "cudnn", torch.backends.cudnn.version())' || true
  git describe --always --dirty 2>/dev/null || echo "no git here"
  lscpu | grep 'Model name'
}
configure_and_build() {
  scripts/build.sh "$build" all -DPROXENT_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native
}
# Each in a process of its own: after the fault of a kernel a process computes nothing more on the GPU, and one that
# hangs costs 40 s and is named. Those that start the program many times come last.
gpu_tests() {
  local filter log=$out/gpu_suite.log failed=()
  for filter in "-ts=gpu*" "-tc=float32 on the GPU*" "-tc=float64 on the GPU*" "-tc=bf16 on the GPU*" \
    "-tc=half precision on the GPU*" -ts=gradients -ts=device "-ts=recorded work" "-ts=training step" -ts=optimizer \
    -ts=augment -ts=multi_proxy_entropy -ts=losses -ts=proxies -ts=goldens -ts=retrieval -ts=similarity -ts=topk -ts=embed \
    -ts=tensor "-ts=memory plan" -ts=timing -ts=metrics -ts=reranking "-ts=profiled steps" "-ts=bench commands" \
    -ts=evaluation_commands; do
    echo "== $filter"
    timeout -k 2 40 "$build/tests/proxent_tests" -d "$filter" 2>&1 | tee "$log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$filter")
    if grep -q '] test cases: *0 |' "$log"; then failed+=("$filter, which names no test"); fi
  done
  rm -f "$log"
  if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; return 1; fi
  echo "all suites passed"
}
sanitize() {  # the op table's float32 rows are small, and every kernel is among them; a processor core for each tool
  local tool tools=(memcheck racecheck initcheck synccheck) failed=()
  local -A running
  for tool in "${tools[@]}"; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/proxent_tests" -ts=parity \
      -tc="float32 on the GPU*" >"$out/sanitizer_$tool.log" 2>&1 &
    running[$tool]=$!
  done
  for tool in "${tools[@]}"; do
    wait "${running[$tool]}" || failed+=("$tool")
  done
  if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; return 1; fi
  echo "nothing found by ${tools[*]}"
}

# compare BATCH ROUNDS MODES: a step of retrieval training beside PyTorch's, from the same weights and batch.
compare() {
  bench/compare_step.py --device cuda --precision bf16 --arch resnet50 --size 224 --batch "$1" --loss mpl --classes 11318 \
    --proxies 2 --optim adamw --warm-up 20 --steps 50 --layouts channels_last --rounds "$2" --modes "$3" \
    --proxent "$build/proxent" --json "$out/step_$1_${3//,/_}.json"
}
compare_kernels() {
  bench/compare_kernels.py --device cuda --precision bf16 --proxent "$build/proxent" --json "$out/kernels.json"
}
layers() {
  "$build/proxent" bench layers --device cuda --arch resnet50 --size 224 --batch 128 --precision bf16 --json \
    >"$out/layers.json" &&
    "$build/proxent" bench layers --device cuda --arch resnet50 --size 224 --batch 128 --precision bf16 --engines 10
}
step_variants() {  # what less memory costs, and what --deterministic does
  local flag
  for flag in --recompute={none,relu,block} --no-deterministic; do
    "$build/proxent" bench step --device cuda --precision bf16 --arch resnet50 --size 224 --batch 128 --loss mpl \
      --classes 11318 --optim adamw --warm-up 10 --steps 20 "$flag" --json || return
  done
}
describe_gpu() {  # for tests/devices
  DEVICE_DESCRIPTION=$out/device.json "$build/tests/proxent_tests" -ts=cudnn -tc="this machine's GPU*" &&
    test -s "$out/device.json"
}

export out
export -f versions configure_and_build gpu_tests sanitize compare compare_kernels layers step_variants describe_gpu
has_torch=0
python3 -c 'import torch, torchvision' 2>/dev/null && has_torch=1
part versions 30 versions
if part build 240 configure_and_build; then
  part doctor 15 "$build/proxent" doctor
  part gpu_tests 150 gpu_tests
  part device_description 15 describe_gpu
  part bench_layers 40 layers
  part bench_knn 15 "$build/proxent" bench knn --device cuda --repeats 3 --json
  if [ $has_torch = 1 ]; then
    if [ "$mode" = quick ]; then
      part step_128 60 compare 128 2 eager
    else
      part step_128 90 compare 128 2 eager,graph
      for batch in 32 256; do part step_$batch 40 compare $batch 1 eager,graph; done
    fi
    part kernels 40 compare_kernels
  else
    part bench_loss 15 "$build/proxent" bench loss --device cuda --json
    part step_128 30 "$build/proxent" bench step --device cuda --precision bf16 --arch resnet50 --size 224 --batch 128 \
      --loss mpl --classes 11318 --optim adamw --warm-up 20 --steps 50 --json
  fi
  if [ "$mode" = full ]; then
    part step_variants 25 step_variants
    part sanitizers 120 sanitize
    if [ $has_torch = 1 ]; then
      part step_128_compile 90 compare 128 1 compile
      part step_128_max_autotune 150 compare 128 1 max-autotune
    fi
  fi
fi

python3 - "$out" "${rows[@]}" <<'END'
import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
parts = [dict(zip(("name", "seconds", "outcome"), row.split("|"))) for row in sys.argv[2:]]
for part in parts:
    lines = (out / f"{part['name']}.log").read_text(errors="replace").strip().splitlines()
    part["seconds"] = int(part["seconds"])
    part["last_line"] = lines[-1] if lines else ""
(out / "summary.json").write_text(json.dumps(parts, indent=2) + "\n")
for part in parts:
    print(f"{part['name']:24} {part['seconds']:4} s  {part['outcome']:20} {part['last_line'][:100]}")
END
[ $failures -eq 0 ]
