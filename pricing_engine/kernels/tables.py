"""Arrays as the kernels pass them around: a pointer with its shape, and all of a snapshot behind one pointer.

A NumPy array or a tuple of arrays is counted on every call between compiled functions: for the thirty arrays of a
`Matrix` that costs more than the lookup. A *table* is the same memory without the counting. Kernels are written once,
against the common part (`m.books[row, column]`, `len(m.books)`), and compile for both: for tables in service, and for
plain arrays, whose bounds numba can check, in tests and in the decoder.

Whoever makes a table keeps its array alive.
"""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, overload, register_model
from numpy.typing import NDArray

from pricegrid.pricing_engine.arrays.matrix import DTYPES, TABLES, Matrix


class TableType(types.Type):
    """Memory of one or two dimensions, C order."""

    def __init__(self, dtype: types.Type, ndim: int, width: int = 0) -> None:
        self.dtype = dtype
        self.ndim = ndim
        self.width = width
        """Columns, where the kernel knows them when it is compiled; else 0."""
        super().__init__(f"Table({dtype}, {ndim}, {width})")


class MatrixType(types.Type):
    """A pointer to the descriptor of a `Matrix`: address, rows and columns of each of its arrays."""

    def __init__(self) -> None:
        super().__init__("MatrixPointer")


@register_model(TableType)
class _TableModel(models.StructModel):
    def __init__(self, manager: Any, table: TableType) -> None:
        members = [("data", types.voidptr), ("rows", types.int64), ("columns", types.int64)]
        super().__init__(manager, table, members)


@register_model(MatrixType)
class _MatrixModel(models.StructModel):
    def __init__(self, manager: Any, matrix: MatrixType) -> None:
        super().__init__(manager, matrix, [("descriptor", types.CPointer(types.int64))])


