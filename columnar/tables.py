"""Memory as kernels pass it around: a table is a pointer with its shape, and is not reference-counted.

numba counts a NumPy array on every call between compiled functions that are not merged; for thirty of them that costs
more than a lookup. A *table* is the same memory without the counting. Kernels are written once against the common part
of both (`rows[row, column]`, `len(rows)`): for tables in service, and for arrays, whose bounds numba can check, in
tests and in the decoder. Whoever makes a table keeps its array alive.
"""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.jit import (
    AbstractTemplate,
    cgutils,
    infer_global,
    intrinsic,
    ir,
    lower_builtin,
    models,
    overload,
    register_model,
    signature,
    types,
)


class TableType(types.Type):
    """Memory of one or two dimensions, C order."""

    def __init__(self, dtype: types.Type, ndim: int, width: int = 0) -> None:
        self.dtype = dtype
        self.ndim = ndim
        self.width = width
        """Columns, where the kernel knows them when it is compiled; else 0."""
        super().__init__(f"Table({dtype}, {ndim}, {width})")


@register_model(TableType)
class _TableModel(models.StructModel):
    def __init__(self, manager: Any, table: TableType) -> None:
        members = [("data", types.voidptr), ("rows", types.int64), ("columns", types.int64)]
        super().__init__(manager, table, members)


