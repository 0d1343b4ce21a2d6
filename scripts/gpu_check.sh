#!/usr/bin/env bash
# Builds for the GPU of this machine, verifies every op on it and measures it beside PyTorch. Needs no network.
# Usage: gpu_check.sh OUT_DIR [quick|full]     quick: no sanitizers, fewer rounds
# Leaves a log per part and summary.json in OUT_DIR, prints a table last, and exits 1 if a part failed.
# cuDNN may lie in the toolkit or in Python's site-packages; PyTorch is compared with where python3 has it.
set -uo pipefail
out=${1:?usage: gpu_check.sh OUT_DIR [quick|full]}
mode=${2:-full}
[[ $mode == quick || $mode == full ]] || { echo "gpu_check.sh: expected quick or full, got '$mode'" >&2; exit 2; }
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
export build=build-gpu
rows=()  # name, seconds, outcome
failures=0

command -v nvidia-smi >/dev/null || { echo "gpu_check.sh: no nvidia-smi here, so no NVIDIA driver; nothing to check" >&2; exit 4; }
command -v nvcc >/dev/null || { echo "gpu_check.sh: nvcc is not on PATH" >&2; exit 4; }

# Where Python brings cuDNN, CMake and the loader are told.
cudnn=$(python3 -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
if [ -n "$cudnn" ]; then
  export CUDNN_ROOT=$cudnn LD_LIBRARY_PATH=$cudnn/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

# part NAME SECONDS COMMAND...: runs it for at most so long, into OUT_DIR/NAME.log.
part() {
  local name=$1 limit=$2 start=$SECONDS outcome=ok
  shift 2
  timeout "$limit" bash -c '"$@"' _ "$@" >"$out/$name.log" 2>&1  # bash: a part may be a function
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
  scripts/build.sh "$build" all -DPROXENT_CUDA=ON
}
sanitize() {  # TOOL: the op table's float32 rows are small; every kernel is among them
  compute-sanitizer --tool "$1" --error-exitcode 9 "$build/tests/proxent_tests" -ts=parity -tc="float32 on the GPU*"
}

export -f versions configure_and_build sanitize
part versions 60 versions
if part build 300 configure_and_build; then
  part doctor 30 "$build/proxent" doctor
  part gpu_tests 120 "$build/tests/proxent_tests" -ts=gpu,parity,device
  if [ "$mode" = full ]; then
    for tool in memcheck racecheck initcheck synccheck; do part "sanitizer_$tool" 60 sanitize $tool; done
  fi
  part bench_loss 60 "$build/proxent" bench loss --device cuda --json
  rounds=$([ "$mode" = full ] && echo 4 || echo 2)
  if python3 -c 'import torch, torchvision' 2>/dev/null; then
    part step_resnet50 150 bench/compare_step.py --device cuda --proxent "$build/proxent" --rounds "$rounds" \
      --arch resnet50 --size 224 --batch 128 --steps 30
    part step_resnet18 90 bench/compare_step.py --device cuda --proxent "$build/proxent" --rounds "$rounds" \
      --arch resnet18 --size 64 --batch 128 --steps 50
  else
    part step_resnet50 60 "$build/proxent" bench step --device cuda --arch resnet50 --size 224 --batch 128 --steps 30 --json
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
