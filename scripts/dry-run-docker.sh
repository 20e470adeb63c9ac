#!/usr/bin/env bash
# One dry run in the image, beside the two demo workloads of testdata/compose.dry-run.yaml, which are removed
# again. Nothing is written: the config directory is mounted read-only.
#
#   CONFIG_DIR=/srv/backrest CONFIG_FILE=config.json scripts/dry-run-docker.sh --log-format text --log-level debug
#
# Arguments are added to `reconcile --dry-run`; arguments that begin with a command replace it.
# From the environment: CONFIG_DIR, CONFIG_FILE, COMPOSE_FILE, PROJECT_NAME, SIDECAR_IMAGE (then nothing is built).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CONFIG_DIR=${CONFIG_DIR:-$root/testdata}
CONFIG_FILE=${CONFIG_FILE:-example-sidecar.config.json}
COMPOSE_FILE=${COMPOSE_FILE:-$root/testdata/compose.dry-run.yaml}
PROJECT_NAME=${PROJECT_NAME:-backrest-sidecar}

if [ ! -d "$CONFIG_DIR" ]; then
  echo "Config directory '$CONFIG_DIR' not found. Override CONFIG_DIR=/path/to/dir" >&2
  exit 1
fi
CONFIG_DIR=$(realpath "$CONFIG_DIR")
if [ ! -f "$CONFIG_DIR/$CONFIG_FILE" ]; then
  echo "Config file '$CONFIG_DIR/$CONFIG_FILE' not found. Override CONFIG_FILE=<name>" >&2
  exit 1
fi
export CONFIG_DIR CONFIG_FILE

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  echo "Neither 'docker compose' nor 'docker-compose' is there. Install Docker Compose, or try scripts/dry-run-binary.sh" >&2
  exit 1
fi
compose+=(-p "$PROJECT_NAME" -f "$COMPOSE_FILE")

case "${1:-}" in
  "" | -*) set -- reconcile --dry-run --config "/etc/backrest/$CONFIG_FILE" --include-project-name --log-format text "$@" ;;
esac

echo "CONFIG_DIR=$CONFIG_DIR CONFIG_FILE=$CONFIG_FILE" >&2
echo "@ $*" >&2
trap '"${compose[@]}" down --volumes >/dev/null 2>&1 || true' EXIT
[ -n "${SIDECAR_IMAGE:-}" ] || "${compose[@]}" build sidecar >&2
"${compose[@]}" run --rm sidecar "$@"
