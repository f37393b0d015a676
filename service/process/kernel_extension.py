"""Makes the extension of compiled kernels: a folder of numba's cache, linked into one module that needs no numba.

The cache of a kernel holds its code as LLVM has optimised it, all that it calls merged in, and the function by which
numba calls it from Python. That is turned into machine code for any CPU of this architecture, at any address, and
linked with `kernel_extension.c`, which chooses by the types of arguments as numba's dispatcher would. Takes numba, and
a C and a C++ compiler.
"""

import json
import os
import pickle
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import numba
import numpy as np
from llvmlite import binding
from numba import types

from pricegrid.service.process.kernel_cache import EXTENSION_FILE, MADE_FOR, made_for, use_kernel_cache

_SOURCE: Final = Path(__file__).with_name("kernel_extension.c")
_ENVIRONMENT: Final = "_ZN08NumbaEnv"
_C_ORDER, _READONLY, _ALIGNED = 1, 2, 4
_SCALARS: Final[Mapping[Any, str]] = MappingProxyType({types.int64: "{'i'}", types.boolean: "{'b'}"})
_NUMBA: Final = Path(numba.__file__).parent
_SMALL: Final = ("-O2", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-DNDEBUG")


@dataclass(frozen=True, slots=True)
class Specialization:
    """A kernel compiled for certain types."""

    kernel: str
    """MODULE.NAME"""
    arguments: tuple[Any, ...]
    """numba's types"""
    code: bytes
    """LLVM's bitcode"""
    function: str
    """Of the code, what Python calls."""
    constants: dict[str, list[Any]]
    """By the variable of the code that points to them: its own, and those of what it calls."""


def link_extension(cache: Path, folder: Path) -> Path:
    """Makes the extension of the kernels in a folder of numba's cache, with what it is made for beside it.

    Raises RuntimeError if there is none, a kernel takes or needs what the extension can't give, or a compiler refuses.
    """
    found = sorted(_specializations(cache), key=lambda each: (each.kernel, str(each.arguments)))
    if not found:
        raise RuntimeError(f"{cache} has no kernels")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / EXTENSION_FILE
    with tempfile.TemporaryDirectory(prefix="pricegrid-extension-") as directory:
        work = Path(directory)
        objects, constants = [], dict[str, list[Any]]()
        for number, each in enumerate(found):
            path, used = _emit(each, number, work)
            objects.append(path)
            constants |= used
        (work / "kernels.inc").write_text(_table(found, constants), encoding="utf-8")
        objects += [_compile("CC", "cc", _SOURCE, work), _compile("CXX", "c++", _runtime(), work)]
        linked = ("-shared", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,now", "-s", "-lm")
        _run([_compiler("CC", "cc"), *map(str, objects), *linked, "-o", str(work / target.name)])
        target.write_bytes((work / target.name).read_bytes())
    (folder / "LICENSE.numba").write_text(_license(), encoding="utf-8")
    (folder / MADE_FOR).write_text(json.dumps(made_for(), indent=1) + "\n", encoding="utf-8")
    return target


def _specializations(cache: Path) -> Iterator[Specialization]:
    """All that a cache has of what Python calls."""
    lines: dict[str, str] = {}
    for index in sorted(cache.glob("pricegrid.*/*.nbi")):
        if index.stem.endswith("callee"):
            continue
        with index.open("rb") as file:
            pickle.load(file)  # the version of numba, which named the folder  # noqa: S301
            _, files = pickle.loads(file.read())  # noqa: S301 - made here
        for name in files.values():
            library, what, environment, signature, *_, referenced = pickle.loads(  # noqa: S301
                index.with_name(name).read_bytes()
            )
            kernel = f"{what.modname}.{what.qualname}"
            if lines.setdefault(kernel, index.stem) != index.stem:
                raise RuntimeError(f"{kernel} is defined twice: kernels are found by their names")
            yield Specialization(
                kernel,
                signature.args,
                library[2][1],
                what.llvm_cpython_wrapper_name,
                {each.env_name: each.consts for each in (environment, *referenced)},
            )


def _emit(one: Specialization, number: int, work: Path) -> tuple[Path, dict[str, list[Any]]]:
    """Writes the machine code of a kernel, with names that no other has; also the constants that it uses."""
    module = binding.parse_bitcode(one.code)
    for function in module.functions:
        if function.name == one.function:
            function.linkage, function.visibility = "external", "hidden"
            function.name = f"kernel_{number}"
        elif not function.is_declaration:
            function.linkage = "internal"
    named, used = Counter(re.findall(rf"@({_ENVIRONMENT}\w+)", str(module))), dict[str, list[Any]]()
    for variable in module.global_variables:
        if named[name := variable.name] > 1:  # not only defined
            if name not in one.constants:
                raise RuntimeError(f"{one.kernel} needs constants that its cache has not: {name}")
            variable.linkage, variable.visibility = "external", "hidden"
            variable.name = f"constants_{number}_{len(used)}"
            used[variable.name] = one.constants[name]
        elif name.startswith(_ENVIRONMENT):
            variable.linkage = "internal"
    module.verify()
    path = work / f"kernel_{number}.o"
    path.write_bytes(_machine().emit_object(module))
    return path, used


def _machine() -> Any:
    """As numba compiles for `generic`, but for code that may lie anywhere."""
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine("generic", "", 3, reloc="pic", codemodel="default")


@dataclass(slots=True)
class _Types:
    """The types of arguments as C has them."""

    lines: list[str] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    def array_of(self, each: Iterable[Any]) -> str:
        """The name of an array of types."""
        text = ", ".join(map(self._one, each))
        if text not in self._names:
            self._names[text] = f"types_{len(self._names)}"
            self.lines.append(f"static const Type {self._names[text]}[] = {{{text or '{0}'}}};")
        return self._names[text]

    def _one(self, of: Any) -> str:
        if isinstance(of, types.Bytes):
            return "{'y'}"
        if isinstance(of, types.Array) and of.layout in "CA":
            flags = _READONLY * (not of.mutable) | _C_ORDER * (of.layout == "C") | _ALIGNED * of.aligned
            element = np.dtype(str(of.dtype))
            return f"{{'a', '{element.kind}', {element.itemsize}, {of.ndim}, {flags}}}"
        if isinstance(of, types.BaseTuple):
            members, named = [*cast(Any, of)], getattr(of, "instance_class", None)
            name = f'"{named.__name__}"' if named else "NULL"
            return f"{{'t', 0, 0, {len(members)}, 0, {self.array_of(members)}, {name}}}"
        if of in _SCALARS:
            return _SCALARS[of]
        raise RuntimeError(f"the extension has no door for {of}")


def _table(found: Sequence[Specialization], constants: Mapping[str, list[Any]]) -> str:
    """The C source that says which kernels and constants there are."""
    of_arguments, kernels = _Types(), dict[str, list[str]]()
    for number, one in enumerate(found):
        signature = f"{{kernel_{number}, {len(one.arguments)}, {of_arguments.array_of(one.arguments)}}}"
        kernels.setdefault(one.kernel, []).append(signature)
    return "\n".join(
        [
            *(
                f"PyObject *kernel_{number}(PyObject *, PyObject *, PyObject *);"
                for number in range(len(found))
            ),
            *(f"extern void *{variable};" for variable in constants),
            *of_arguments.lines,
            "static const Constants all_constants[] = {",
            *(f"    {{&{variable}, {_pickled(values)}}}," for variable, values in constants.items()),
            "};\nstatic const Kernel all_kernels[] = {",
            *(
                f'    {{"{name}", {len(signatures)}, (const Signature[]){{{", ".join(signatures)}}}}},'
                for name, signatures in kernels.items()
            ),
            "};\n",
        ]
    )


def _pickled(values: list[Any]) -> str:
    """A string of C, and its length."""
    if not all(isinstance(each, (np.dtype, type(None))) for each in values):
        raise RuntimeError(f"a kernel has constants that the extension can't give: {values}")
    pickled = pickle.dumps(values, protocol=4)
    return '"' + "".join(f"\\{byte:03o}" for byte in pickled) + f'", {len(pickled)}'


def _runtime() -> Path:
    return _NUMBA / "core" / "runtime" / "nrt.cpp"


def _compile(variable: str, default: str, source: Path, work: Path) -> Path:
    made = work / f"{source.stem}_{source.suffix[1:]}.o"
    includes = [sysconfig.get_path("include"), np.get_include(), str(_NUMBA), str(work)]
    options = [*_SMALL, *(f"-I{folder}" for folder in includes), "-w", "-c", str(source), "-o", str(made)]
    _run([_compiler(variable, default), *options])
    return made


def _compiler(variable: str, default: str) -> str:
    return os.environ.get(variable) or default


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise RuntimeError(
            f"the extension takes a compiler, and {command[0]} can't be run: {error}"
        ) from None
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


def _license() -> str:
    """Of numba, since its sources are in the extension."""
    texts = [
        Path(str(file.locate())).read_text(encoding="utf-8")
        for file in distribution("numba").files or ()
        if re.search(r"\.dist-info/(licenses/)?LICENSE$", str(file))
    ]
    if not texts:
        raise RuntimeError("numba's license is not installed with it: the extension has to carry it")
    return texts[0]


if (
    __name__ == "__main__"
):  # DIR: of whatever the cache has; `pricegrid kernels build --extension` fills one before
    use_kernel_cache(os.environ)
    sys.stdout.write(f"{link_extension(Path(os.environ['NUMBA_CACHE_DIR']), Path(sys.argv[1]))}\n")
