"""A snapshot's thirty arrays behind one pointer: what the kernels take as `m`.

`matrix_of` reads the list of addresses that `columnar.tables.describe` made of a `Matrix`. `m.books` is then a table,
made of its address and rows where it is used; the columns are known when a kernel is compiled. Passed as a tuple of
arrays instead, each would be reference-counted on every call: in a stack of twelve books that cost 178 microseconds a
line instead of 1.1. The kernels also compile for a `Matrix` of plain arrays, whose bounds numba can check.
"""

from typing import Any

import numpy as np

from pricegrid.columnar.jit import (
    AttributeTemplate,
    cgutils,
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
    types,
)
from pricegrid.columnar.tables import TableType, new_table
from pricegrid.pricing_engine.arrays.matrix import DTYPES, TABLES, Matrix


class MatrixType(types.Type):
    """A pointer to the descriptor of a `Matrix`: address, rows and columns of each of its arrays."""

    def __init__(self) -> None:
        super().__init__("MatrixPointer")


@register_model(MatrixType)
class _MatrixModel(models.StructModel):
    def __init__(self, manager: Any, matrix: MatrixType) -> None:
        super().__init__(manager, matrix, [("descriptor", types.CPointer(types.int64))])


@intrinsic
def _matrix_of(_: Any, descriptor: Any) -> Any:
    matrix = MatrixType()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        value = cgutils.create_struct_proxy(matrix)(context, builder)
        value.descriptor = array.data
        return value._getvalue()  # noqa: SLF001 - numba's own name for it

    return matrix(descriptor), codegen


# numba passes the typing context itself: to a type checker this takes the descriptor
matrix_of: Any = _matrix_of
"""The matrix of a descriptor, (arrays, 3) int64."""


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
    return new_table(context, builder, table, builder.inttoptr(address, cgutils.voidptr_t), rows, columns)
