#!/usr/bin/env bash
# One dry run through `make dry-run`; arguments are passed on to make.
#
#   CONFIG=/srv/backrest/config.json RUN_FLAGS="--default-repo prod-repo" scripts/dry-run-make.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CONFIG=${CONFIG:-$root/testdata/example-sidecar.config.json}
RUN_FLAGS=${RUN_FLAGS:---include-project-name}

if [ ! -f "$CONFIG" ]; then
  echo "Config file '$CONFIG' not found. Override CONFIG=/path/to/config.json" >&2
  exit 1
fi
exec make -C "$root" --no-print-directory dry-run CONFIG="$(realpath "$CONFIG")" RUN_FLAGS="$RUN_FLAGS" "$@"
