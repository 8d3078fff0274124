"""The inner loop of a matrix product: a tile of inner products, summed in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from backbones.compiled.jit import intrinsic, types

# Of a tile: the sums fill twelve registers of eight numbers, or six of sixteen.
ROWS, COLUMNS = 6, 16


@intrinsic
def tile(typing: Any, rows: Any, columns: Any, width: Any, out: Any, pitch: Any) -> Any:
    """Inner products of 6 vectors with 16 of `width` >= 1 numbers, summed in order with fused adds.

    `rows` is the address of (6, width), `columns` that of (width, 16); the row of `out` (6, pitch)
    that belongs to a vector receives 16 numbers. Written in the compiler's own language: loops over
    arrays keep their sums in memory.
    """
    single, whole = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, COLUMNS)

    def generate(_: Any, builder: ir.IRBuilder, __: Any, given: Any) -> Any:
        first, lines, count, into, step = given
        a, b = (
            builder.inttoptr(first, single.as_pointer()),
            builder.inttoptr(lines, vector.as_pointer()),
        )
        name = f"llvm.fma.v{COLUMNS}f32"
        # declared once a module, which several tiles may share
        fma = builder.module.globals.get(name)
        fma = fma or ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        starts = [builder.gep(a, [builder.mul(count, whole(i))]) for i in range(ROWS)]
        # The loop runs at least once (width >= 1), so it is tested at its end only.
        before, body, after = (
            builder.block,
            builder.append_basic_block("body"),
            builder.append_basic_block("after"),
        )
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(whole)
        # Sums as phi nodes live in registers. Each adds in order of index, wherever its tile lies,
        # so that an image's bits depend neither on its batch nor on the thread.
        sums = [builder.phi(vector) for _ in range(ROWS)]
        # align=4: the caller's addresses need not be those of whole vectors
        line = builder.load(builder.gep(b, [index]), align=4)
        new = []
        for start, total in zip(starts, sums, strict=True):
            number = builder.load(builder.gep(start, [index]), align=4)
            spread = builder.insert_element(
                ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0)
            )
            spread = builder.shuffle_vector(
                spread,
                ir.Constant(vector, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), None),
            )
            new.append(builder.call(fma, [spread, line, total]))
        following = builder.add(index, whole(1))
        index.add_incoming(whole(0), before)
        index.add_incoming(following, body)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(ir.Constant(vector, None), before)
            total.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)
        for i, value in enumerate(new):
            place = builder.add(into, builder.mul(step, whole(4 * i)))
            builder.store(value, builder.inttoptr(place, vector.as_pointer()), align=4)

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate
