#!/usr/bin/env bash
# How much of the code the tests reach: a table of lines per folder. Usage: coverage.sh [doctest options...]
# Needs Debian's gcovr. Takes a build and a slow run of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v gcovr >/dev/null || { echo "coverage.sh: gcovr is missing; apt-get install gcovr" >&2; exit 1; }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0}
cmake --preset coverage >/dev/null
cmake --build --preset coverage --target proxent_tests
find build-coverage -name '*.gcda' -delete
outcome=0
# Not under a limit on the size of files, which the counts themselves would break.
build-coverage/tests/proxent_tests -tce="a disk that is full costs*" "$@" || outcome=$?
gcovr --root . --filter '(tensor|autograd|layers|losses|data|train)/' --csv build-coverage/lines.csv build-coverage
python3 - build-coverage/lines.csv <<'END'
import collections
import csv
import sys

lines = collections.defaultdict(lambda: [0, 0])
for row in csv.DictReader(open(sys.argv[1])):
    for folder in (row["filename"].split("/")[0], "all"):
        lines[folder][0] += int(row["line_covered"])
        lines[folder][1] += int(row["line_total"])
for folder, (covered, total) in lines.items():
    print(f"{folder:10} {covered:6} of {total:6} lines  {100 * covered / total:5.1f} %")
END
exit $outcome
