#!/usr/bin/env bash
# From a fresh clone to a trained retrieval model in minutes: installs what is missing, builds, trains a
# ResNet-18 on Latin letters, digits and signs, and retrieves Greek and Cyrillic letters it never saw.
# Usage: demo.sh [proxent train options...]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build data
scripts/build.sh build proxent
exec build/proxent train --preset glyphs-demo "$@"
