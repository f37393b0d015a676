"""Kernels that call each other are compiled as one: where Python calls them.

numba compiles what a kernel calls as if Python called it as well: with a wrapper that takes every array out of its
Python object, and as machine code; and then anew, merged into each caller. Here a kernel that another one calls is kept
as code to be merged: a clone compiles in less than half of the time. It is optimised by itself before, or not if it is
merged into callers anyway: quotes of 100 lines take 5 % more time if none is.

Nor does a kernel count references to arrays that it neither makes nor hands over: its caller holds them. That makes an
order of 200 lines three to five times as fast: a tuple of sixty arrays was counted up and down at every call.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

from llvmlite import binding
from numba.core import config, ir, sigutils, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder, Flags, compile_result
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import AnnotateTypes, DumpParforDiagnostics, InlineOverloads, NopythonRewrites
from numba.core.untyped_passes import (
    InlineClosureLikes,
    InlineInlinables,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    WithLifting,
)


def dispatch(function: Callable[..., Any], *, is_optimised: bool = True, **options: Any) -> Any:
    """What `numba.njit(cache=True, **options)` makes of a function, but for what it is to other kernels: optimised by
    itself or only as a part of theirs."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    targetoptions = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True, **options}
    dispatcher = KernelDispatcher(function, targetoptions=targetoptions, pipeline_class=_KernelCompiler)
    dispatcher.callee_compiler = _CalleeCompiler if is_optimised else _PartCompiler
    dispatcher.enable_caching()
    return dispatcher


_NOT_NEEDED: Final = {
    AnnotateTypes,
    DumpParforDiagnostics,
    InlineClosureLikes,
    InlineInlinables,
    InlineOverloads,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    NopythonRewrites,
    WithLifting,
}
"""Passes of numba's that look through a kernel for what none has: `with`, closures, expressions of whole arrays, calls
that are inlined before LLVM. A kernel that has one is refused, or does without what the pass would have made of it."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _ArraysAreBorrowed(AnalysisPass):
    """Leaves the counting of references out where no array is made, taken from a call or handed over.

    numba refuses to compile what needs memory of its own without the counting: nothing can leak.
    """

    _name = "arrays_are_borrowed"

    def __init__(self) -> None:  # numba makes one, and the method is abstract there
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        models, kept = state.targetctx.data_model_manager, [state.return_type]
        for block in state.func_ir.blocks.values():
            kept += [state.calltypes[call].return_type for call in block.find_exprs(op="call")]
            # a copy from array to array goes through memory of its own, since they may overlap
            kept += [
                state.typemap[item.value.name] for item in block.find_insts((ir.SetItem, ir.StaticSetItem))
            ]
        if not any(models[each].contains_nrt_meminfo() for each in kept):
            state.targetctx = state.targetctx.subtarget(enable_nrt=False)
        return False


class _SharedFlags(Flags):
    """Flags that stay as they are. numba asks with them for what stands for each operation, which compares all of them,
    some thousand times a kernel: an eighth of the time that it took to compile one."""

    __slots__ = ("_own_hash",)

    def __init__(self, copy_from: Flags) -> None:
        super().__init__(copy_from)
        self._own_hash: int = super().__hash__()

    def __hash__(self) -> int:
        return self._own_hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    def copy(self) -> "_SharedFlags":
        """Itself."""
        return self


_FLAGS: Final[dict[_SharedFlags, _SharedFlags]] = {}


class _KernelCompiler(Compiler):
    def define_pipelines(self) -> Any:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ArraysAreBorrowed, AnnotateTypes)
        passes.passes = [each for each in passes.passes if each[0] not in _NOT_NEEDED]
        passes.finalize()
        return [passes]

    def _compile_core(self) -> Any:
        flags = _SharedFlags(self.state.flags)
        self.state.flags = _FLAGS.setdefault(flags, flags)
        return super()._compile_core()


class KernelDispatcher(CPUDispatcher):
    """What Python calls; to a kernel that calls it, it is its `callee`."""

    callee_compiler: type[Compiler]

    @functools.cached_property
    def callee(self) -> Any:
        """The same as other kernels take it."""
        return _Callee(self.py_func, targetoptions=self.targetoptions, pipeline_class=self.callee_compiler)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """How a kernel calls it: a constant is a number like any other, not a type to compile a copy for.

        The optimiser puts constants in where it merges; one kernel had twelve copies, most of them for a moment in
        which numba knew no more of a caller's loop variable than that it begins at 0.
        """
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return self.callee.get_call_template([types.unliteral(kind) for kind in args], plain)

    def get_overload(self, sig: Any) -> Any:
        """What a kernel calls."""
        return self.callee.get_overload(sig)

    def add_overload(self, cres: Any) -> None:
        """Takes in what was compiled, with the environments of its callees, which have no machine code to keep them."""
        super().add_overload(cres)
        if cres.metadata is not None:  # not from the cache, where numba does this
            for environment in cres._find_referenced_environments():  # noqa: SLF001
                cres.codegen.set_env(environment.env_name, environment)


class _Callee(CPUDispatcher):
    """A kernel for other kernels: no machine code."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cache = _CalleeCache(self.py_func)

    @global_compiler_lock
    def compile(self, sig: Any) -> Any:
        """What the target context knows it by."""
        args, return_type = sigutils.normalize_signature(sig)
        with self._compiling_counter:
            if args not in self.overloads:
                found = self._cache.load_overload(sig, self.targetctx)
                result = found or self._compiler.compile(args, return_type)  # type: ignore[attr-defined]
                result = result._replace(entry_point=object())
                self.targetctx.insert_user_function(result.entry_point, result.fndesc, [result.library])
                self.overloads[args] = result
                if found is None:
                    self._cache.save_overload(sig, result)
        return self.overloads[args].entry_point  # type: ignore[attr-defined]


class _Code(JITCodeLibrary):
    """To be linked into that of callers."""

    @classmethod
    def from_bitcode(cls, codegen: Any, name: str, bitcode: bytes) -> "_Code":
        """What `serialize_using_bitcode` wrote."""
        library = cls(codegen, name)
        library._final_module = binding.parse_bitcode(bitcode)
        library._finalize_final_module()
        return library

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def serialize_using_object_code(self) -> Any:
        """As it is: there is no object code."""
        return self.serialize_using_bitcode()


class _UnoptimisedCode(_Code):
    def _optimize_final_module(self) -> None:
        pass


class _CalleeCompiler(_KernelCompiler):
    library_class: type[_Code] = _Code

    def compile_extra(self, func: Any) -> Any:
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        self.state.library = self.library_class(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class _PartCompiler(_CalleeCompiler):
    library_class = _UnoptimisedCode


class _CalleeCacheImpl(CompileResultCacheImpl):
    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}callee"

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        (
            (name, _, bitcode),
            fndesc,
            environment,
            signature,
            objectmode,
            lifted,
            annotation,
            reload_init,
            others,
        ) = payload
        for initialise in reload_init:
            initialise()
        return compile_result(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=_Code.from_bitcode(target_context.codegen(), name, bitcode),
            environment=environment,
            fndesc=fndesc,
            type_annotation=annotation,
            signature=signature,
            objectmode=objectmode,
            lifted=lifted,
            reload_init=reload_init,
            referenced_envs=others,
        )


class _CalleeCache(FunctionCache):
    _impl_class = _CalleeCacheImpl
