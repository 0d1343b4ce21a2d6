#!/usr/bin/env bash
# Fuzzes the readers of files with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one after the other.
# Usage: fuzz.sh [seconds for each reader, 600] [readers, all]
# Needs clang++-16 with its sanitizers and OpenMP (Debian: clang-16 libclang-rt-16-dev libomp-16-dev). Findings are left
# in build-fuzz/findings/READER; put into tests/fuzz/findings/READER, every later test run reads them.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
cmake --preset fuzz > /dev/null
cmake --build --preset fuzz --target proxent_fuzz
fuzz=build-fuzz/tests/proxent_fuzz
readers=" ${*:-$("$fuzz" | cut -d' ' -f1 | xargs)} "
echo "| reader | executions | seconds | edges | findings |"
echo "| --- | ---: | ---: | ---: | ---: |"
"$fuzz" | while read -r reader seeds; do
  [[ $readers == *" $reader "* ]] || continue
  corpus=build-fuzz/corpus/$reader findings=build-fuzz/findings/$reader log=build-fuzz/fuzz_$reader.log
  inputs=("$corpus" "tests/$seeds")
  [ ! -d "tests/fuzz/findings/$reader" ] || inputs+=("tests/fuzz/findings/$reader")
  rm -rf "$findings"
  mkdir -p "$corpus" "$findings"
  start=$SECONDS
  "$fuzz" --reader="$reader" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
    -artifact_prefix="$findings/" -print_final_stats=1 "${inputs[@]}" > "$log" 2>&1 < /dev/null || true
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  echo "| $reader | $executions | $((SECONDS - start)) | $edges | $(find "$findings" -type f | wc -l) |"
done
[ -z "$(find build-fuzz/findings -type f)" ] || { echo "findings are in build-fuzz/findings" >&2; exit 1; }
