"""The messages of a HEF, and a decoder for them.

Only the fields that are used are listed; the rest is skipped. HEF files come from strangers, so nesting, the number of
fields and the number of records that are kept are limited: no file makes the decoder slow or large.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from irkit.errors import ModelError
from irkit.onnx import wire

MAX_DEPTH = 40
MAX_FIELDS = 1_000_000
"""Fields looked at. What is many, the configuration of the chip, lies in few large fields that are skipped."""

MAX_RECORDS = 100_000

_SCALARS: Mapping[str, Any] = {"uint": 0, "int": 0, "bool": False, "text": "", "float": 0.0, "double": 0.0, "size": 0}
"""Kinds of fields with what a field that is left out stands for. `size`: bytes that are only counted."""

_WIRE = {"uint": 0, "int": 0, "bool": 0, "text": 2, "float": 5, "double": 1, "size": 2}
_PACKABLE = {"uint", "int", "bool", "float", "double"}


class FieldSpec(NamedTuple):
    """A field: its name, its kind (a scalar's or a message's name), whether it is repeated."""

    name: str
    kind: str
    repeated: bool


def _fields(text: str) -> dict[int, FieldSpec]:
    """`1 name:kind, 2 names:kind*` as specifications by number."""
    specs = {}
    for item in text.split(","):
        number, name, kind = item.replace(":", " ").split()
        specs[int(number)] = FieldSpec(name, kind.rstrip("*"), kind.endswith("*"))
    return specs


SCHEMA: Mapping[str, Mapping[int, FieldSpec]] = {
    name: _fields(text)
    for name, text in {
        "Hef": (
            "1 header:Header, 2 network_groups:NetworkGroup*, 3 mapping:size, 4 included_features:IncludedFeatures, "
            "5 extensions:Extension*, 6 optional_extensions:Extension*, 7 external_resources:Resource*"
        ),
        "Header": "1 hw_arch:uint, 2 timestamp:uint, 3 sdk_text:text, 4 version:uint, 5 sdk_version:Version",
        "Version": "1 major:uint, 2 minor:uint, 3 revision:uint",
        "IncludedFeatures": "4 is_multi_context:bool",
        "Extension": "1 type_index:uint, 2 name:text",
        "Resource": "1 offset:uint, 2 size:uint, 3 name:text",
        "NetworkGroup": (
            "1 metadata:Metadata, 3 contexts:Context*, 4 sorted_outputs:text*, 5 fused:FusedLayers, "
            "6 network_names:text*, 7 partials:PartialGroup*, 8 ops:Op*, 9 pad_edges:PadEdge*"
        ),
        "Metadata": "1 name:text, 3 transposed:bool, 4 fps:double, 6 latency:double",
        "CoreOp": (
            "1 metadata:Metadata, 3 contexts:Context*, 4 sorted_outputs:text*, 5 fused:FusedLayers, "
            "6 network_names:text*, 7 partials:PartialCore*"
        ),
        "PartialGroup": "1 content:NetworkGroup, 2 layout:Layout",
        "PartialCore": "1 content:CoreOp, 2 layout:Layout",
        "Layout": "1 bitmap:uint",
        "FusedLayers": "1 is_fused:bool, 2 sorted_outputs:text*",
        "Op": "1 name:text, 2 inputs:Pad*, 3 outputs:Pad*, 4 core_op:CoreOp, 5 nms:Nms, 6 logits:Logits",
        "PadEdge": "1 src:uint, 2 dst:uint",
        "Pad": (
            "1 index:uint, 2 name:text, 3 order:uint, 5 numeric:NumericInfo, 6 tensor:TensorShape, 7 nms:NmsShape, "
            "8 format_type:uint"
        ),
        "TensorShape": "1 height:uint, 3 width:uint, 5 features:uint",
        "NmsShape": "1 classes:uint, 2 max_boxes:uint, 3 box_size:uint, 4 division:uint",
        "Nms": (
            "1 score:double, 2 iou:double, 3 max_per_class:uint, 4 classes:uint, 5 has_background:bool, "
            "6 background:uint, 7 yolov5:Empty, 8 yolox:Empty, 9 ssd:Empty, 10 iou_only:Empty, 11 yolov5_seg:Empty, "
            "12 yolov8:Empty, 13 decoding_only:bool"
        ),
        "Logits": "1 kind:uint",
        "Empty": "536870911 nothing:uint",
        "Context": "1 index:uint, 3 metadata:ContextMetadata",
        "ContextMetadata": "1 name:text, 2 edges:Edge*, 5 sorted_outputs:text*",
        "Edge": (
            "1 direction:uint, 3 info:EdgeInfo, 4 mux:EdgeMux, 5 switch:Switch, 6 network_index:uint, "
            "7 pad_index:uint, 8 planes:EdgePlanes"
        ),
        "EdgePart": "1 info:EdgeInfo, 2 mux:EdgeMux, 3 planes:EdgePlanes",
        "EdgeInfo": (
            "1 name:text, 2 base:EdgeBase, 3 numeric:NumericInfo, 4 hn_output:text, 5 original_names:text*, "
            "6 transposed:bool"
        ),
        "EdgeMux": "1 name:text, 2 base:EdgeBase, 4 hn_output:text, 5 parts:EdgePart*, 6 original_names:text*",
        "EdgePlanes": "1 name:text, 2 format:uint, 3 parts:EdgePart*, 4 height:uint, 5 width:uint, 6 features:uint",
        "EdgeBase": (
            "1 height:uint, 2 padded_height:uint, 3 width:uint, 4 padded_width:uint, 5 features:uint, "
            "6 padded_features:uint, 7 format:uint, 8 sys_index:uint, 11 additional:Additional, 12 data_bytes:uint"
        ),
        "Additional": "1 nms:NmsInfo",
        "NmsInfo": "2 classes:uint, 3 max_boxes:uint, 4 box_size:uint, 7 division:uint",
        "NumericInfo": (
            "1 zero_point:float, 2 scale:float, 3 low:float, 4 high:float, 5 zero_points:double*, 6 scales:double*"
        ),
        "Switch": "1 context:uint, 3 connection:uint, 4 connected_context:uint, 8 connected:Connected*",
        "Connected": "1 index:uint",
    }.items()
}  # fmt: skip


class Record:
    """A decoded message. A field that is left out reads as its default: 0, "", () or an empty record."""

    __slots__ = ("_kind", "_values")

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self._kind = kind
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        for spec in SCHEMA[self._kind].values():
            if spec.name == name:
                return () if spec.repeated else _SCALARS[spec.kind] if spec.kind in _SCALARS else Record(spec.kind, {})
        raise AttributeError(name)

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return name in self._values


def decode(data: wire.Buffer, start: int, end: int, kind: str = "Hef") -> Record:
    """The message between two offsets. Raises `ModelError` where that is none, or none of a size compilers make."""
    return _Decoder(data).record(start, end, kind, 0)


class _Decoder:
    def __init__(self, data: wire.Buffer) -> None:
        self._data = data
        self._fields = 0
        self._records = 0

    def record(self, start: int, end: int, kind: str, depth: int) -> Record:
        """One message and those inside of it."""
        self._records += 1
        if depth > MAX_DEPTH or self._records > MAX_RECORDS:
            raise ModelError("messages nested or repeated beyond anything a compiler writes")
        specs = SCHEMA[kind]
        values: dict[str, Any] = {}
        for field in wire.fields(self._data, start, end):
            self._count()
            spec = specs.get(field.tag >> 3)
            if spec is None:
                continue
            if spec.repeated:
                values.setdefault(spec.name, []).extend(self._items(field, spec, depth))
            else:
                for item in self._items(field, spec, depth):
                    values[spec.name] = item
        return Record(kind, values)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ModelError(f"more than {MAX_FIELDS:,} fields: no compiler writes that")

    def _items(self, field: wire.Field, spec: FieldSpec, depth: int) -> Iterator[Any]:
        found = field.tag & 7
        if spec.kind not in _SCALARS:
            if found != wire.BYTES:
                raise ModelError(f"damaged: the field {spec.name} at byte {field.begin} is no message")
            yield self.record(field.value, field.end, spec.kind, depth + 1)
        elif found == _WIRE[spec.kind]:
            self._count()
            yield self._scalar(field.value, field.end, spec.kind)
        elif found == wire.BYTES and spec.kind in _PACKABLE:
            yield from self._packed(field, spec.kind)
        else:
            raise ModelError(f"damaged: the field {spec.name} at byte {field.begin} is no {spec.kind}")

    def _packed(self, field: wire.Field, kind: str) -> Iterator[Any]:
        if kind in ("float", "double"):
            size = 4 if kind == "float" else 8
            if (field.end - field.value) % size:
                raise ModelError(f"damaged: the numbers at byte {field.begin} are cut short")
            for pos in range(field.value, field.end, size):
                self._count()
                yield self._scalar(pos, pos + size, kind)
            return
        for number in wire.numbers(self._data, field):
            self._count()
            yield self._scalar(number, 0, kind)

    def _scalar(self, value: int, end: int, kind: str) -> Any:
        if kind == "uint":
            return value
        if kind == "int":
            return wire.signed(value)
        if kind == "bool":
            return bool(value)
        if kind == "size":
            return end - value
        if kind == "text":
            return wire.text(self._data, value, end)
        return struct.unpack("<f" if kind == "float" else "<d", self._data[value:end])[0]
