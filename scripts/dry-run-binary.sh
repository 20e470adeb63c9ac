#!/usr/bin/env bash
# One dry run with ./bin/backrest-sidecar, which is built when it is missing.
#
#   CONFIG=/srv/backrest/config.json scripts/dry-run-binary.sh --default-repo prod-repo
#
# Arguments are passed on; without any, projects become part of the plan ids.
# From the environment: CONFIG, BINARY, and all that the tool itself reads.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CONFIG=${CONFIG:-$root/testdata/example-sidecar.config.json}
BINARY=${BINARY:-$root/bin/backrest-sidecar}

if [ ! -f "$CONFIG" ]; then
  echo "Config file '$CONFIG' not found. Override CONFIG=/path/to/config.json" >&2
  exit 1
fi
if [ ! -x "$BINARY" ]; then
  echo "Binary '$BINARY' missing; running make build ..." >&2
  make -C "$root" build >&2
fi
if [ "$#" -eq 0 ]; then
  set -- --include-project-name
fi
BACKREST_CONFIG="$CONFIG" exec "$BINARY" reconcile --dry-run "$@"
