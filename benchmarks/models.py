"""The models that are measured, made with the onnx package alone so that no tool has a part in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def wide_and_long(path: Path, nodes: int = 40_000) -> None:
    """A chain in which every fourth node reads one shared value; the type of every value is recorded."""
    shape = [1, 8, 4, 4]
    weight = numpy_helper.from_array(np.full((8, 1, 3, 3), 0.1, np.float32), "weight")
    made, infos, last = [], [], "x"
    made.append(helper.make_node("Identity", ["x"], ["shared"], name="start"))
    for index in range(nodes - 2):
        name = f"node_{index}"
        if index % 4 == 0:
            made.append(helper.make_node("Add", [last, "shared"], [name], name=f"add_{index}"))
        elif index % 4 == 1:
            made.append(
                helper.make_node(
                    "Conv", [last, "weight"], [name], name=f"conv_{index}", kernel_shape=[3, 3], pads=[1] * 4, group=8
                )
            )
        elif index % 4 == 2:
            made.append(helper.make_node("Relu", [last], [name], name=f"relu_{index}"))
        else:
            slope = 0.01 + index % 7 / 100
            made.append(helper.make_node("LeakyRelu", [last], [name], name=f"leaky_{index}", alpha=slope))
        infos.append(helper.make_tensor_value_info(name, FLOAT, shape))
        last = name
    made.append(helper.make_node("Identity", [last], ["y"], name="end"))
    save(path, made, [weight], shape, shape, infos)


def conv_bn_relu(path: Path, blocks: int = 1_000, channels: int = 32) -> None:
    """A chain of Conv, BatchNormalization, Relu; every second block with an Add, so 3.5 nodes a block."""
    rng = np.random.default_rng(0)
    made, data, last = [], [], "x"
    for index in range(blocks):
        weight = rng.normal(0, 0.1, (channels, channels, 3, 3)).astype(np.float32)
        moments = rng.uniform(0.5, 1.5, (4, channels)).astype(np.float32)
        names = [f"{part}_{index}" for part in ("scale", "bias", "mean", "var")]
        data.append(numpy_helper.from_array(weight, f"w_{index}"))
        data += [numpy_helper.from_array(row, name) for row, name in zip(moments, names, strict=True)]
        conv, norm, relu = (f"{part}_{index}" for part in ("conv", "bn", "relu"))
        made.append(helper.make_node("Conv", [last, f"w_{index}"], [conv], name=f"Conv_{index}", pads=[1, 1, 1, 1]))
        made.append(helper.make_node("BatchNormalization", [conv, *names], [norm], name=f"Bn_{index}"))
        made.append(helper.make_node("Relu", [norm], [relu], name=f"Relu_{index}"))
        if index % 2 == 1:
            made.append(helper.make_node("Add", [relu, last], [f"sum_{index}"], name=f"Add_{index}"))
            relu = f"sum_{index}"
        last = relu
    made.append(helper.make_node("Identity", [last], ["y"], name="end"))
    save(path, made, data, [1, channels, 8, 8], [1, channels, 8, 8])


def heavy(path: Path, megabytes: int = 500, layers: int = 10, bn: bool = False) -> None:
    """Convolutions whose weights, all in the file, make about so many megabytes; more than 2 GB too."""
    channels = int((megabytes * (1 << 20) / layers / 36) ** 0.5)
    rng = np.random.default_rng(0)
    made, last = [], "x"
    small = []
    for index in range(layers):
        made.append(helper.make_node("Conv", [last, f"w_{index}"], [f"c_{index}"], name=f"Conv_{index}", pads=[1] * 4))
        last = f"c_{index}"
        if bn:
            names = [f"{part}_{index}" for part in ("scale", "bias", "mean", "var")]
            moments = rng.uniform(0.5, 1.5, (4, channels)).astype(np.float32)
            small += [numpy_helper.from_array(row, name) for row, name in zip(moments, names, strict=True)]
            made.append(helper.make_node("BatchNormalization", [last, *names], [f"b_{index}"], name=f"Bn_{index}"))
            last = f"b_{index}"
    made.append(helper.make_node("Identity", [last], ["y"], name="end"))
    shape = [1, channels, 4, 4]
    model = build(made, small, shape, shape)
    write_with_weights(path, model, [(f"w_{index}", (channels, channels, 3, 3)) for index in range(layers)])


def write_with_weights(path: Path, model: onnx.ModelProto, weights: list[tuple[str, tuple[int, ...]]]) -> None:
    """Write the model with initializers of random floats appended to its graph, one in memory at a time."""
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    heads = []
    for name, shape in weights:
        nbytes = 4 * int(np.prod(shape))
        head = TensorProto(dims=shape, data_type=FLOAT, name=name).SerializeToString() + b"\x4a" + varint(nbytes)
        heads.append(b"\x2a" + varint(len(head) + nbytes) + head)
    total = len(graph) + sum(map(len, heads)) + sum(4 * int(np.prod(shape)) for _, shape in weights)
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(model.SerializeToString() + b"\x3a" + varint(total) + graph)
        for head, (_, shape) in zip(heads, weights, strict=True):
            file.write(head)
            file.write(rng.standard_normal(int(np.prod(shape)), np.float32).tobytes())


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def build(
    nodes: list[onnx.NodeProto], data: list[TensorProto], shape_in: list[int], shape_out: list[int],
    infos: list[onnx.ValueInfoProto] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", FLOAT, shape_out)],
        data,
        value_info=infos,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(
    path: Path, nodes: list[onnx.NodeProto], data: list[TensorProto], shape_in: list[int], shape_out: list[int],
    infos: list[onnx.ValueInfoProto] | None = None,
) -> None:  # fmt: skip
    onnx.save(build(nodes, data, shape_in, shape_out, infos), path)