def describe(arrays: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """The descriptor of a matrix, or of other arrays in C order, (arrays, 3) int64; valid as long as they are alive."""
    rows = [(each.ctypes.data, len(each), each.shape[1] if each.ndim == 2 else 1) for each in arrays]
    return np.array(rows, dtype=np.int64)


def _new(context: Any, builder: Any, table: TableType, data: Any, rows: Any, columns: Any) -> Any:
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
        return _new(context, builder, table, data, shape[0], columns)

    return table(array), codegen


@intrinsic
def _matrix_of(_: Any, descriptor: Any) -> Any:
    matrix = MatrixType()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        value = cgutils.create_struct_proxy(matrix)(context, builder)
        value.descriptor = array.data
        return value._getvalue()  # noqa: SLF001 - numba's own name for it

    return matrix(descriptor), codegen


# numba passes the typing context itself: to a type checker these take the other arguments
table_of: Any = _table_of
matrix_of: Any = _matrix_of


def _table_type(name: str) -> TableType:
    dtype = types.int64 if name not in DTYPES else getattr(types, np.dtype(DTYPES[name]).name)
    return TableType(dtype, 2 if name in TABLES else 1, TABLES.get(name, 0))


@infer_getattr
class _MatrixAttributes(AttributeTemplate):
    key = MatrixType

    def generic_resolve(self, value: Any, attr: Any) -> Any:  # type: ignore[override]  # noqa: ARG002 - numba says None
        return _table_type(attr) if attr in Matrix._fields else None


@lower_getattr_generic(MatrixType)
def _get_table(context: Any, builder: Any, matrix: MatrixType, value: Any, name: str) -> Any:
    pointer = cgutils.create_struct_proxy(matrix)(context, builder, value=value).descriptor
    first = 3 * Matrix._fields.index(name)
    table = _table_type(name)
    address, rows = (
        builder.load(builder.gep(pointer, [context.get_constant(types.intp, first + i)])) for i in range(2)
    )
    columns = context.get_constant(types.int64, max(1, table.width))
    return _new(context, builder, table, builder.inttoptr(address, cgutils.voidptr_t), rows, columns)


@intrinsic
def _load(_: Any, table: Any, row: Any, column: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        row_at, column_at = (context.cast(builder, args[i], signature.args[i], types.int64) for i in (1, 2))
        index = builder.add(builder.mul(row_at, parts.columns), column_at)
        return builder.load(_element(context, builder, table, parts, index))

    return table.dtype(table, row, column), codegen


@intrinsic
def _store(_: Any, table: Any, row: Any, column: Any, new: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        row_at, column_at = (context.cast(builder, args[i], signature.args[i], types.int64) for i in (1, 2))
        index = builder.add(builder.mul(row_at, parts.columns), column_at)
        value = context.cast(builder, args[3], signature.args[3], table.dtype)
        builder.store(value, _element(context, builder, table, parts, index))
        return context.get_dummy_value()

    return types.void(table, row, column, new), codegen


@intrinsic
def _row(_: Any, table: Any, row: Any) -> Any:
    line = TableType(table.dtype, 1)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        at = context.cast(builder, args[1], signature.args[1], types.int64)
        start = _element(context, builder, table, parts, builder.mul(at, parts.columns))
        one = context.get_constant(types.int64, 1)
        return _new(context, builder, line, builder.bitcast(start, cgutils.voidptr_t), parts.columns, one)

    return line(table, row), codegen


@intrinsic
def _rows(_: Any, table: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return _parts(context, builder, table, args[0]).rows

    return types.int64(table), codegen


_load_at: Any = _load
_store_at: Any = _store
_row_at: Any = _row
_count: Any = _rows


@intrinsic
def _fetch(_: Any, table: Any, row: Any, column: Any) -> Any:
    """Begin to bring an element's cache line in, and go on: nothing is read, so the place need not exist."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _parts(context, builder, table, args[0])
        row_at, column_at = (context.cast(builder, args[i], signature.args[i], types.int64) for i in (1, 2))
        index = builder.add(builder.mul(row_at, parts.columns), column_at)
        place = builder.bitcast(_element(context, builder, table, parts, index), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(prefetch, [place, *(ir.Constant(ir.IntType(32), word) for word in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(table, row, column), codegen


_fetch_at: Any = _fetch


def fetch(table: Any, row: Any) -> None:
    """Begin to bring a row of a table into the cache; does nothing for an array."""


@overload(fetch)
def _fetch_row(table, row):  # type: ignore[no-untyped-def]  # noqa: ARG001 - it stands for `fetch`
    if not isinstance(table, TableType):
        return lambda table, row: None  # noqa: ARG005
    return lambda table, row: _fetch_at(table, row, 0)


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
    """Write the eight bytes of an int64, the lowest first, from a place of a u8 table or array on."""


def load_word(table: Any, at: Any) -> Any:
    """Eight bytes of a u8 table or array as an int64, the lowest first."""
    raise NotImplementedError  # kernels get one of the below


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


@overload(len)
def _len(table):  # type: ignore[no-untyped-def]
    if not isinstance(table, TableType):
        return None

    def implementation(table):  # type: ignore[no-untyped-def]
        return _count(table)

    return implementation


@overload(operator.getitem)
def _getitem(table, index):  # type: ignore[no-untyped-def]
    if not isinstance(table, TableType):
        return None
    if isinstance(index, types.BaseTuple):
        return lambda table, index: _load_at(table, index[0], index[1])
    if table.ndim == 1:
        return lambda table, index: _load_at(table, index, 0)

    def row(table, index):  # type: ignore[no-untyped-def]
        return _row_at(table, index)

    return row


@njit(cache=True)
def _copy(target, source):  # type: ignore[no-untyped-def]
    for i in range(len(source)):
        target[i] = source[i]


@overload(operator.setitem)
def _setitem(table, index, value):  # type: ignore[no-untyped-def]
    if not isinstance(table, TableType):
        return None
    if isinstance(index, types.BaseTuple):
        return lambda table, index, value: _store_at(table, index[0], index[1], value)
    if isinstance(value, TableType):
        return lambda table, index, value: _copy(table[index], value)
    return lambda table, index, value: _store_at(table, index, 0, value)
