"""Every form of an operator that networks known to compile have, and every operator of ONNX, put before the lint."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import onnx.defs
import pytest

from irkit import Finding, Model, Severity, parse_model
from irkit.checks import model_rules
from irkit.checks.judge import judge
from irkit.linter import Subject, run_rules
from irkit.target import Target, load_target
from tests.conftest import CORPUS_VARIABLE, find_corpus

SHAPES = {0: (), 1: (8,), 2: (1, 8), 3: (1, 9, 8), 4: (1, 8, 6, 6), 5: (1, 8, 4, 6, 6), 6: (1, 2, 3, 2, 3, 8)}
"""A tensor of each rank."""

GELU = """  %root: float32[] = 1.4142135  %one: float32[] = 1.0  %half: float32[] = 0.5
  %a = Div(%i0, %root) @a  %e = Erf(%a) @n  %b = Add(%e, %one) @b  %c = Mul(%i0, %b) @c
  %y = Mul(%c, %half) @d"""
"""An Erf is known within this only."""


@cache
def observed() -> dict[str, list[dict[str, Any]]]:
    """The forms by operator; none where the file is not there."""
    folder = find_corpus()
    path = folder.parent / "data" / "observed_ops_hailo8.json" if folder is not None else None
    if path is None or not path.is_file():
        return {}
    forms: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))["ops"]
    return forms


def each_form() -> list[Any]:
    found = [
        pytest.param(op, form, id=f"{op}-{index}")
        for op, forms in observed().items()
        for index, form in enumerate(forms)
    ]
    skip = pytest.mark.skip(reason=f"no list of observed forms beside the corpus: set {CORPUS_VARIABLE}")
    return found or [pytest.param("", {}, id="none", marks=skip)]


def typed(shape: tuple[int, ...], kind: str = "float32") -> str:
    return f"{kind}[{','.join(map(str, shape))}]"


def listed(numbers: Any) -> str:
    return f"[{', '.join(map(str, numbers))}]"


def integers(name: str, numbers: Any) -> str:
    return f"%{name}: int64[{len(numbers)}] = {listed(numbers)}"


def with_operands(op: str, form: dict[str, Any]) -> tuple[list[tuple[int, ...]], list[str], str]:
    """The shapes of the graph's inputs, the constants, and the operands of a node with those ranks."""
    given: list[tuple[int, ...]] = []
    constants, names = [], []
    data = SHAPES[max(form["in_ranks"])]
    for slot, rank in enumerate(form["in_ranks"]):
        shape = data[len(data) - rank :] if rank else ()
        shape = (8,) if op in ("BatchNormalization", "Gemm", "LayerNormalization") and rank == 1 else shape
        shape = (data[-1], 8) if op in ("MatMul", "Gemm") and slot == 1 and rank == 2 else shape
        if slot in form["const_inputs"]:
            constants.append(f"%k{slot}: {typed(shape)} = random(seed={slot + 1}, low=1, high=2)")
            names.append(f"%k{slot}")
        else:
            names.append(f"%i{len(given)}")
            given.append((1, 8, 6, 6) if op == "MatMul" and rank == 4 else shape)
    return given, constants, ", ".join(names)


def of_slice(form: dict[str, Any]) -> list[str]:
    count = len(form["axes"])
    return [
        integers("k1", [0] * count),
        integers("k2", [4] * count),
        integers("k3", form["axes"]),
        integers("k4", form.get("steps") or [1] * count),
    ]


