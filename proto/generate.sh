#!/usr/bin/env bash
# Generates the Python code of the protos below DIR (default: the repository itself), in a set-up .venv.
# Usage: proto/generate.sh [DIR]
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
out="${1:-$root}"
export PATH="$root/.venv/bin:$PATH" # protoc looks for its plug-ins there
cd "$root/proto"
mapfile -t protos < <(find pricegrid -name '*.proto' | LC_ALL=C sort)
mapfile -t services < <(grep -l '^service ' "${protos[@]}")
mkdir -p "$out/pricegrid/v1"
python -m grpc_tools.protoc -I. --python_out="$out" --pyi_out="$out" "${protos[@]}"
python -m grpc_tools.protoc -I. --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" "${services[@]}"
