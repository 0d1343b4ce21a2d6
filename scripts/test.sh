#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests. Usage: test.sh [doctest options...]
# A few tests want pictures and weights that are not ours to hand out; they say so where $TEST_DATA has none.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build test data
scripts/build.sh build all
# Threads of a foreign process make spinning OpenMP threads several times slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0}
exec build/tests/proxent_tests "$@"
