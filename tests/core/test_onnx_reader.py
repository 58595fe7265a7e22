"""Files that are no valid model end in one clear message; scopes and orders that are unusual but right are read."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import irkit
from irkit.onnx import wire
from tests.core import onnx_models as models
from tests.core.onnx_models import info, node
from tests.core.test_onnx_roundtrip import look_at_everything

GOOD = models.chain().SerializeToString()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("m.onnx", b"", "empty"),
        ("m.onnx", b"hello world, this is no model\n", "text file"),
        ("m.onnx", "Это не модель, это просто текст, и больше ничего".encode(), "text file"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        ("m.onnx", b"<!DOCTYPE html><html></html>", "web page"),
        ("m.onnx", b"\x08\x09\x12\x06pytest", "no graph"),
        ("m.onnx", bytes(range(256)), "m.onnx"),
        ("m.pt", b"PK\x03\x04" + bytes(100), "PyTorch file"),
        ("m.pth", b"\x80\x02\x8a\x0al\xfc\x9cF", "torch.onnx.export"),
        ("m.hef", b"\x01HEF\x00\x00\x00\x00", "HEF"),
        ("m.tflite", b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        ("m.onnx", GOOD[:-1], "truncated|damaged"),
        ("m.onnx", GOOD[: len(GOOD) // 2], "truncated|damaged"),
    ],
)
def test_a_file_that_is_no_model_is_told_for_what_it_is(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(irkit.ModelError, match=message) as caught:
        irkit.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(irkit.ModelError, match="No such file"):
        irkit.load(tmp_path / "none.onnx")
    with pytest.raises(irkit.ModelError, match=r"irectory|Permission"):
        irkit.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(irkit.ModelError, match=r"pipe\.onnx: it is a pipe"):
        irkit.load(tmp_path / "pipe.onnx")


@pytest.mark.parametrize("cut", range(0, len(GOOD), 7))
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, cut: int) -> None:
    with pytest.raises(irkit.ModelError):
        irkit.load(write(tmp_path / "m.onnx", GOOD[:cut]))


@pytest.mark.parametrize("name", ["", "second"])
def test_a_value_that_two_nodes_make_is_told(tmp_path: Path, name: str) -> None:
    twice = models.model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"], name=name)])
    path = write(tmp_path / "twice.onnx", twice.SerializeToString())
    with pytest.raises(irkit.ModelError, match=rf"twice\.onnx: an output of node Relu '{name}' is called 'y'"):
        irkit.lint(path)


def test_what_is_read_late_is_told_with_its_file(tmp_path: Path) -> None:
    proto = models.model([helper.make_node("Relu", ["x"], ["y"])])
    proto.graph.ClearField("output")
    with pytest.raises(irkit.ModelError, match=r"m\.onnx: the model has no outputs"):
        irkit.lint(write(tmp_path / "m.onnx", proto.SerializeToString()))


def test_a_model_that_names_no_operator_set_is_taken_for_truncated() -> None:
    proto = models.chain()
    proto.ClearField("opset_import")
    with pytest.raises(irkit.ModelError, match="opset_import"):
        irkit.from_proto(proto)


@pytest.mark.parametrize("name", ["attributes", "nested", "functions", "annotated", "all_types"])
def test_damaged_bytes_never_cause_another_error(name: str) -> None:
    data = models.CASES[name]().SerializeToString()
    chance = random.Random(name)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        try:
            model = irkit.loads(bytes(damaged))
            look_at_everything(model)
            irkit.dumps(model)
        except irkit.InputError:
            refused += 1
    assert refused > 30


def test_endless_nesting_is_refused() -> None:
    kind = b""
    for _ in range(5000):
        kind = wire.blob(4, wire.blob(1, kind))
    graph = wire.blob(11, wire.blob(1, b"x") + wire.blob(2, kind)) + wire.blob(12, wire.blob(1, b"x"))
    model = irkit.loads(wire.integer(1, 2) + wire.blob(7, graph))
    with pytest.raises(irkit.ModelError, match="damaged"):
        model.graph.inputs[0].type  # noqa: B018
    body = b""
    for _ in range(2000):
        body = wire.blob(1, wire.blob(4, b"If") + wire.blob(5, wire.blob(1, b"g") + wire.blob(6, body)))
    with pytest.raises(irkit.ModelError, match="damaged"):
        irkit.loads(wire.integer(1, 2) + wire.blob(7, body))


def broken(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    proto = models.chain()
    change(proto)
    return proto


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.graph.node[0].input.__setitem__(1, "ghost"), r"Add 'Add_a'.*'ghost'"),
        (lambda p: p.graph.output[0].__setattr__("name", "ghost"), r"output 'ghost'"),
        (lambda p: p.graph.node[1].output.__setitem__(0, "a"), r"Clip 'Clip_c'.*'a'"),
        (lambda p: p.graph.node[1].output.__setitem__(0, "w"), r"'w'"),
        (lambda p: p.graph.initializer[1].__setattr__("name", "w"), r"an initializer.*'w'"),
        (lambda p: p.graph.initializer[1].__setattr__("name", ""), r"an initializer.*no name"),
        (lambda p: p.graph.input.append(info("x")), r"an input.*'x'"),
        (lambda p: p.graph.node[0].input.__setitem__(1, "d"), r"cycle.*'Add_a'"),
        (lambda p: p.graph.node[0].input.__setitem__(1, "a"), r"cycle.*'Add_a'"),
    ],
)
def test_a_graph_that_is_none_is_refused_by_name(change: Callable[[onnx.ModelProto], object], message: str) -> None:
    with pytest.raises(irkit.ModelError, match=message):
        irkit.from_proto(broken(change))


def test_a_cycle_through_a_nested_graph_is_found() -> None:
    branch = helper.make_graph([node("Neg", ["late"], ["b"])], "branch", [], [info("b")])
    nodes = [
        node("If", ["c"], ["early"], then_branch=branch, else_branch=branch),
        node("Relu", ["early"], ["late"]),
        node("Relu", ["late"], ["y"]),
    ]
    with pytest.raises(irkit.ModelError, match="cycle"):
        irkit.from_proto(models.model(nodes, [numpy_helper.from_array(np.array(True), "c")]))


def test_unsorted_nodes_are_put_in_order_and_no_more_than_needed() -> None:
    names = ["c", "b", "a", "e", "d", "y"]
    reads = {"a": "x", "b": "a", "c": "b", "d": "x", "e": "d", "y": "e"}
    model = irkit.from_proto(models.model([node("Relu", [reads[name]], [name]) for name in names]))
    assert [each.output.name for each in model.graph] == ["a", "b", "c", "d", "e", "y"]
    assert [each.output.name for each in reversed(model.graph)] == ["y", "e", "d", "c", "b", "a"]
    irkit.verify(model)


def test_a_node_moves_behind_what_its_nested_graph_reads() -> None:
    branch = helper.make_graph([node("Neg", ["late"], ["b"])], "branch", [], [info("b")])
    nodes = [
        node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        node("Relu", ["x"], ["late"]),
    ]
    model = irkit.from_proto(models.model(nodes, [numpy_helper.from_array(np.array(True), "c")]))
    assert [each.op for each in model.graph] == ["Relu", "If"]
    irkit.verify(model)


def test_a_nested_graph_sees_its_own_value_first() -> None:
    branch = helper.make_graph([node("Neg", ["x"], ["v"]), node("Abs", ["v"], ["b"])], "branch", [], [info("b")])
    nodes = [node("Relu", ["x"], ["v"]), node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    model = irkit.from_proto(models.model(nodes, [numpy_helper.from_array(np.array(True), "c")]))
    assert model.graph.values["v"].use_count == 0


def test_attributes_without_a_type_are_read_as_in_2017() -> None:
    branch = helper.make_graph([node("Neg", ["x"], ["b"])], "branch", [], [info("b")])
    nodes = [
        node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        node("LeakyRelu", ["i"], ["y"], alpha=0.5),
    ]
    proto = models.model(nodes, [numpy_helper.from_array(np.array(True), "c")])
    for each in proto.graph.node:
        for attribute in each.attribute:
            attribute.ClearField("type")
    proto.graph.node[1].attribute[0].ClearField("type")
    proto.ir_version = 2
    model = irkit.from_proto(proto)
    assert [graph.name for graph in model.walk_graphs()] == ["main", "branch", "branch"]
    assert model.graph.node("LeakyRelu_y").attr("alpha") == 0.5


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorProto(name="t", dims=[4], data_type=1, raw_data=bytes(15)), r"'t'.*float32\[4\] needs 16 bytes.*15"),
        (TensorProto(name="t", dims=[4], data_type=1), r"'t'.*needs 16 bytes.*0"),
        (TensorProto(name="t", dims=[4], data_type=1, float_data=[1, 2, 3]), r"'t'.*needs 16 bytes.*12"),
        (TensorProto(name="t", dims=[2], data_type=7, int64_data=[1, 300, 3]), r"'t'.*3 numbers"),
        (TensorProto(name="t", dims=[2], data_type=8, string_data=[b"a"]), r"'t'.*2 strings.*1 strings"),
        (TensorProto(name="t", dims=[2], data_type=8, raw_data=b"ab"), r"'t'.*strings"),
        (TensorProto(name="t", dims=[-4], data_type=1, raw_data=bytes(16)), r"'t'.*negative"),
        (TensorProto(name="t", dims=[2**40, 2**40], data_type=1, raw_data=bytes(16)), r"'t'.*needs"),
        (TensorProto(name="t", dims=[3], data_type=22, raw_data=bytes(3)), r"'t'.*int4\[3\] needs 2 bytes.*3"),
    ],
)
def test_a_tensor_whose_size_does_not_match_its_data_is_refused(tensor: TensorProto, message: str) -> None:
    with pytest.raises(irkit.ModelError, match=message):
        irkit.from_proto(models.model([node("Relu", ["x"], ["y"])], [tensor]))


def external_model(tmp_path: Path, location: str, offset: str = "0", length: str | None = "24") -> Path:
    tensor = TensorProto(name="w", dims=[2, 3], data_type=1, data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": offset, "length": length}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    proto = models.model([node("Add", ["x", "w"], ["y"])], [tensor])
    return write(tmp_path / "m.onnx", proto.SerializeToString())


def test_external_data_is_read_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(8) + np.arange(6, dtype=np.float32).tobytes())
    for length in ("24", None):
        with irkit.load(external_model(tmp_path, "sub/w.bin", "8", length)) as model:
            constant = model.graph.values["w"].constant
            assert constant is not None
            assert constant.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
            proto = irkit.to_proto(model)
        assert proto.graph.initializer[0].raw_data == np.arange(6, dtype=np.float32).tobytes()
        assert not proto.graph.initializer[0].external_data


def test_external_data_of_an_attribute_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    tensor = TensorProto(name="v", dims=[2, 3], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    proto = models.model([node("Constant", [], ["w"], value=tensor), node("Add", ["x", "w"], ["y"])])
    with irkit.load(write(tmp_path / "m.onnx", proto.SerializeToString())) as model:
        saved = irkit.to_proto(model).graph.node[0].attribute[0].t
    assert numpy_helper.to_array(saved).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("location", "offset", "length", "message"),
    [
        ("none.bin", "0", "24", r"'w' is missing.*none\.bin"),
        ("w.bin", "0", "20", r"'w'.*need 24 bytes.*20"),
        ("w.bin", "8", "24", r"'w'.*only 24"),
        ("w.bin", "-1", "24", r"'w'.*offset.*'-1'"),
        ("w.bin", "0", "x", r"'w'.*length.*'x'"),
        ("../w.bin", "0", "24", r"'w'.*refused.*\.\./w\.bin"),
        ("sub/../../w.bin", "0", "24", r"'w'.*refused"),
        ("/etc/passwd", "0", "24", r"'w'.*refused.*/etc/passwd"),
        ("C:\\w.bin", "0", "24", r"'w'.*refused"),
        ("..\\w.bin", "0", "24", r"'w'.*refused"),
        ("link.bin", "0", "24", r"'w'.*refused.*link\.bin"),
        ("linked/w.bin", "0", "24", r"'w'.*refused"),
        ("", "0", "24", r"'w'.*refused"),
        ("loop.bin", "0", "24", r"'w'.*refused.*loop\.bin"),
        ("a\0b", "0", "24", r"'w'.*refused"),
    ],
)
def test_external_data_that_is_wrong_or_outside_is_refused(
    tmp_path: Path, location: str, offset: str, length: str, message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path / "w.bin", folder / "w.bin"):
        place.write_bytes(bytes(24))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "loop.bin").symlink_to("loop.bin")
    with pytest.raises(irkit.ModelError, match=message):
        irkit.load(external_model(folder, location, offset, length))


def test_a_model_in_memory_has_external_data_only_with_a_folder(tmp_path: Path) -> None:
    data = external_model(tmp_path, "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(bytes(24))
    with pytest.raises(irkit.ModelError, match=r"'w'.*another file"):
        irkit.loads(data)
    assert irkit.loads(data, folder=tmp_path).graph.values["w"].constant is not None


def test_a_file_rewritten_while_open_is_one_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", GOOD)
    model = irkit.load(path)
    path.write_bytes(GOOD[:100])
    with pytest.raises(irkit.InputError, match="rewritten"):
        model.graph.values["w"].constant.numpy()  # type: ignore[union-attr]
    with pytest.raises(irkit.InputError, match="rewritten"):
        irkit.save(model, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    with irkit.load(write(tmp_path / "m.onnx", GOOD)) as model:
        pass
    with pytest.raises(irkit.InputError, match="closed"):
        model.graph.values["w"].constant.numpy()  # type: ignore[union-attr]


def test_large_attributes_stay_in_the_file(tmp_path: Path) -> None:
    weight = np.arange(100_000, dtype=np.float32)
    proto = models.model(
        [node("Constant", [], ["w"], value=numpy_helper.from_array(weight)), node("Add", ["x", "w"], ["y"])]
    )
    path = write(tmp_path / "m.onnx", proto.SerializeToString())
    with irkit.load(path) as model:
        constant = model.graph.values["w"].constant
        assert constant is not None
        assert constant.location is not None
        assert np.array_equal(constant.numpy(), weight)
        assert irkit.dumps(model) == path.read_bytes()


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    data = GOOD.replace(wire.blob(3, b"Add_a"), wire.blob(3, b"Add_\xff"))
    with pytest.raises(irkit.ModelError, match="utf-8"):
        irkit.loads(data)
