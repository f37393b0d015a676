#!/usr/bin/env bash
# Builds dist/: the source distribution, the plain wheel out of it, and the wheel of this Python and this architecture
# with compiled kernels in an extension, which are taken from the cache as far as they are there, and checked.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct 2> /dev/null || echo 1767225600)"
export SOURCE_DATE_EPOCH
rm -rf dist build/kernels build/extension build/of-tree
python -m build --no-isolation --outdir dist . > build.log 2>&1 || { cat build.log; exit 1; }
python -m build --no-isolation --wheel --outdir build/of-tree . > build.log 2>&1 || { cat build.log; exit 1; }
rm build.log
# the source distribution has all that the tree has, and no other wheel comes out of it
python -c '
import sys, zipfile
ours, tree = ({i.filename: i.CRC for i in zipfile.ZipFile(w).infolist() if not i.filename.endswith("/RECORD")} for w in sys.argv[1:])
sys.exit(ours != tree and f"the wheel of the sdist is another: {sorted(dict(ours.items() ^ tree.items()))}")
' dist/pricegrid-*-py3-none-any.whl build/of-tree/pricegrid-*.whl
pricegrid kernels build build/kernels --extension build/extension --pack dist/kernels.tar.xz
pricegrid kernels check dist/kernels.tar.xz
pricegrid kernels check build/extension
python deploy/add_kernels.py dist/pricegrid-*-py3-none-any.whl build/extension
ls -lh dist
