"""Findings say which line and which module of the user's network a node comes from, by what exporters write down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import irkit
from irkit.diagnostics import Location
from irkit.provenance import Frame, module_of, user_frame

EXPORTS = Path(__file__).parent / "exports"
LINES = (EXPORTS / "network.py").read_text(encoding="utf-8").splitlines()


def line_of(text: str) -> int:
    (line,) = (number for number, code in enumerate(LINES, 1) if text in code)
    return line


def by_node(model: irkit.Model) -> Mapping[tuple[str, str], Location]:
    """Where nodes come from, by operator and module."""
    places = ((node.op, Location.of(node)) for node in model.graph)
    return {(op, place.module): place for op, place in places}


# --- real exports ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["dynamo", "torchscript"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, irkit.Model]:
    pytest.importorskip("torch", reason="exports a network: pip install -e '.[torch]'")
    from tests.core.exports.network import export

    path = str(tmp_path_factory.mktemp("exports") / "network.onnx")
    export(path, dynamo=request.param)
    return request.param, irkit.load(path)


@pytest.mark.filterwarnings("ignore")
def test_both_exporters_of_pytorch_tell_module_and_line(exported: tuple[bool, irkit.Model]) -> None:
    is_dynamo, model = exported
    found = by_node(model)
    assert {("Conv", "stem.0"), ("Relu", "stem.1"), ("Conv", "blocks.1.conv"), ("Floor", "blocks.0")} <= set(found)
    assert ("ReduceMean", "") in found
    floor, stem = found["Floor", "blocks.1"], found["Conv", "stem.0"]
    assert {Path(place.file) for place in found.values()} == {EXPORTS / "network.py"}
    assert floor.line == line_of("return rounded" if is_dynamo else "# here")
    assert stem.line == line_of("self.stem(x)")
    if is_dynamo:
        assert floor.module_class.endswith("network.Block")
        assert stem.code == "x = self.stem(x)"


def test_a_finding_has_it() -> None:
    for name, line in (("dynamo", 15), ("torchscript", 19)):
        model = irkit.parse_model((EXPORTS / f"{name}.irkit").read_text(encoding="utf-8"))
        [floor] = [finding for finding in irkit.lint(model).findings if finding.op == "Floor"]
        assert (floor.origin.file, floor.origin.line) == ("/srv/user/project/network.py", line)
        assert floor.origin.module == "blocks.0"
        assert floor.to_json()["origin"]["file"] == "/srv/user/project/network.py"


# --- stack traces ----------------------------------------------------------------------------------------------------

TORCH = "/opt/venv/lib/python3.11/site-packages/torch"


def dynamo(*files: str) -> dict[str, str]:
    frames = [f'  File "{file}", line {number}, in forward\n    code {number}' for number, file in enumerate(files, 1)]
    return {"pkg.torch.onnx.stack_trace": "\n".join(frames).lstrip()}


def script(*files: str) -> str:
    return "".join(f"{file}({number}): forward\n" for number, file in enumerate(files, 1))


@pytest.mark.parametrize("user", ["/srv/me/net.py", "/srv/me/torch/net.py", r"C:\Users\me (x86)\my nets\net.py"])
def test_the_innermost_line_of_the_user(user: str) -> None:
    outer = "/srv/me/train.py"
    found = user_frame(dynamo(outer, user, f"{TORCH}/nn/modules/conv.py"), "")
    assert found == Frame(user, 2, "code 2")
    found = user_frame({}, script(f"{TORCH}/nn/functional.py", user, f"{TORCH}/nn/modules/module.py", outer))
    assert (found.file, found.line) == (user, 2)


def test_pytorch_from_a_checkout_or_on_windows_is_pytorch() -> None:
    installed = r"C:\Python\Lib\site-packages\torch\nn\modules\conv.py"
    for folder in (installed, "/src/pytorch/torch/nn/modules/conv.py", "torch/nn/modules/conv.py"):
        assert user_frame(dynamo("net.py", folder), "").file == "net.py"
        assert user_frame({}, script(folder, "net.py")).file == "net.py"


def test_who_called_the_exporter_is_not_where_a_node_comes_from() -> None:
    trace = script(f"{TORCH}/nn/modules/conv.py", f"{TORCH}/jit/_trace.py", f"{TORCH}/onnx/utils.py", "/me/export.py")
    assert user_frame({}, trace) == Frame()


def test_a_network_of_a_package_is_told_where_no_line_is_the_users_own() -> None:
    timm = "/opt/venv/lib/python3.11/site-packages/timm/models/resnet.py"
    assert user_frame(dynamo(timm, f"{TORCH}/nn/modules/conv.py"), "").file == timm
    assert user_frame(dynamo("/me/net.py", timm), "").file == "/me/net.py"
    assert (
        user_frame({}, script(f"{TORCH}/nn/modules/conv.py", timm, f"{TORCH}/jit/_trace.py", "/me/a.py")).file == timm
    )


@pytest.mark.parametrize("doc", ["", "a layer of (3): things", "File without a line", "(3):", 'File "x"'])
def test_what_is_no_trace_tells_nothing(doc: str) -> None:
    assert user_frame({}, doc) == Frame()


def test_a_notebook() -> None:
    assert user_frame({}, script("<ipython-input-3-1f2e>")).file == "<ipython-input-3-1f2e>"


# --- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/stem/stem.0/Conv", "stem.0"),
        ("/model.22/cv2.0/cv2.0.0/conv/Conv", "model.22.cv2.0.0.conv"),
        ("/encoder/layers.1/attention/MatMul_1", "encoder.layers.1.attention"),
        ("/Reshape", ""),
        ("Conv_12", ""),
        ("model/dense/MatMul", ""),
        ("", ""),
    ],
)
def test_the_old_exporter_names_nodes_after_modules(name: str, module: str) -> None:
    assert module_of({}, [name]).path == module


def test_scopes_of_the_new_exporter() -> None:
    scopes = {
        "pkg.torch.onnx.name_scopes": "['', 'head', 'head.norm', 'relu_3']",
        "pkg.torch.onnx.class_hierarchy": "['nets.Net', 'nets.Head', 'torch.nn.LayerNorm', 'aten.relu.default']",
    }
    assert module_of(scopes, ["n"]) == ("head.norm", "torch.nn.LayerNorm")
    older = {"namespace": ": nets.Net/head: nets.Head/relu: aten.relu.default"}
    assert module_of(older, ["n"]) == ("head", "nets.Head")
    assert module_of({"pkg.torch.onnx.name_scopes": "['', 'mean']"}, ["n"]) == ("", "")
    assert module_of({"namespace": "nothing of ours"}, ["/a/b/Relu"]) == ("a.b", "")
