#!/usr/bin/env bash
# Checks the files of deploy/ with what is installed of: hadolint, check-jsonschema, helm, kubernetes-validate, promtool,
# systemd-analyze. Says what it could not run; 1 if a check fails.
set -uo pipefail
cd "$(dirname "$0")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failed=0
missing=()

check() { # check WHAT COMMAND...: quiet if it is well
  if "${@:2}" > "$work/said" 2>&1; then
    echo "ok       $1"
  else
    echo "FAILED   $1"
    cat "$work/said"
    failed=1
  fi
}
has() {
  command -v "$1" > /dev/null || { missing+=("$1"); return 1; }
}
refused() { # refused TEXT COMMAND...: fails, and says so
  ! "${@:2}" > "$work/refusal" 2>&1 && grep -q -- "$1" "$work/refusal"
}

has hadolint && check "Containerfile: hadolint" hadolint Containerfile
has check-jsonschema && check "compose.yaml: schema" check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
has promtool && check "prometheus.yml: promtool" promtool check config --syntax-only compose/prometheus.yml

if has helm; then
  for case in helm/cases/*.yaml; do
    name="$(basename "$case" .yaml)"
    check "chart, $name: lint" helm lint --strict helm/pricegrid --values "$case"
    check "chart, $name: template" sh -c "helm template shop helm/pricegrid --values $case > $work/$name.yaml"
    if command -v kubernetes-validate > /dev/null; then
      check "chart, $name: kubernetes-validate" kubernetes-validate --strict "$work/$name.yaml"
    fi
  done
  template=(helm template shop helm/pricegrid)
  check "chart refuses an open port" refused "say who may call" "${template[@]}"
  check "chart refuses several pods without a Redis" refused "set redis.url" "${template[@]}" --set allowRemote=true,replicas=2
  check "chart refuses a password in a URL" refused "redis.secretName" "${template[@]}" --set allowRemote=true,redis.url=redis://:x@redis
  check "chart refuses metrics that everyone reads" refused "metrics.enabled" "${template[@]}" --set allowRemote=true,metrics.enabled=true,networkPolicy.enabled=false
  check "chart refuses no replica" refused "replicas" "${template[@]}" --set allowRemote=true,replicas=0
  check "chart refuses unknown values" refused "workrs" "${template[@]}" --set allowRemote=true,serve.workrs=2
fi
has kubernetes-validate

if has systemd-analyze; then
  for unit in systemd/*.service systemd/*.timer; do
    sed 's#=/opt/pricegrid/bin/pricegrid #=/bin/true #' "$unit" > "$work/$(basename "$unit")"
  done
  install -D systemd/redis.conf "$work/pricegrid.service.d/redis.conf"
  check "units: systemd-analyze verify" systemd-analyze verify "$work"/*.service "$work"/*.timer
  for unit in systemd/*.service; do
    check "$unit: exposure at most 1.5" systemd-analyze security --offline=true --threshold=15 "$unit"
  done
fi

for tool in "${missing[@]}"; do
  echo "not run  $tool is not installed"
done
exit "$failed"
