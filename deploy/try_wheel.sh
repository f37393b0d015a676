#!/usr/bin/env bash
# try_wheel.sh WHEEL: installs it into a fresh environment, as a user would, lets the demo serve and answer a basket,
# and asks the store once more from another path, and by a processor without AVX where qemu-x86_64 is there to be one.
# Fails if numba came along or a kernel is compiled. Says how long it took.
set -euo pipefail
wheel="$(realpath "$1")"
python="$("$(dirname "$0")/../.venv/bin/python" -c 'import sys; print(sys._base_executable)')"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work" # nothing of the source tree is on the path
unset PYTHONPATH PYTHONDONTWRITEBYTECODE NUMBA_CACHE_DIR PRICEGRID_KERNEL_EXTENSION
export PRICEGRID_KERNEL_CACHE="$work/compiled" # what is compiled is seen here
export TIMEFORMAT='%R s (%U s of CPU)'
fail() {
  echo "$1" >&2
  cat said errors >&2
  exit 1
}

"$python" -m venv env
echo -n "installed in "
time env/bin/python -m pip install --quiet --no-compile --disable-pip-version-check "$wheel[server]" 2> errors || fail "not installed"
if env/bin/python -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("numba") or u.find_spec("llvmlite")))'; then
  fail "numba was installed"
fi
echo -n "loaded, served and answered in "
time env/bin/pricegrid demo --dir demo < /dev/null > said 2> errors || fail "the demo failed"
grep -q '^HXB-M24-60-PL  *250  *4.08 ' said || fail "the basket has another price"

mv env/lib/python3*/site-packages moved
find moved -name '*.py' -exec touch {} +
ask() {
  PYTHONPATH=moved "$python" -m pricegrid.service.cli.main "$@" > said 2> errors || fail "the moved installation failed"
}
ask kernels list
grep -q 'all kernels are in the extension .*/moved/pricegrid/kernels/' said || fail "the extension of the wheel is not used"
ask quote --store demo/store --customer S00001 --json HXB-M24-60-PL:250 $(yes HXB-M24-60-PL:250 | head -60)
grep -q '"unit_price": "4.08"' said || fail "the moved installation gives another price"
elsewhere="another path"
if command -v qemu-x86_64 > /dev/null; then # a processor of 2008, without AVX
  NUMBA_CPU_NAME=znver3 PYTHONPATH=moved qemu-x86_64 -cpu Nehalem "$python" -m pricegrid.service.cli.main quote \
    --store demo/store --customer S00001 --json $(yes HXB-M24-60-PL:250 | head -60) > said 2> errors || fail "a processor without AVX fails"
  grep -q '"unit_price": "4.08"' said || fail "a processor without AVX gives another price"
  elsewhere+=" and by a processor without AVX"
fi
if [ -e compiled ] || grep -q compiling errors demo/store/serve.log; then
  fail "kernels were compiled"
fi
echo "answered from $elsewhere, nothing compiled; $(du -sh moved | cut -f1) installed"