def reshaped(form: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of as many elements, of these ranks."""
    shapes = {1: (64,), 2: (1, 64), 3: (1, 16, 4), 4: (1, 4, 4, 4), 5: (1, 2, 2, 4, 4), 6: (1, 2, 2, 2, 2, 4)}
    return shapes[form["in_rank"]], shapes[form["out_rank"]]


def attributes(form: dict[str, Any], *names: str) -> str:
    pairs = ((name, form[name]) for name in names if form.get(name) is not None)
    texts = {name: f'"{v}"' if isinstance(v, str) else listed(v) if isinstance(v, list) else v for name, v in pairs}
    return ", ".join(f"{name}={text}" for name, text in texts.items())


def built(op: str, form: dict[str, Any]) -> Model:
    """A graph with one node of the form, named `n`."""
    given: list[tuple[int, ...]] = [SHAPES[4]]
    constants: list[str] = []
    operands, attrs, outputs = "%i0", "", "%y"
    if "in_ranks" in form:
        given, constants, operands = with_operands(op, form)
        attrs = attributes(form, "axis", "axes", "keepdims") if op != "Slice" else ""
    if op == "Conv":
        rank = len(form["kernel"])
        group = {"1": 1, "depthwise": 8}.get(form["group"], 2)
        constants = [f"%w: {typed((8, 8 // group, *form['kernel']))} = random(seed=1)"]
        given, operands = [(1, 8, *(32,) * rank)], "%i0, %w"
        attrs = (
            f"kernel_shape={listed(form['kernel'])}, strides={listed(form['stride'])}, pads={listed(form['pads'])}, "
        )
        attrs += f"dilations={listed(form['dilation'])}, group={group}"
    elif op in ("MaxPool", "AveragePool"):
        given = [(1, 8, 32, 32)]
        attrs = attributes(form, "kernel_shape", "strides", "pads", "dilations", "ceil_mode", "count_include_pad")
    elif op == "Clip":
        low, high = form["bounds"]
        constants, operands = [f"%low: float32[] = {low}", f"%high: float32[] = {high}"], "%i0, %low, %high"
    elif op == "Reshape":
        before, after = reshaped(form)
        given, constants, operands = [before], [integers("s", after)], "%i0, %s"
    elif op == "Transpose":
        given, attrs = [SHAPES[len(form["perm"])]], f"perm={listed(form['perm'])}"
    elif op == "Resize":
        constants = [f"%s: float32[4] = {listed(form['scales'])}"]
        operands, attrs = "%i0, _, %s", attributes(form, "mode", "coordinate_transformation_mode", "nearest_mode")
    elif op == "Slice":
        constants, operands = of_slice(form), "%i0, %k1, %k2, %k3, %k4"
    elif op == "Split":
        parts = [given[0][form["axis"]]]
        given = [(3, *given[0][1:])] if form["axis"] == 0 else given
        parts = [1, 1, 1] if form["axis"] == 0 else [parts[0] // 2, parts[0] - parts[0] // 2]
        constants, operands = [integers("k1", parts)], "%i0, %k1"
        outputs = ", ".join(f"%p{index}" for index in range(len(parts)))
    elif op == "Squeeze":
        constants, operands = [integers("k1", [0])], "%i0, %k1"
    elif op == "Gather":
        constants, operands = ["%k1: int64[] = 0"], "%i0, %k1"
    node = f"  {outputs} = {op}({operands}) {{{attrs}}} @n" if op != "Erf" else GELU
    inputs = ", ".join(f"%i{index}: {typed(shape)}" for index, shape in enumerate(given))
    return parse_model(
        "opset 17\ngraph({}) -> ({}) {{\n  {}\n{}\n}}".format(inputs, outputs, "\n  ".join(constants), node)
    )


def said_of(model: Model, node: str = "n") -> list[Finding]:
    return [item for item in run_rules(model, target("hailo8"), model_rules()).findings if item.node == node]


@cache
def target(name: str) -> Target:
    return load_target(name)


@pytest.mark.parametrize(("op", "form"), each_form())
def test_a_form_of_networks_that_compile_is_no_error_and_not_refused(op: str, form: dict[str, Any]) -> None:
    model = built(op, form)
    assert model.graph.node("n").op == op
    for finding in said_of(model):
        assert finding.severity is not Severity.ERROR, finding
        assert "refused by the compiler" not in finding.message, finding


OPERATORS = sorted({(item.domain, item.name) for item in onnx.defs.get_all_schemas_with_history()})


@pytest.mark.parametrize(
    ("domain", "name"), OPERATORS, ids=[f"{domain or 'onnx'}-{name}" for domain, name in OPERATORS]
)
def test_every_operator_of_onnx_has_a_verdict(domain: str, name: str) -> None:
    """Without attributes, without shapes, and with less operands than it wants: what is not known crashes nothing."""
    op = f"{domain}::{name}" if domain else name
    imports = f"opset {domain} 1\n" if domain else ""
    for inputs, operands in (("%x", "%x"), ("%x: float32[1,4,8,8], %z: float32[1,4,8,8]", "%x, %z"), ("%x", "")):
        model = parse_model(f"opset 17\n{imports}graph({inputs}) -> (%y) {{ %y = {op}({operands}) @n }}")
        for name_of_target in ("hailo8", "hailo10h"):
            subject = Subject(model, target(name_of_target))
            assert judge(subject, model.graph.node("n")).status
        run_rules(model, target("hailo8"), model_rules())


@pytest.mark.parametrize(
    "op",
    [
        *("IsNaN", "BitwiseNot", "Tan", "Unique", "SequenceConstruct", "Bernoulli", "StringSplit", "STFT", "Mish"),
        *("com.microsoft::QGemm", "ai.onnx.ml::Scaler", "com.acme::Thing"),
    ],
)
def test_what_is_not_known_to_be_taken_is_a_warning_at_its_node(op: str) -> None:
    domain = f"opset {op.rpartition('::')[0]} 1\n" if "::" in op else ""
    model = parse_model(f"opset 18\n{domain}graph(%x: float32[1,4,8,8]) -> (%y) {{ %y = {op}(%x) @n }}")
    levels = [item.severity for item in said_of(model) if item.code.startswith("HAI1")]
    assert levels == [Severity.WARNING]
