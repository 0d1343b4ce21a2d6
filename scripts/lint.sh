#!/usr/bin/env bash
# Looks for mistakes with clang-tidy 16 (.clang-tidy says which), in all sources that the processor runs.
# Usage: lint.sh                  all of them: about ten minutes
#        lint.sh --since COMMIT   those that changed since, and those of headers that did
#        lint.sh FILES...
# BUILD=FOLDER names the build that knows how they are compiled (default: build). `cmake --build --preset lint` does
# all of them with the preset release.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh lint
build=${BUILD:-build}
[ -f "$build/compile_commands.json" ] || cmake -S . -B "$build" -G Ninja >/dev/null
folders=(tensor autograd layers losses data train)
case ${1:-} in
  "") mapfile -t files < <(git ls-files -- "${folders[@]/%//*.cpp}" ':!tensor/cuda') ;;
  --since)
    changed=$(git diff --name-only --diff-filter=d "$2" -- "${folders[@]}" ':!tensor/cuda' | grep -E '\.(h|cpp)$' || true)
    mapfile -t files < <(for file in $changed; do [ -f "${file%.*}.cpp" ] && echo "${file%.*}.cpp"; done | sort -u)
    ;;
  *) files=("$@") ;;
esac
[ ${#files[@]} -gt 0 ] || { echo "lint: nothing to look at"; exit 0; }
echo "lint: ${#files[@]} files"
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-16 -p "$build" --quiet 2> >(grep -vE '^[0-9]+ warnings?' >&2)
