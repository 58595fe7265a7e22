"""Operators in numpy: what constant folding computes with. `irkit.fold` is the door; nobody else calls kernels.

call.py         what a kernel sees of a node; the table of kernels
moving.py       operators that only move elements: they work on every element type, and keep splats
indexing.py     gather, scatter, and operators that make indices
elementwise.py  element by element: exact, or correctly rounded from float64
reducing.py     sums, products, matrix products and soft maxima
"""

from irkit.kernels import elementwise, indexing, moving, reducing  # noqa: F401  (they fill the table)
from irkit.kernels.call import (
    KERNELS as KERNELS,
    Call as Call,
    CannotEvaluate as CannotEvaluate,
    Exactness as Exactness,
    Kernel as Kernel,
)
