"""Words that one process writes while others read them: loads and stores the compiler and the processor keep in order.

Without them a compiler may load a word once and never look again, and some processors show stores out of order.
"""

from typing import Any

from pricegrid.columnar.jit import intrinsic, types


def _word(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any) -> Any:
    value = context.make_array(array_type)(context, builder, array)
    at = context.cast(builder, index, index_type, types.intp)
    return builder.gep(value.data, [at], inbounds=True)


@intrinsic
def _load(_: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = _word(context, builder, signature.args[0], args[0], signature.args[1], args[1])
        return builder.load_atomic(word, ordering="acquire", align=8)

    return types.int64(array, index), codegen


@intrinsic
def _store(_: Any, array: Any, index: Any, new: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = _word(context, builder, signature.args[0], args[0], signature.args[1], args[1])
        value = context.cast(builder, args[2], signature.args[2], types.int64)
        builder.store_atomic(value, word, ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(array, index, new), codegen


@intrinsic
def _fence(_: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


# numba passes the typing context itself: to a type checker these take the other arguments
load_acquire: Any = _load
"""`load_acquire(words, index)`: a word of a one-dimensional int64 array; nothing after it is read before it."""
store_release: Any = _store
"""`store_release(words, index, value)`: nothing before it is written after it."""
fence: Any = _fence
"""`fence()`: nothing is moved across it."""
