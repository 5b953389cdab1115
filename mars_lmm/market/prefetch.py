"""The CPU's instruction to fetch memory before it is needed."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

FOR_WRITING, KEEP_IN_ALL_CACHES, DATA = 1, 3, 1  # llvm.prefetch's arguments


@intrinsic
def prefetch(typingctx, array, index):
    """Fetch the cache line of element `index` of a contiguous one-dimensional array; it may lie outside."""

    def generate(context, builder, signature, arguments):
        pointer_type = ir.IntType(8).as_pointer()
        values = context.make_array(array)(context, builder, arguments[0])
        offset = builder.mul(arguments[1], values.itemsize)
        element = builder.gep(builder.bitcast(values.data, pointer_type), [offset])
        function_type = ir.FunctionType(ir.VoidType(), [pointer_type] + [ir.IntType(32)] * 3)
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0i8")
        options = [ir.IntType(32)(option) for option in (FOR_WRITING, KEEP_IN_ALL_CACHES, DATA)]
        builder.call(function, [element, *options])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
