"""add_kernels.py WHEEL DIR: a wheel of the same content beside it, with the extension of compiled kernels of DIR in it.

The extension fits one minor version of Python and one architecture: the wheel's tag says so.
"""

import base64
import hashlib
import json
import os
import re
import sys
import time
import zipfile
from pathlib import Path

NAMED_SINCE = (2, 17)
"""The oldest C library that a tag is given for here: pip knows `manylinux_2_17` as `manylinux2014` too."""
_SYMBOL = re.compile(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)")


def add_kernels(wheel: Path, directory: Path) -> Path:
    (folder,) = directory.glob("kernels-*")
    (extension,) = folder.glob("pricegrid_kernels.*.so")
    made_for = json.loads((folder / "made-for.json").read_text(encoding="utf-8"))
    python = f"cp{made_for['python'].replace('.', '')}"
    tag = f"{python}-{python}-manylinux_{c_library(extension)}_{made_for['machine']}"
    with zipfile.ZipFile(wheel) as plain:
        files = {name: plain.read(name) for name in plain.namelist() if not name.endswith("/")}
    (record,) = (name for name in files if name.endswith(".dist-info/RECORD"))
    info = record.removesuffix("RECORD")
    del files[record]
    wheel_file = _once(re.compile("^Tag: .*$", re.MULTILINE), f"Tag: {tag}", files[f"{info}WHEEL"])
    files[f"{info}WHEEL"] = _once(
        re.compile("^Root-Is-Purelib: true$", re.MULTILINE), "Root-Is-Purelib: false", wheel_file
    )
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[f"pricegrid/kernels/{path.relative_to(directory)}"] = path.read_bytes()
    files[record] = _record(files, record)
    made = wheel.with_name(wheel.name.replace("py3-none-any", tag))
    stamp = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "1767225600")))[:6]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as written:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, stamp)
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            written.writestr(member, content)
    return made


def c_library(extension: Path) -> str:
    """The oldest version of glibc that has all that the extension asks for."""
    asked = [(int(major), int(minor)) for major, minor in _SYMBOL.findall(extension.read_bytes())]
    return "_".join(map(str, max([NAMED_SINCE, *asked])))


def _once(pattern: re.Pattern[str], text: str, content: bytes) -> bytes:
    replaced, count = pattern.subn(text, content.decode())
    if count != 1:
        raise SystemExit(f"the wheel is not as expected: {count} times {pattern.pattern!r}")
    return replaced.encode()


def _record(files: dict[str, bytes], record: str) -> bytes:
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*rows, f"{record},,\n"]).encode()


if __name__ == "__main__":
    print(add_kernels(Path(sys.argv[1]), Path(sys.argv[2])))
