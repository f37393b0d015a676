#!/usr/bin/env bash
# Builds dist/: the source distribution, the plain wheel out of it, and the wheel of this Python and this architecture
# with compiled kernels, which are taken from the cache as far as they are there, and checked.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct 2> /dev/null || echo 1767225600)"
export SOURCE_DATE_EPOCH
rm -rf dist build/kernels
python -m build --no-isolation --outdir dist . > build.log 2>&1 || { cat build.log; exit 1; }
rm build.log
pricegrid kernels build build/kernels --pack dist/kernels.tar.xz
pricegrid kernels check dist/kernels.tar.xz
python deploy/add_kernels.py dist/pricegrid-*-py3-none-any.whl build/kernels
ls -lh dist
