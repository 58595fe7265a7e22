"""The operators of ONNX as methods, for editors and type checkers only: irkit/typed_ops.pyi declares them.

At run time a builder or a pattern answers every operator's name itself.
"""


class TypedBuilder:
    """Operators that make nodes."""


class TypedPattern:
    """Operators that describe nodes."""


class TypedMlBuilder:
    """Operators of ai.onnx.ml that make nodes."""


class TypedMlPattern:
    """Operators of ai.onnx.ml that describe nodes."""
