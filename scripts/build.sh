#!/usr/bin/env bash
# Configures and builds. Usage: build.sh FOLDER TARGET [cmake options...]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 target=$2
shift 2
mkdir -p "$folder"
log=$folder/configure.log
cmake -S . -B "$folder" -G Ninja "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
cmake --build "$folder" --target "$target"
