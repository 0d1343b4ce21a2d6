#!/usr/bin/env bash
# Fuzzes the readers of files with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one after the other.
# Usage: fuzz.sh [--seconds N | --runs N] [--preset fuzz|sanitized-reference] [readers...]
#   --seconds N  each reader for so long (default: 600)
#   --runs N     each reader with so many files, from a fixed seed
# Without readers: all of them. Findings are left in BUILD/findings/READER; put into tests/fuzz/findings/READER, every
# later test run reads them.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=-max_total_time=600 preset=fuzz
while [[ ${1:-} == --* ]]; do
  case $1 in
    --seconds) limit=-max_total_time=$2 ;;
    --runs) limit="-runs=$2 -seed=1" ;;
    --preset) preset=$2 ;;
    *) echo "fuzz.sh: unknown flag $1; expected --seconds, --runs or --preset" >&2; exit 2 ;;
  esac
  shift 2
done
scripts/setup.sh build fuzz
cmake --preset "$preset" > /dev/null
cmake --build --preset "$preset" --target proxent_fuzz
build=build-$preset fuzz=build-$preset/tests/proxent_fuzz
known=$("$fuzz" | cut -d' ' -f1)
for reader in "$@"; do
  grep -qx -- "$reader" <<<"$known" || { echo "fuzz.sh: no reader '$reader'; expected some of:" $known >&2; exit 2; }
done
readers=" ${*:-$(xargs <<<"$known")} " found_in_all=0
echo "| reader | executions | seconds | edges | findings |"
echo "| --- | ---: | ---: | ---: | ---: |"
while read -r reader seeds; do
  [[ $readers == *" $reader "* ]] || continue
  corpus=$build/corpus/$reader findings=$build/findings/$reader log=$build/fuzz_$reader.log
  inputs=("$corpus" "tests/$seeds")
  [ ! -d "tests/fuzz/findings/$reader" ] || inputs+=("tests/fuzz/findings/$reader")
  mkdir -p "$corpus" "$findings"
  start=$SECONDS
  : >"$log"  # findings that are newer are this run's: those of earlier ones stay
  # shellcheck disable=SC2086  # the limit may be two options
  "$fuzz" --reader="$reader" $limit -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
    -artifact_prefix="$findings/" -print_final_stats=1 "${inputs[@]}" >"$log.part" 2>&1 < /dev/null || true
  found=$(find "$findings" -type f -newer "$log" | wc -l)
  mv "$log.part" "$log"
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  [ -n "$executions" ] || { echo "fuzz.sh: $reader did not run; $log says why" >&2; exit 1; }
  echo "| $reader | $executions | $((SECONDS - start)) | $edges | $found |"
  found_in_all=$((found_in_all + found))
done < <("$fuzz")
[ $found_in_all -eq 0 ] || { echo "findings are in $build/findings" >&2; exit 1; }
