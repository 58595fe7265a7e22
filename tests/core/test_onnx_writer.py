"""Files are written whole or not at all, the same bytes each time, over the loaded one too; large data goes beside."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import numpy_helper

import irkit
from irkit.onnx import storage, writer
from tests.core import onnx_models as models
from tests.core.onnx_models import info, node

WEIGHT = np.arange(600_000, dtype=np.float32).reshape(6, 100_000)


def heavy() -> onnx.ModelProto:
    """A model with 2.4 MB of weights."""
    data = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.array(1, np.float32), "one")]
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "one"], ["y"])]
    return models.model(nodes, data, [info("x", (2, 6))], [info("y", (2, 100_000))])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of `heavy`."""
    target = tmp_path / "heavy.onnx"
    target.write_bytes(heavy().SerializeToString())
    return target


def files(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def fail_after(count: int, code: int = errno.ENOSPC) -> Callable[..., Any]:
    """A stand-in for os.write and os.copy_file_range that stops working after so many calls."""
    real, left = os.write, [count]

    def call(descriptor: int, *arguments: Any) -> int:
        left[0] -= 1
        if left[0] < 0 or not isinstance(arguments[0], memoryview):
            raise OSError(code, os.strerror(code))
        return real(descriptor, arguments[0])

    return call


@pytest.mark.parametrize("kernel_copy", [True, False])
def test_weights_are_streamed_unchanged(path: Path, kernel_copy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel_copy:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("out.onnx"))
    assert path.with_name("out.onnx").read_bytes() == path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
def test_a_kernel_that_cannot_copy_is_done_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EXDEV, "not across file systems")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("out.onnx"))
    assert path.with_name("out.onnx").read_bytes() == path.read_bytes()


