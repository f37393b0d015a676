#!/usr/bin/env bash
# Builds a seeded Tryton database: build.sh PYTHON DIR [TODAY] -> DIR/trytond.conf, DIR/erp.sqlite, DIR/password
# PYTHON is the interpreter of Tryton's own environment (make .tryton/.set-up).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(realpath -s "$1")
bin=$(dirname "$python")
mkdir -p "$2"
cd "$2"
printf 'pricegrid-demo' > password
cat > trytond.conf <<CONF
[database]
uri = sqlite://
path = $PWD
[session]
authentications = password
max_attempt = 100
CONF
: > erp.sqlite
modules="product_price_list product_price_list_dates product_price_list_parent purchase sale sale_price_list"
# shellcheck disable=SC2086
TRYTONPASSFILE=password "$bin/trytond-admin" -c trytond.conf -d erp --all --email admin@example.com \
  --activate-dependencies -u $modules sale_product_customer stock stock_forecast stock_supply
"$python" "$here/seed.py" trytond.conf erp "${3:-$(date -u +%F)}"
