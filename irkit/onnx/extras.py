"""What the reader keeps of a file beyond what the IR models, so that the writer can put it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from irkit.ir import Lazy, NodeExtra, Value
from irkit.onnx import wire
from irkit.onnx.typeinfo import TypeInfo
from irkit.onnx.wire import Piece, fields
from irkit.tensor import SparseTensor, Tensor


class LazyExtra:
    """Rare fields of a NodeProto as encoded.

    `raw` holds what goes before the name (an empty name that is spelled out), before the domain (doc string, an empty
    domain) and after it.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: tuple[bytes, bytes, bytes]) -> None:
        self.raw = raw

    def decode(self) -> NodeExtra:
        """The same, decoded."""
        data = b"".join(self.raw)
        texts = {0x32: "", 0x42: ""}
        metadata: dict[str, str] = {}
        unknown = b""
        for item in fields(data, 0, len(data)):
            if item.tag in texts:
                texts[item.tag] = wire.text(data, item.value, item.end)
            elif item.tag == 0x4A:
                key, value = wire.entry(data, item.value, item.end)
                metadata[key] = value
            elif item.tag not in (0x1A, 0x3A):
                unknown += data[item.begin : item.end]
        return NodeExtra(texts[0x32], metadata, texts[0x42], unknown)


def encode_extra(extra: NodeExtra | Lazy | None) -> tuple[bytes, bytes, bytes]:
    """The rare fields of a NodeProto, as `LazyExtra.raw` has them."""
    if extra is None:
        return b"", b"", b""
    if isinstance(extra, LazyExtra):
        return extra.raw
    assert isinstance(extra, NodeExtra)
    rest = wire.string(8, extra.overload) + wire.entries(9, extra.metadata.items()) + extra.unknown
    return b"", wire.string(6, extra.doc), rest


@dataclass
class Annotation:
    """A TensorAnnotation. It names values: it follows their renaming, stays with a name that another value took, and
    goes where neither value nor name is left.

    Attributes: `raw`, the encoded form; `values`, what it names, with the names of the time it was read.
    """

    raw: bytes
    values: list[tuple[str, Value]]


@dataclass
class GraphExtra:
    """What a GraphProto, or a function's body, says beyond the IR.

    Attributes:
        inputs: initializers the file listed among the inputs though they are constants (IR version below 4), with the
            position each had.
        unlisted: initializers such a file did not list.
        infos: recorded types in the order of the file: a value, or name and type where the name is no ordinary value.
        declared: what was recorded for each output, by name: it goes on for a new value that takes the name.
        outputs: what was recorded for an output that has another type as a value of the graph.
        originals: data of initializers as read, where the file also declares a type for them.
        present: numbers of text fields that are there but empty.
        unknown: encoded fields.
    """

    inputs: dict[int, Value] = field(default_factory=dict)
    unlisted: set[Value] = field(default_factory=set)
    infos: list[Value | tuple[str, TypeInfo]] = field(default_factory=list)
    declared: dict[str, TypeInfo] = field(default_factory=dict)
    outputs: dict[Value, TypeInfo] = field(default_factory=dict)
    originals: dict[Value, Tensor | SparseTensor] = field(default_factory=dict)
    annotations: list[Annotation] = field(default_factory=list)
    present: frozenset[int] = frozenset()
    unknown: bytes = b""


@dataclass
class ModelExtra:
    """What a ModelProto, or a FunctionProto, says beyond the IR.

    Attributes:
        opsets: the imports as read, and their encoded form.
        rest: training information, device configurations and unknown fields, each encoded, by field number.
        present: numbers of fields that are there but empty or zero.
        metadata: metadata of a function.
    """

    opsets: tuple[Mapping[str, int], bytes] = field(default_factory=lambda: ({}, b""))
    rest: list[tuple[int, Piece]] = field(default_factory=list)
    present: frozenset[int] = frozenset()
    metadata: dict[str, str] = field(default_factory=dict)