def test_without_pread_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.delattr(os, "pread", raising=False)
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("out.onnx"))
    assert path.with_name("out.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("release", [False, True])
def test_saving_over_the_loaded_file(path: Path, release: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_REPLACES_OPEN_FILES", not release)
    with irkit.load(path) as model:
        model.graph.values["p"].name = "product"
        for _ in range(2):
            irkit.save(model, path)
            assert np.array_equal(model.graph.values["w"].constant.numpy(), WEIGHT)  # type: ignore[union-attr]
    expected = heavy()
    expected.graph.node[0].output[0] = expected.graph.node[1].input[0] = "product"
    assert onnx.load(path) == expected
    assert files(path.parent) == ["heavy.onnx"]


def test_the_same_bytes_every_time(path: Path) -> None:
    with irkit.load(path) as one, irkit.load(path) as two:
        for model in (one, two):
            model.graph.add_initializer("splat", irkit.Tensor.splat(0.5, (40, 40), irkit.DType.FLOAT32))
        assert irkit.dumps(one) == irkit.dumps(one) == irkit.dumps(two)
        irkit.save(one, path.with_name("one.onnx"), external_data=True)
        irkit.save(two, path.with_name("two.onnx"), external_data=True)
    hashes = [name.split(".")[1] for name in files(path.parent) if name.endswith(".data")]
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_full_disk_leaves_nothing_behind(
    path: Path, external: bool, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    monkeypatch.setattr(writer, "EXTERNAL_LIMIT", 1)
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    with irkit.load(path) as model:
        monkeypatch.setattr(os, "write", fail_after(calls))
        with pytest.raises(irkit.InputError, match=r"heavy.*No space left"):
            irkit.save(model, path, external_data=external)
    assert path.read_bytes() == before
    assert files(path.parent) == ["heavy.onnx"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_at_the_end_leaves_nothing_behind(path: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with irkit.load(path) as model:
        for skip in (0, 1):
            real, left = getattr(os, broken), [skip]

            def fail(*arguments: Any, real: Any = real, left: list[int] = left) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(errno.EIO, "broken disk")
                return real(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(os, broken, fail)
                with pytest.raises(irkit.InputError, match="broken disk"):
                    irkit.save(model, path.with_name("out.onnx"), external_data=True)
            assert files(path.parent) == ["heavy.onnx"]


def test_an_interrupt_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with irkit.load(path) as model:
        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            irkit.save(model, path.with_name("out.onnx"))
    assert files(path.parent) == ["heavy.onnx"]


@pytest.mark.parametrize("where", ["none/out.onnx", "folder", "heavy.onnx/out.onnx"])
def test_a_place_that_cannot_be_written_is_told(path: Path, where: str) -> None:
    (path.parent / "folder").mkdir()
    with irkit.load(path) as model, pytest.raises(irkit.InputError, match="cannot write"):
        irkit.save(model, path.parent / where)
    assert files(path.parent) == ["folder", "heavy.onnx"]


@pytest.mark.skipif(sys.platform == "win32", reason="device files are of Unix")
def test_what_is_no_plain_file_is_not_replaced(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    with irkit.load(path) as model, pytest.raises(irkit.InputError, match="no plain file"):
        irkit.save(model, pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and links of Unix")
def test_links_are_followed_and_permissions_kept(path: Path) -> None:
    link = path.with_name("link.onnx")
    link.symlink_to(path)
    path.chmod(0o640)
    with irkit.load(link) as model:
        irkit.save(model, link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("new.onnx"))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.with_name("new.onnx").stat().st_mode) == 0o666 & ~mask


def test_external_data_on_request(path: Path) -> None:
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("out.onnx"), external_data=True)
    written = [name for name in files(path.parent) if name.startswith("out.")]
    assert len(written) == 2
    assert onnx.load(path.with_name("out.onnx")) == _as_onnx_loads(heavy(), written)
    with irkit.load(path.with_name("out.onnx")) as again:
        assert irkit.to_proto(again) == heavy()


def _as_onnx_loads(proto: onnx.ModelProto, written: list[str]) -> onnx.ModelProto:
    """The onnx package leaves a mark of where data came from."""
    proto.graph.initializer[0].data_location = onnx.TensorProto.DEFAULT
    assert any(name.endswith(".data") for name in written)
    return proto


def test_small_tensors_stay_in_the_model_file(path: Path) -> None:
    with irkit.load(path) as model:
        irkit.save(model, path.with_name("out.onnx"), external_data=True)
    proto = onnx.load(path.with_name("out.onnx"), load_external_data=False)
    assert [bool(tensor.external_data) for tensor in proto.graph.initializer] == [True, False]


def test_a_model_too_large_for_protobuf_gets_a_data_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PROTOBUF_LIMIT", 1 << 20)
    out = path.with_name("out.onnx")
    with irkit.load(path) as model:
        irkit.save(model, out)
        assert out.stat().st_size < 1000
        with pytest.raises(irkit.InputError, match="external data"):
            irkit.save(model, path.with_name("other.onnx"), external_data=False)
        with pytest.raises(irkit.InputError, match="too large"):
            irkit.dumps(model)
        monkeypatch.setattr(writer, "PROTOBUF_LIMIT", 100)
        with pytest.raises(irkit.InputError, match="without its weights"):
            irkit.save(model, path.with_name("other.onnx"))
    assert len(files(path.parent)) == 3
    with irkit.load(out) as again:
        assert np.array_equal(again.graph.values["w"].constant.numpy(), WEIGHT)  # type: ignore[union-attr]


def test_changed_and_new_weights_are_written(path: Path) -> None:
    with irkit.load(path) as model:
        weight = model.graph.values["w"]
        weight.set_initializer(irkit.Tensor.of(WEIGHT * 2))
        weight.name = "twice"
        model.graph.values["one"].name = "unit"
        half = model.graph.add_initializer("half", irkit.Tensor.of(np.ones((2, 3), np.uint16), irkit.DType.BFLOAT16))
        model.graph.add_initializer("four", irkit.Tensor.of(np.array([1, -8, 3], np.int8), irkit.DType.INT4))
        model.graph.add_initializer("texts", irkit.Tensor.strings([b"a", b"\xff"], (2,)))
        assert half.dtype == irkit.DType.BFLOAT16
        proto = irkit.to_proto(model)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    assert list(tensors) == ["twice", "unit", "half", "four", "texts"]
    assert np.array_equal(numpy_helper.to_array(tensors["twice"]), WEIGHT * 2)
    assert numpy_helper.to_array(tensors["unit"]) == 1
    assert tensors["half"].raw_data == b"\x01\x00" * 6
    assert tensors["four"].raw_data == b"\x81\x03"
    assert list(tensors["texts"].string_data) == [b"a", b"\xff"]


@pytest.mark.parametrize(
    ("dtype", "opset", "size", "as_node"),
    [
        (irkit.DType.FLOAT32, 18, 40, True),
        (irkit.DType.BOOL, 18, 40, True),
        (irkit.DType.INT64, 9, 40, True),
        (irkit.DType.FLOAT32, 8, 40, False),
        (irkit.DType.FLOAT32, 18, 4, False),
        (irkit.DType.BFLOAT16, 18, 40, False),
    ],
)
def test_large_splats_are_computed_not_stored(dtype: irkit.DType, opset: int, size: int, as_node: bool) -> None:
    proto = models.model([node("Relu", ["x"], ["y"])], opset=opset)
    model = irkit.from_proto(proto)
    splat = irkit.Tensor.splat(1, (size, size), dtype)
    model.graph.add_initializer("s", splat)
    model.graph.add_initializer("s_shape", irkit.Tensor.of(np.array([1])))
    saved = irkit.to_proto(model)
    assert (saved.graph.node[0].op_type == "ConstantOfShape") is as_node
    if not as_node:
        assert saved.graph.initializer[0].raw_data == splat.tobytes()
        return
    onnx.checker.check_model(saved)
    assert [tensor.name for tensor in saved.graph.initializer] == ["s_shape", "s_shape_1"]
    only = onnx.ModelProto()
    only.CopyFrom(saved)
    only.graph.output.append(onnx.helper.make_tensor_value_info("s", dtype, [size, size]))
    results: Any = onnx.reference.ReferenceEvaluator(only).run(None, {"x": np.zeros((2, 3), np.float32)})
    made = results[1]
    assert np.array_equal(made, splat.numpy())
    assert made.dtype == dtype.numpy


def test_the_skeleton_leaves_larger_weights_out(path: Path) -> None:
    with irkit.load(path) as model:
        model.graph.add_initializer("half", irkit.Tensor.of(np.ones((40, 40), np.uint16), irkit.DType.BFLOAT16))
        data, arrays = writer.skeleton(model, ["p", "y", "one"])
        assert list(arrays) == ["w"]
        assert np.array_equal(arrays["w"], WEIGHT)
        proto = onnx.ModelProto.FromString(data)
        assert [value.name for value in proto.graph.output] == ["y", "p", "one"]
        assert len(data) < 5000
        with pytest.raises(irkit.GraphError, match="'ghost'"):
            writer.skeleton(model, ["ghost"])
        assert [value.name for value in model.graph.outputs] == ["y"]


def test_the_skeleton_runs_with_its_weights(path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    with irkit.load(path) as model:
        data, arrays = writer.skeleton(model, ["p"])
        options = runtime.SessionOptions()
        values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        x = np.ones((2, 6), np.float32)
        y, p = session.run(None, {"x": x})
    assert np.array_equal(p + 1, y)
    assert np.allclose(p, x @ WEIGHT)


def test_unsorted_edits_are_written_in_order() -> None:
    model = irkit.from_proto(models.chain())
    add, clip, *_ = model.graph
    twice = model.graph.append(irkit.Node("Mul", [add.output, add.output], name="late"))
    clip.set_input(0, twice.output)
    onnx.checker.check_model(irkit.to_proto(model))
    assert [each.name for each in model.graph][-1] == "late"


def test_a_value_from_nowhere_is_an_error() -> None:
    model = irkit.from_proto(models.chain())
    stray = irkit.Node("Neg", [model.graph.inputs[0]], outputs=["stray"])
    model.graph.node("Add_a").set_input(0, stray.output)
    with pytest.raises(irkit.GraphError, match="stray"):
        irkit.dumps(model)


def test_reading_stops_where_the_file_was_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "pread", lambda *arguments: b"")
    with irkit.load(path) as model, pytest.raises(irkit.InputError, match="cut short"):
        list(storage.read_chunks(model.sources[0], 0, 10))
