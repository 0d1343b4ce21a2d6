#!/usr/bin/env bash
# Configures and builds. Usage: build.sh FOLDER TARGET [cmake options...]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 target=$2
shift 2
cmake -S . -B "$folder" -G Ninja "$@" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
rm -f "$folder.log"
cmake --build "$folder" --target "$target"