def describe(arrays: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """Address, rows and columns of arrays in C order, (arrays, 3) int64; valid as long as they are alive."""
    rows = [(each.ctypes.data, len(each), each.shape[1] if each.ndim == 2 else 1) for each in arrays]
    return np.array(rows, dtype=np.int64)


def new_table(context: Any, builder: Any, table: TableType, data: Any, rows: Any, columns: Any) -> Any:
    """A table as a value of the code that numba generates."""
    value = cgutils.create_struct_proxy(table)(context, builder)
    value.data, value.rows, value.columns = data, rows, columns
    return value._getvalue()  # noqa: SLF001 - numba's own name for it


def _parts(context: Any, builder: Any, table: TableType, value: Any) -> Any:
    return cgutils.create_struct_proxy(table)(context, builder, value=value)


def _element(context: Any, builder: Any, table: TableType, parts: Any, index: Any) -> Any:
    kind = context.get_data_type(table.dtype).as_pointer()
    return builder.gep(builder.bitcast(parts.data, kind), [index])


@intrinsic
def _table_of(_: Any, array: Any) -> Any:
    table = TableType(array.dtype, array.ndim)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.make_array(signature.args[0])(context, builder, args[0])
        shape = cgutils.unpack_tuple(builder, value.shape)
        columns = shape[1] if array.ndim == 2 else context.get_constant(types.int64, 1)
        data = builder.bitcast(value.data, cgutils.voidptr_t)
        return new_table(context, builder, table, data, shape[0], columns)

    return table(array), codegen


# numba passes the typing context itself: to a type checker these take the other arguments
table_of: Any = _table_of
"""A one- or two-dimensional array in C order as a table."""


def _address(context: Any, builder: Any, table: TableType, parts: Any, kinds: Any, index: Any) -> Any:
    """Of an element, by its row, or by its row and its column."""
    row, *columns = (
        context.cast(builder, each, kind, types.int64) for each, kind in zip(index, kinds, strict=True)
    )
    at = builder.mul(row, parts.columns)
    return _element(context, builder, table, parts, builder.add(at, columns[0]) if columns else at)


# What numba knows `len(table)`, `table[index]` and `table[index] = value` by. An overload in Python would be compiled,
# and optimised, by itself for each kind of table and of index, and again for each kind of kernel.
@infer_global(len)
class _LenOf(AbstractTemplate):
    def generic(self, args, kws):  # type: ignore[no-untyped-def]  # noqa: ARG002
        return signature(types.int64, *args) if isinstance(args[0], TableType) else None


@lower_builtin(len, TableType)
def _lower_len(context, builder, sig, args):  # type: ignore[no-untyped-def]
    return _parts(context, builder, sig.args[0], args[0]).rows


@infer_global(operator.getitem)
class _ItemOf(AbstractTemplate):
    def generic(self, args, kws):  # type: ignore[no-untyped-def]  # noqa: ARG002
        table, index = args
        if not isinstance(table, TableType):
            return None
        is_row = table.ndim == 2 and not isinstance(index, types.BaseTuple)
        return signature(TableType(table.dtype, 1) if is_row else table.dtype, *args)


@lower_builtin(operator.getitem, TableType, types.Integer)
@lower_builtin(operator.getitem, TableType, types.BaseTuple)
def _lower_item(context, builder, sig, args):  # type: ignore[no-untyped-def]
    table, index = sig.args
    parts = _parts(context, builder, table, args[0])
    address = _address(context, builder, table, parts, *_unpacked(builder, index, args[1]))
    if not isinstance(sig.return_type, TableType):
        return builder.load(address)
    data, one = builder.bitcast(address, cgutils.voidptr_t), context.get_constant(types.int64, 1)
    return new_table(context, builder, sig.return_type, data, parts.columns, one)


@infer_global(operator.setitem)
class _NewItemOf(AbstractTemplate):
    def generic(self, args, kws):  # type: ignore[no-untyped-def]  # noqa: ARG002
        return signature(types.void, *args) if isinstance(args[0], TableType) else None


@lower_builtin(operator.setitem, TableType, types.Integer, types.Any)
@lower_builtin(operator.setitem, TableType, types.BaseTuple, types.Any)
def _lower_new_item(context, builder, sig, args):  # type: ignore[no-untyped-def]
    table, index, kind = sig.args
    parts = _parts(context, builder, table, args[0])
    address = _address(context, builder, table, parts, *_unpacked(builder, index, args[1]))
    if isinstance(kind, TableType):  # a row, copied
        source = _parts(context, builder, kind, args[2])
        with cgutils.for_range(builder, source.rows) as loop:
            value = builder.load(_element(context, builder, kind, source, loop.index))
            value = context.cast(builder, value, kind.dtype, table.dtype)
            builder.store(value, builder.gep(address, [loop.index]))
    else:
        builder.store(context.cast(builder, args[2], kind, table.dtype), address)
    return context.get_dummy_value()


def _unpacked(builder: Any, index: Any, value: Any) -> Any:
    """The types and the values of an index: one number, or a pair of them."""
    is_pair = isinstance(index, types.BaseTuple)
    return (tuple(index), cgutils.unpack_tuple(builder, value)) if is_pair else ((index,), (value,))


def _row_address(context: Any, builder: Any, rows: Any, value: Any, row: Any) -> Any:
    """Where a row of a table or of an array in C order begins."""
    if isinstance(rows, TableType):
        parts = _parts(context, builder, rows, value)
        return _element(context, builder, rows, parts, builder.mul(row, parts.columns))
    array = context.make_array(rows)(context, builder, value)
    shape = cgutils.unpack_tuple(builder, array.shape)
    return builder.gep(array.data, [builder.mul(row, shape[1]) if rows.ndim == 2 else row])


@intrinsic
def _fetch(_: Any, rows: Any, row: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.int64)
        address = _row_address(context, builder, signature.args[0], args[0], at)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        hints = (ir.Constant(ir.IntType(32), hint) for hint in (0, 3, 1))  # to read, into all caches, data
        builder.call(prefetch, [builder.bitcast(address, cgutils.voidptr_t), *hints])
        return context.get_dummy_value()

    return types.void(rows, row), codegen


fetch: Any = _fetch
"""`fetch(rows, row)`: begin to bring the first cache line of a row of a table or array into the cache, and go on.
Nothing is read, so the row need not exist."""


@intrinsic
def _store_word(_: Any, table: Any, at: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        place = builder.bitcast(_element(context, builder, table, parts, index), ir.IntType(64).as_pointer())
        builder.store(context.cast(builder, args[2], signature.args[2], types.int64), place, align=1)
        return context.get_dummy_value()

    return types.void(table, at, word), codegen


@intrinsic
def _load_word(_: Any, table: Any, at: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        place = builder.bitcast(_element(context, builder, table, parts, index), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.int64(table, at), codegen


_store_word_at: Any = _store_word
_load_word_at: Any = _load_word


def store_word(table: Any, at: Any, word: Any) -> None:
    """Write the eight bytes of an int64, the lowest first, from an index of a u8 table or array on."""
    table[at : at + 8] = np.frombuffer(int(word).to_bytes(8, "little", signed=True), np.uint8)


def load_word(table: Any, at: Any) -> Any:
    """Eight bytes of a u8 table or array as an int64, the lowest first."""
    return int.from_bytes(table[at : at + 8].tobytes(), "little", signed=True)


# compiled code calls one of these instead; interpreted code the two above
@overload(store_word)
def _store_word_of(table, at, word):  # type: ignore[no-untyped-def]  # noqa: ARG001 - it stands for `store_word`
    if isinstance(table, TableType):
        return lambda table, at, word: _store_word_at(table, at, word)  # noqa: PLW0108 - numba wants a function

    def bytewise(table, at, word):  # type: ignore[no-untyped-def]
        for i in range(8):
            table[at + i] = np.uint8((word >> (8 * i)) & 255)

    return bytewise


@overload(load_word)
def _load_word_of(table, at):  # type: ignore[no-untyped-def]  # noqa: ARG001 - it stands for `load_word`
    if isinstance(table, TableType):
        return lambda table, at: _load_word_at(table, at)  # noqa: PLW0108

    def bytewise(table, at):  # type: ignore[no-untyped-def]
        word = np.int64(0)
        for i in range(8):
            word |= np.int64(table[at + i]) << (8 * i)
        return word

    return bytewise
