"""static-shapes: what it takes and refuses, what it tells, and that dynamic models of the corpus become static."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irkit
from irkit import Context, Inference, Model, OptionError, Severity, TensorType, dumps, load, parse_model, print_model
from irkit.library import get_pass
from irkit.verifier import verify

NET = """graph(%x: float32[N,3,H,W], %m: float32[N,H], %s: int64[?]) -> (%y: float32[N,?], %z) {
  %t: int64[2] = [0, -1]  %y = Reshape(%x, %t)  %r = Relu(%m)  %z = Cast(%s) {to=1} }"""


def freeze(model: Model, **options: Any) -> Context:
    context = Context(pass_name="static-shapes")
    get_pass("static-shapes", **options).run(model, context)
    verify(model)
    return context


def test_everything_is_bound_and_told() -> None:
    model = parse_model(NET)
    context = freeze(model, bind={"H": 4}, shapes={"x": (2, 3, 4, 5), "s": (7,)})
    assert [str(value.type) for value in model.graph.inputs] == ["float32[2,3,4,5]", "float32[2,4]", "int64[7]"]
    assert [str(value.type) for value in model.graph.outputs] == ["float32[2,60]", "float32[7]"]
    assert context.findings == []
    assert context.notes["static-shapes"] == [
        "input x: axis 0, `N`, is now 2 (as asked)",
        "input x: axis 2, `H`, is now 4 (as asked)",
        "input x: axis 3, `W`, is now 5 (as asked)",
        "input m: axis 0, `N`, is now 2 (as asked)",
        "input m: axis 1, `H`, is now 4 (as asked)",
        "input s: axis 0, not known, is now 7 (as asked)",
        "output y: float32[N,?] is now float32[2,60]",
        "output z: no type is now float32[7]",
    ]


def test_the_batch_is_one_by_default_and_the_rest_is_told_with_what_to_type() -> None:
    model = parse_model(NET)
    context = freeze(model)
    assert [str(value.type) for value in model.graph.inputs] == ["float32[1,3,H,W]", "float32[1,H]", "int64[1]"]
    assert all("by default" in note for note in context.notes["static-shapes"] if note.startswith("input"))
    told = {finding.message.split("`")[1]: finding.advice for finding in context.findings}
    assert told == {"x": "--bind H=NUMBER --bind W=NUMBER", "m": "--bind H=NUMBER"}
    assert {(finding.code, finding.severity) for finding in context.findings} == {("IRK001", Severity.ERROR)}


def test_a_dimension_without_a_name_is_asked_for_by_shape() -> None:
    (finding,) = freeze(parse_model("graph(%x: float32[?,3,?]) -> (%y) { %y = Relu(%x) }")).findings
    assert finding.advice == "--shape x=1,3,NUMBER"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bind": {"K": 1}}, ["K=1", "there are: N, H, W"]),
        ({"bind": {"H": 0}}, ["at least 1"]),
        ({"shapes": {"q": (1,)}}, ["no input `q`", "x, m, s"]),
        ({"shapes": {"x": (1, 3, 4)}}, ["has rank 4", "[N,3,H,W]"]),
        ({"shapes": {"x": (1, 4, 4, 4)}}, ["axis 1 of input `x` is fixed at 3"]),
        ({"bind": {"H": 5}, "shapes": {"x": (1, 3, 4, 4)}}, ["`H` would be both 5 and 4"]),
        ({"shapes": {"x": (1, 3, 4, 4), "m": (2, 4)}}, ["`N` would be both 1 and 2"]),
    ],
)
def test_wrong_wishes_are_refused_with_the_valid_ones(options: dict[str, Any], words: list[str]) -> None:
    model = parse_model(NET)
    before = print_model(model)
    with pytest.raises(OptionError) as error:
        freeze(model, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert print_model(model) == before


def test_stale_recorded_shapes_do_not_survive() -> None:
    model = parse_model(
        "graph(%x: float32[N,4]) -> (%y) { %a: float32[8,4] = Relu(%x) %b: float32[N,4] = Neg(%a) %y = Exp(%b) }"
    )
    freeze(model)
    assert {str(value.type) for value in model.values()} == {"float32[1,4]"}


def test_symbols_behind_unknown_operators_are_bound_too() -> None:
    model = parse_model(
        "opset 17 opset my 1 graph(%x: float32[N,4]) -> (%y) { %a: float32[N,9] = my::Odd(%x) %y = Relu(%a) }"
    )
    assert freeze(model).findings == []
    assert str(model.graph.values["y"].type) == "float32[1,9]"


def test_float_shape_arithmetic_becomes_constant() -> None:
    model = parse_model(
        """graph(%x: float32[N,3,H,8]) -> (%y) {
          %s = Shape(%x)  %f = Cast(%s) {to=1}  %k: float32[4] = [1.0, 1.0, 2.5, 0.5]  %g = Mul(%f, %k)  %h = Floor(%g)
          %i = Cast(%h) {to=7}  %y = Resize(%x, _, _, %i) {mode="nearest"} }"""
    )
    assert freeze(model, bind={"H": 3}).findings == []
    assert [node.op for node in model.graph] == ["Resize"]
    assert str(model.graph.values["y"].type) == "float32[1,3,7,4]"


def test_targets_computed_from_data_become_constant_where_the_shape_is_known() -> None:
    model = parse_model(
        """graph(%x: float32[N,3,4], %d: int64[2]) -> (%y: float32[1,12]) {
          %one: int64[1] = [1]  %m: int64[1] = [-1]  %z: int64[1] = [0]
          %e = Slice(%d, %z, %one)  %ones: int64[1] = [1] %n = Min(%e, %ones)
          %s = Shape(%x)  %lead = Slice(%s, %z, %one)  %t = Concat(%lead, %n) {axis=0}  %y = Reshape(%x, %t) }"""
    )
    freeze(model)
    reshape = next(node for node in model.graph if node.op == "Reshape")
    target = reshape.inputs[1]
    assert target is not None
    assert target.constant is not None
    assert target.constant.numpy().tolist() == [1, 12]


def test_a_batch_of_the_users_own() -> None:
    model = parse_model("graph(%x: float32[N,3]) -> (%y: float32[N,3]) { %y = Relu(%x) }")
    freeze(model, batch=4)
    assert str(model.graph.outputs[0].type) == "float32[4,3]"


def entries() -> list[dict[str, Any]]:
    spec = importlib.util.find_spec("tests.conftest")
    assert spec is not None
    from tests.conftest import find_corpus

    folder = find_corpus()
    if folder is None:
        return []
    models = json.loads((folder / "manifest.json").read_text())["models"]
    dynamic = (item for item in models if any(not _is_static(spec["shape"]) for spec in item["inputs"]))
    return [item for item in dynamic if item["runs_in_ort"]]


def _is_static(shape: list[Any]) -> bool:
    return all(isinstance(dim, int) and dim >= 0 for dim in shape)


CONTROL = {"silero_v6_if"}
"""A branch that depends on an input does not take these shapes, and is told."""

UNTYPED = {"skl_boost", "skl_logreg"}
"""Operators of ai.onnx.ml, some of which onnx does not infer."""


@pytest.mark.corpus
@pytest.mark.parametrize("entry", [pytest.param(item, id=item["name"]) for item in entries()])
def test_dynamic_models_become_static(entry: dict[str, Any], corpus: Path) -> None:
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime says what the shapes are")
    path = corpus / entry["file"]
    model = load(path)
    get_pass("inline-functions").run(model, Context())
    context = freeze(model, shapes={spec["name"]: tuple(spec["run_shape"]) for spec in entry["inputs"]})
    loose = [
        value.name
        for node in model.graph.walk()
        for value in node.outputs
        if value.name and isinstance(value.type, TensorType) and not value.type.is_static
    ]
    if entry["name"] in CONTROL | UNTYPED:
        assert context.findings
        return
    assert loose == []
    assert context.findings == []
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    feeds = _inputs(corpus, entry)
    before = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    after = ort.InferenceSession(dumps(model), options, providers=["CPUExecutionProvider"])
    assert [item.name for item in after.get_outputs()] == [item.name for item in before.get_outputs()]
    inference = Inference.of(model)  # one model declares a shape that it does not give
    for value, old, new in zip(model.graph.outputs, before.run(None, feeds), after.run(None, feeds), strict=True):
        assert inference.shape_of(value) == np.shape(old)
        assert np.allclose(new, old, rtol=1e-5, atol=1e-5 * float(np.abs(old).max()))


def _inputs(corpus: Path, entry: dict[str, Any]) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("corpus_io", corpus / "corpus_io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.make_inputs(entry))


@pytest.mark.corpus
def test_a_second_time_changes_nothing(corpus: Path) -> None:
    for name in ("dyn_reshape__ts17-dhw", "bert_tiny__ts17-dseq", "basic_pitch_nmp", "ppocrv2_cls"):
        entry = next(item for item in entries() if item["name"] == name)
        model = load(corpus / entry["file"])
        shapes = {spec["name"]: tuple(spec["run_shape"]) for spec in entry["inputs"]}
        freeze(model, shapes=shapes)
        Inference.of(model).update()
        mark = model.journal.position
        freeze(model, shapes=shapes)
        Inference.of(model).update()
        assert model.journal.since(mark) == [], name


def test_a_node_that_is_not_valid_is_not_said_to_hang_on_data() -> None:
    model = irkit.parse_model("opset 17\ngraph(%x: float32[1,3]) -> (%y) { %y = Transpose(%x) {perm=[5, 6]} @n }")
    (finding,) = irkit.optimize(model, only="static-shapes", verify="none").report.findings[:1]
    assert (finding.code, finding.node) == ("IRK002", "n")
    assert "Transpose is not valid" in finding.message
    assert "hangs on data" not in finding.message


def test_named_dimensions_are_bound_once_though_passes_go_round() -> None:
    """A batch norm that is folded makes a second round: the names of the first are gone by then."""
    model = irkit.parse_model("""
        graph(%x: float32[N,3,H,4]) -> (%y) {
          %w: float32[8,3,1,1] = random(seed=1)
          %n: float32[8] = random(seed=2, low=0.5)
          %a = Conv(%x, %w) @conv
          %y = BatchNormalization(%a, %n, %n, %n, %n) @norm
        }
    """)
    result = irkit.optimize(model, bind={"H": 6}, verify="none")
    assert result.ok
    assert result.model.graph.inputs[0].shape == (1, 3, 6, 4)
    assert [run.name for run in result.run.passes].count("static-shapes") > 1
