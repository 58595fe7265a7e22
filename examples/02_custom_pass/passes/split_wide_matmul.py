"""A MatMul or Gemm with many outputs, such as a projection onto a vocabulary, is split into narrower ones.

A layer has to fit into one part of the chip. 51865 outputs, as Whisper has words, do not; users split them in four:

    MatMul(x, w)  =  Concat(MatMul(x, w[:, :n]), MatMul(x, w[:, n:2n]), ...)

Each output is the same sum of the same products, so nothing changes but float noise.
"""

import numpy as np

import irkit


class SplitMatMul(irkit.Rule):
    """MatMul with a constant matrix on its right."""

    def pattern(self, op, x, w):
        return op.MatMul(x, w.constant().rank(2))

    def replace(self, op, x, w, options):
        weights = split(w.constant.numpy(), options)
        return joined(op, [op.MatMul(x, piece) for piece in weights], -1)


class SplitGemm(irkit.Rule):
    """Gemm with constant weights, and with or without a constant bias."""

    def pattern(self, op, x, w, b):
        return op.Gemm(x, w.constant().rank(2), op.maybe(b.constant())).named("gemm")

    def replace(self, op, x, w, b, gemm, options):
        axis = 0 if gemm.attr("transB", 0) else 1
        weights = split(w.constant.numpy(), options, axis)
        operands = [(x, piece) for piece in weights]
        if b is not None:
            row = np.broadcast_to(b.constant.numpy(), (*b.shape[:-1], w.shape[axis]))
            operands = [(*both, bias) for both, bias in zip(operands, split(row, options), strict=True)]
        return joined(op, [op.Gemm(*each, **gemm.attrs) for each in operands], 1)


def split(array, options, axis=-1):
    """The array in as many pieces as asked for, or in more where one would still be too wide."""
    width = array.shape[axis]
    count = max(options.parts, -(-width // options.widest)) if width > options.widest else 1
    return [np.ascontiguousarray(piece) for piece in np.array_split(array, count, axis)]


def joined(op, pieces, axis):
    if len(pieces) == 1:
        return irkit.refuse("it is narrow enough")
    return op.Concat(*pieces, axis=axis)


@irkit.define_pass("split-wide-matmul", effect="exact")
class SplitWideMatMul(irkit.RewritePass):
    """Split MatMul and Gemm with more outputs than `widest` into `parts`."""

    parts: int = 4
    widest: int = 16384

    rules = (SplitMatMul, SplitGemm)
