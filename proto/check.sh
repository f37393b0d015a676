#!/usr/bin/env bash
# Fails when the committed generated code is not what the protos give.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
"$root/proto/generate.sh" "$fresh"
status=0
while IFS= read -r file; do
  diff -u "$root/pricegrid/v1/$file" "$fresh/pricegrid/v1/$file" || status=1
done < <({ cd "$root/pricegrid/v1" && ls ./*_pb2*; cd "$fresh/pricegrid/v1" && ls ./*_pb2*; } | LC_ALL=C sort -u)
if [ "$status" -ne 0 ]; then
  echo "generated code differs from proto/: run make protos" >&2
fi
exit "$status"
