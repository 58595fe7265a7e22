"""The text form: what is printed reads back to an equal model, and a mistake is told with line and column."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from irkit import (
    Attr,
    AttrKind,
    DType,
    Graph,
    Model,
    ModelError,
    Node,
    SparseTensor,
    Tensor,
    TensorType,
    difference,
    parse_model,
    print_graph,
    print_model,
    verify,
)  # fmt: skip
from irkit.ir import NodeExtra
from irkit.text import print_node


def around(model: Model) -> Model:
    """Printed and read back; the two are equal, and print alike."""
    text = print_model(model)
    back = parse_model(text, model)
    assert difference(model, back, annotations=True) is None
    assert print_model(back) == text
    verify(back)
    return back


def body(lines: str, inputs: str = "%x: float32[2,3]", outputs: str = "%y: float32[2,3]") -> str:
    return f"graph({inputs}) -> ({outputs}) {{\n{lines}\n}}\n"


def test_the_example_of_the_page(root: Path) -> None:
    page = (root / "docs" / "text_form.md").read_text(encoding="utf-8")
    example = re.search(r"```irkit\n(.*?)```", page, re.DOTALL)
    assert example is not None
    model = parse_model(example[1])
    assert [node.op for node in model.graph] == ["Conv", "BatchNormalization", "Clip", "If"]
    around(model)


def test_the_shortest_model_has_the_usual_header() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y) { %y = Relu(%x) }")
    assert (model.opset_imports, model.ir_version, model.graph.name) == ({"": 17}, 8, "graph")
    assert print_model(model) == "opset 17\n\ngraph(%x: float32[2]) -> (%y) {\n  %y = Relu(%x)\n}\n"


def test_without_a_header_the_domains_in_use_are_imported() -> None:
    model = parse_model("function a::F (%x) -> (%y) { %y = b::Op(%x) }" + body("%y = a::F(%x)"))
    assert model.opset_imports == {"": 17, "a": 1, "b": 1}
    assert next(iter(model.functions.values())).opset_imports == {"": 17, "a": 1, "b": 1}
    assert parse_model("opset 18\n" + body("%y = a::F(%x)")).opset_imports == {"": 18}


def test_everything_a_model_holds() -> None:
    model = parse_model(r"""
        ir_version 10  opset 19  opset local 1  opset "a b" 2
        producer "torch \"x\"" "2.1"  domain "my.domain"  model_version 7
        doc "two\nlines"  metadata {"b": "2", "a": "1"}
        function local::Act {alpha, beta=0.5} (%p, %q) -> (%r) !overload "v1" !doc "an activation" !opset 18 {
          %r = LeakyRelu(%p) {alpha=@alpha: float}
        }
        graph main(%x: float32[N,"dim 2",?,4], %"in put": seq(optional(map(int64, float16[*])))) -> (%/a/b.c, %x)
            !doc "of the graph" !metadata {"k": "v"} {
          %w: bfloat16[2] = [0x3f80, 0x0001]
          %a::b: float32[*], _ = Dropout(%x, _, _) @/layer/drop !overload "o" !origin ["n1", "n2"] !doc "d"
              !metadata {"key": "value"} !unknown x"3a01ff"
          %/a/b.c = local::Act(%a::b, _, %w) {alpha=1.5}
        }
    """)
    assert model.opset_imports == {"": 19, "local": 1, "a b": 2}
    assert (model.producer_name, model.producer_version, model.doc) == ('torch "x"', "2.1", "two\nlines")
    (function,) = model.functions.values()
    assert (function.key, function.attributes, function.doc) == (("local", "Act", "v1"), ("alpha",), "an activation")
    assert (function.defaults, function.opset_imports) == ((Attr("beta", 0.5),), {"": 18})
    node = model.graph.node("/layer/drop")
    assert (node.origin, node.extra.doc, node.extra.overload, node.extra.unknown) == (
        ("n1", "n2"),
        "d",
        "o",
        b":\x01\xff",
    )
    assert [value.name for value in node.outputs] == ["a::b", ""]
    back = around(model)
    assert back.metadata == {"a": "1", "b": "2"}
    assert back.graph.metadata == {"k": "v"}


@pytest.mark.parametrize(
    "type",
    [
        "float32[1,N,?]", "int4[*]", "float32[]", 'bool["a+b","?"]', "sparse(float32[3,?])", "seq(float32[*])",
        "seq(?)",
        "optional(seq(string[]))", "map(int64, float32[])", "map(string, ?)", 'opaque("d", "n")', "undefined[2]",
    ],
)  # fmt: skip
def test_every_type(type: str) -> None:
    model = parse_model(body("%y = Op(%x)", f"%x: {type}"))
    assert f"%x: {type})" in print_model(model)
    around(model)


@pytest.mark.parametrize(
    ("spelled", "kind", "value"),
    [
        ("1", AttrKind.INT, 1), ("-9223372036854775808", AttrKind.INT, -(2**63)), ("0x10", AttrKind.INT, 16),
        ("1.0", AttrKind.FLOAT, 1.0), ("1e-05", AttrKind.FLOAT, float(np.float32(1e-5))),
        ("-inf", AttrKind.FLOAT, -np.inf),
        ("-0.0", AttrKind.FLOAT, -0.0),
        ('"a\\"b\\n\u00fc"', AttrKind.STRING, 'a"b\n\u00fc'), ('""', AttrKind.STRING, ""),
        (r'b"\xffa\x22\x5c"', AttrKind.STRING, b'\xffa"\\'), ("[1,2]", AttrKind.INTS, (1, 2)),
        ("[1.0,2.0]", AttrKind.FLOATS, (1.0, 2.0)), ('["a", b"\\xfe"]', AttrKind.STRINGS, ("a", b"\xfe")),
        ("ints()", AttrKind.INTS, ()), ("floats()", AttrKind.FLOATS, ()), ("strings()", AttrKind.STRINGS, ()),
        ("tensors()", AttrKind.TENSORS, ()), ("graphs()", AttrKind.GRAPHS, ()), ("types()", AttrKind.TYPES, ()),
        ("sparse_tensors()", AttrKind.SPARSE_TENSORS, ()), ("undefined()", AttrKind.UNDEFINED, None),
        ("float32[2] [0.5, 1.0]", AttrKind.TENSOR, Tensor.of(np.array([0.5, 1], np.float32))),
        ("[int64[] 1, int64[] 2]", AttrKind.TENSORS, (Tensor.of(1), Tensor.of(2))),
        ("type(float32[2])", AttrKind.TYPE, TensorType(DType.FLOAT32, (2,))),
        (
            "sparse(float32[3,4], float32[1] [0.5], int64[1] [7])", AttrKind.SPARSE_TENSOR,
            SparseTensor(Tensor.of(np.array([0.5], np.float32)), Tensor.of(np.array([7])), (3, 4)),
        ),
    ],
)  # fmt: skip
def test_every_kind_of_attribute(spelled: str, kind: AttrKind, value: object) -> None:
    model = parse_model(body(f"%y = Op(%x) {{a={spelled}}}"))
    attr = model.graph.node("").attrs["a"]
    assert attr == Attr("a", value, kind)
    assert spelled == "0x10" or f"{{a={spelled}}}" in print_model(model)
    around(model)


def test_a_list_with_a_float_in_it_is_one_of_floats() -> None:
    model = parse_model(body("%y = Op(%x) {a=[1, 2.5]}"))
    assert model.graph.node("").attrs["a"] == Attr("a", (1.0, 2.5))


def test_a_reference_to_an_attribute_of_the_function() -> None:
    model = parse_model("function d::F {k} (%x) -> (%y) { %y = Op(%x) {a=@k: ints} }" + body("%y = d::F(%x) {k=[1]}"))
    attr = next(iter(model.functions.values())).graph.node("").attrs["a"]
    assert (attr.ref, attr.kind, attr.value) == ("k", AttrKind.INTS, None)
    around(model)


@pytest.mark.parametrize("bits", [0x7FC00001, 0xFFC00000, 0x7F800001 | 0x400000, 0x7FC00000, 0x00000001, 0x3DCCCCCD])
def test_floats_keep_their_bits(bits: int) -> None:
    number = np.array([bits], np.uint32).view(np.float32)
    graph = Graph()
    weight = graph.add_initializer("w", Tensor.of(number))
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    graph.set_outputs([graph.append(Node("Op", [weight], {"a": value, "b": [value, 1.0]}, ["y"])).output])
    back = around(Model(graph, opset_imports={"": 17}))
    data = back.graph.initializers["w"].constant
    assert data is not None
    assert data.tobytes() == number.tobytes()
    assert struct.pack("<f", back.graph.node("").attr("a")) == struct.pack("<I", bits)


def test_every_float32_is_printed_to_its_bits() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 4000, dtype=np.uint32)
    for dtype, array in (
        (DType.FLOAT32, bits.view(np.float32)),
        (DType.FLOAT16, bits.view(np.float16)),
        (DType.FLOAT64, bits.view(np.float64)),
    ):
        graph = Graph()
        weight = graph.add_initializer("w", Tensor(dtype, array.shape, array=array))
        graph.set_outputs([weight])
        back = parse_model(print_graph(graph, weights="all")).graph.initializers["w"].constant
        assert back is not None
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype not in (DType.UNDEFINED, DType.STRING)])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (5, 7)])
def test_every_element_type(dtype: DType, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    count = int(np.prod(shape))
    low, high = {"i": (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1), "b": (0, 2)}.get(
        dtype.numpy.kind, (0, min(2**dtype.bits - 1, 2**62) if dtype.numpy.kind == "u" else 99)
    )
    array = rng.integers(low, high, count, endpoint=dtype.numpy.kind != "b").astype(dtype.numpy).reshape(shape)
    graph = Graph()
    data = [
        graph.add_initializer("w", Tensor.of(array, dtype)),
        graph.add_initializer("s", Tensor.splat(1, shape, dtype)),
    ]
    graph.set_outputs(data)
    model = Model(graph, opset_imports={"": 17})
    around(model)
    back = parse_model(print_model(model, weights="all"))
    assert difference(model, back) is None


def test_strings_and_bytes() -> None:
    graph = Graph()
    words = Tensor.strings([b"plain", b'"\n', b"\xff\x00", "\u00fc".encode(), b""], (5,))
    graph.set_outputs([graph.add_initializer("w", words)])
    model = Model(graph, opset_imports={"": 17})
    back = around(model).graph.initializers["w"].constant
    assert back == words


def test_sparse_constants() -> None:
    model = parse_model("""
        graph() -> (%y) {
          %w: sparse(float32[3,4]) = sparse(float32[3,4], float32[2] [0.5, 1.0], int64[2] [0, 5])
          %k = Constant() {sparse_value=sparse(float32[2], float32[0] [], int64[0] [])}
          %y = Op(%w, %k)
        }
    """)
    data = model.graph.initializers["w"].initializer
    assert isinstance(data, SparseTensor)
    assert (data.shape, data.values.numpy().tolist()) == ((3, 4), [0.5, 1.0])
    around(model)


def test_short_cuts_for_data() -> None:
    model = parse_model("""
        graph() -> (%a) {
          %a: float32[2,2] = ones
          %b: int64[3] = iota
          %c: float32[2,2] = [[1, 2], [3, 4]]
          %d: float16[1000,1000] = splat(0.5)
          %e: float32[40] = random(seed=3)
          %f: float32[40] = random(seed=3)
          %g: float32[40] = random(seed=4, low=2, high=3)
          %h: uint8[40] = random(seed=1)
          %i: bool[4] = [true, false, 1, 0]
          %j: float32[2] = zeros
          %k: complex64[1] = x"0000803f00000040"
        }
    """)
    data = {name: value.constant for name, value in model.graph.initializers.items()}
    arrays = {name: tensor.numpy() for name, tensor in data.items() if tensor is not None}
    assert arrays["a"].tolist() == [[1, 1], [1, 1]]
    assert arrays["b"].tolist() == [0, 1, 2]
    assert arrays["c"].tolist() == [[1, 2], [3, 4]]
    assert data["d"] is not None
    assert data["d"].is_splat
    assert (arrays["e"] == arrays["f"]).all()
    assert -1 <= arrays["e"].min() < -0.5 < 0.5 < arrays["e"].max() < 1
    assert 2 <= arrays["g"].min() < arrays["g"].max() < 3
    assert set(arrays["h"].tolist()) == set(range(8))
    assert arrays["i"].tolist() == [True, False, True, False]
    assert arrays["k"].tolist() == [1 + 2j]
    around(model)


def test_random_data_is_the_same_everywhere() -> None:
    model = parse_model("graph() -> (%w) { %w: float32[3] = random(seed=7) }")
    assert "[-0.84738344, 0.5598376, -0.12318154]" in print_model(model)


def test_large_data_is_a_digest_unless_it_is_uniform() -> None:
    graph = Graph()
    graph.add_initializer("w", Tensor.of(np.arange(64, dtype=np.float32)))
    graph.add_initializer("u", Tensor.of(np.full(64, 0.25, np.float32)))
    graph.add_initializer("s", Tensor.splat(1, (1 << 20, 1 << 20), DType.FLOAT32))
    model = Model(graph, opset_imports={"": 17})
    text = print_model(model)
    assert re.search(r"%w: float32\[64\] = sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert "%u: float32[64] = splat(0.25)" in text
    assert "%s: float32[1048576,1048576] = splat(1.0)" in text
    assert "%w: float32[64] = ...\n  %u: float32[64] = ...\n" in print_model(model, weights="elide")
    assert "%w: float32[64] = [0.0, 1.0, 2.0," in print_model(model, weights="all")


def test_digests_are_looked_up() -> None:
    graph = Graph()
    tensor = Tensor.of(np.arange(64, dtype=np.float32))
    graph.add_initializer("w", tensor)
    model = Model(graph, opset_imports={"": 17})
    text = print_model(model)
    assert parse_model(text, {tensor.digest(): tensor}).graph.initializers["w"].constant is tensor
    with pytest.raises(ModelError, match="these weights are not at hand; parse with weights="):
        parse_model(text)
    with pytest.raises(ModelError, match=r"the weights of this digest are float32\[64\]"):
        parse_model(text.replace("float32[64]", "float32[65]"), model)
    reshaped = parse_model(text.replace("float32[64]", "float32[8,8]"), model).graph.initializers["w"].constant
    assert reshaped is not None
    assert reshaped.numpy().tolist() == tensor.numpy().reshape(8, 8).tolist()


def test_digests_reach_constants_in_attributes() -> None:
    branch = "graph() -> (%a) { %a = Constant() {value=float32[40] random(seed=1)} }"
    model = parse_model(body(f"%y = If(%x) {{then_branch={branch}, else_branch={branch}}}"))
    assert "value=float32[40] sha256:" in print_model(model)
    around(model)


def test_nested_graphs_see_outer_values() -> None:
    model = parse_model(body("%y = Op(%x) {g=graph(%i: int64[]) -> (%x, %j) { %j = Add(%x, %i) }}"))
    (nested,) = model.graph.node("").subgraphs
    assert nested.outputs[0] is model.graph.inputs[0]
    around(model)


def test_an_input_with_a_default() -> None:
    model = parse_model(body("%x: float32[2,3] = splat(0.5)\n%y = Relu(%x)"))
    x = model.graph.inputs[0]
    assert (x.is_graph_input, x.is_initializer) == (True, True)
    around(model)


def test_the_default_of_an_input_with_a_symbol_says_its_shape() -> None:
    model = parse_model("graph(%x: float32[N]) -> (%y) { %x: float32[2] = [1, 2]  %y = Relu(%x) }")
    assert print_model(model) == (
        "opset 17\n\ngraph(%x: float32[N]) -> (%y) {\n  %x: float32[2] = [1.0, 2.0]\n  %y = Relu(%x)\n}\n"
    )
    around(model)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ModelError, match="nested too deeply"):
        parse_model(f"graph(%x: {'seq(' * 5000}float32[1]{')' * 5000}) -> () {{ }}")


def test_quotes_where_a_name_is_no_identifier() -> None:
    graph = Graph("a graph")
    names = ["", "plain", "/a/b_0", "onnx::Conv_1", 'q"uote', "sp ace", "\u00fc", "a:b", "a-b", "%x", "inf", "1"]
    values = [graph.add_input(name or "empty", None) for name in names]
    graph.set_outputs(
        [graph.append(Node("Op-x", values, {"a b": 1, "inf": 2}, ["#"], domain="d-1", name="n n")).output]
    )
    graph.append(Node("splat", [values[0]], outputs=["o"], name='"'))
    model = Model(graph, opset_imports={"": 17, "d-1": 1, "inf": 2})
    text = print_model(model)
    assert '%/a/b_0, %onnx::Conv_1, %"q\\"uote", %"sp ace"' in text
    assert '%"#" = "d-1"::"Op-x"(' in text
    assert '%o = "splat"(' in text
    around(model)


def test_what_is_printed_is_chosen() -> None:
    model = parse_model(body('%a: float32[2,3] = Neg(%x) @n !origin ["m"]\n%y = Relu(%a)'))
    assert "%a: float32[2,3] = Neg(%x) @n !origin" in print_model(model)
    assert "%a = Neg(%x) @n\n" in print_model(model, types=False, origins=False)
    assert "-> (%y: float32[2,3])" in print_model(model, types=False)


def test_a_node_on_one_line() -> None:
    model = parse_model(body("%w: float32[40] = iota\n%y = Op(%x, %w) {g=graph() -> (%x) { }, k=float32[20] iota}"))
    assert print_node(model.graph.node("")) == "%y = Op(%x, %w) {g=graph graph(...), k=float32[20] ...}"


def test_printing_reads_no_weights_when_they_are_elided() -> None:
    def fail() -> np.ndarray:
        raise AssertionError("read")

    graph = Graph()
    graph.add_initializer("w", Tensor(DType.FLOAT32, (100,), load=fail))
    assert "%w: float32[100] = ..." in print_graph(graph, weights="elide")


def test_printing_is_deterministic() -> None:
    one = parse_model(body('%y = Op(%x) {b=1, a=2} @n !metadata {"z": "1", "a": "2"}'))
    two = parse_model(body('%y = Op(%x) {a=2, b=1} @n !metadata {"a": "2", "z": "1"}'))
    assert print_model(one) == print_model(two)


def test_extras_of_nodes_survive() -> None:
    model = parse_model(body("%y = Relu(%x) @n"))
    model.graph.node("n").extra = NodeExtra("doc\n", {"\u00fc": '"'}, "ov", b"\x00\x01")
    extra = around(model).graph.node("n").extra
    assert (extra.doc, extra.metadata, extra.overload, extra.unknown) == ("doc\n", {"\u00fc": '"'}, "ov", b"\x00\x01")


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "expected a graph"),
        ("grap(%x) -> (%x) { }", 1, 1, "expected graph, function, ir_version"),
        ("graph(%x) -> (%y) { }", 1, 15, "%y is not defined above this line"),
        ("graph(%x: float33[1]) -> () { }", 1, 11, "expected an element type such as float32, found 'float33'"),
        ("graph(%x: float32[1.5]) -> () { }", 1, 19, "expected an integer"),
        ("graph(%x: list(float32[1])) -> () { }", 1, 11, "expected a type: sparse"),
        ("graph(%x) -> (%x) {\n  %a = Relu(%b)\n}", 2, 13, "%b is not defined above"),
        ("graph(%x) -> (%x) {\n  %x = Relu(%x)\n}", 2, 3, "%x is defined already"),
        ("graph(%x) -> (%x) {\n  %a, %a = Op(%x)\n}", 2, 3, "two outputs of one node have the same name"),
        ("graph(%x, %x) -> () { }", 1, 11, "%x is defined already"),
        ("graph(%x) -> () {\n  %a = Relu(%x\n}", 3, 1, "expected ',', found '}'"),
        ("graph(%x) -> () {\n  %a = Relu(x)\n}", 2, 13, "expected a value such as %x, or _"),
        ("graph(%x) -> () {\n  %a = Relu(%x) {k=}\n}", 2, 20, "expected a value: a number"),
        ("graph(%x) -> () {\n  %a = Relu(%x) {k=[]}\n}", 2, 20, "an empty one names it: ints()"),
        ("graph(%x) -> () {\n  %a = Relu(%x) {k=[1, \"a\"]}\n}", 2, 20, "values of one kind"),
        ("graph(%x) -> () {\n  %a = Relu(%x) {k=@a: flot}\n}", 2, 24, "expected a kind of attribute"),
        ("graph(%x) -> () {\n  %a = Relu(%x) !origins\n}", 2, 17, "expected !doc, !metadata"),
        ("graph(%x) -> () {\n  %w: float32[2] = [1, 2, 3]\n}", 2, 20, "2 elements for shape [2], found 3"),
        ("graph(%x) -> () {\n  %w: int8[1] = [300]\n}", 2, 17, "elements that fit int8"),
        ("graph(%x) -> () {\n  %w: int4[1] = [8]\n}", 2, 17, "elements that fit int4"),
        ("graph(%x) -> () {\n  %w: int8[1] = [0.5]\n}", 2, 17, "an integer for int8"),
        ("graph(%x) -> () {\n  %w: string[1] = [1]\n}", 2, 19, "a string in quotes"),
        ("graph(%x) -> () {\n  %w: float32[N] = [1]\n}", 2, 3, "a type with a shape of numbers"),
        ("graph(%x) -> () {\n  %w = [1]\n}", 2, 3, "a type with a shape of numbers"),
        ("graph(%x) -> () {\n  %w: float32[2] = rnd\n}", 2, 20, "expected data: a number"),
        ("graph(%x) -> () {\n  %w: float32[2] = random(sed=1)\n}", 2, 27, "expected seed, low or high"),
        ("graph(%x) -> () {\n  %w: bfloat16[2] = random()\n}", 2, 21, "does not make bfloat16"),
        ("graph(%x) -> () {\n  %w: float32[2] = random(seed=inf)\n}", 2, 32, "expected an integer"),
        ("graph(%x) -> () {\n  %w: float32[2] = random(seed=-1)\n}", 2, 20, "expected"),
        ("graph(%x) -> () {\n  %w: int8[999999999] = random()\n}", 2, 25, "at most 268435456 elements to make up"),
        ("graph(%x) -> () {\n  %w: int8[129] = iota\n}", 2, 19, "elements that fit int8"),
        ("graph(%x: int8[1]) -> () {\n  %x: float32[1] = [1]\n}", 2, 3, "%x is int8[1]; this default is float32[1]"),
        ("graph(%x) -> () {\n  %w: bfloat16[2] = ones\n}", 2, 21, "give its bits"),
        ("graph(%x) -> () {\n  %w: float32[2] = x\"00\"\n}", 2, 20, "has 8 bytes, found 1"),
        ("graph(%x) -> () {\n  %w: float32[2] = x\"0\"\n}", 2, 20, "an even number of hex digits"),
        ("graph(%x) -> () {\n  %w: float32[20] = ...\n}", 2, 21, "the data was elided"),
        ("graph(%x) -> () { ^ }", 1, 19, "no token of the text form starts with '^ }'"),
        ("graph(%x) -> () { } graph(%x) -> () { }", 1, 21, "a second one"),
        ("opset foo\ngraph() -> () { }", 2, 1, "expected an integer"),
        ('doc "a\\q"\ngraph() -> () { }', 1, 5, "valid escapes"),
        ("function F() -> () { } function F() -> () { } graph() -> () { }", 1, 24, "defined already"),
        ("graph(%x: int64[]) -> (%y: int8[]) { %y: int64[] = Op(%x) }", 1, 24, "int64[] where it is made, and int8[]"),
        ("graph() -> () {\n  %a = Op() {v=sparse(float32[2], int8[1] [1], int64[1] [0])}\n}", 2, 16, "values of int8"),
        ('graph(%x) -> () {\n  %"" = Op(%x)\n}', 2, 3, "a value needs a name"),
        ("graph(%x) -> () {\n  %a = Relu(%x)", 2, 16, "the end of the text"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(text, source="my.irkit")
    told = str(caught.value)
    assert told.startswith(f"my.irkit, line {line}, column {column}: ")
    assert message in told
    shown, caret = told.split("\n")[1:]
    assert shown[4:] == text.split("\n")[line - 1].rstrip()
    assert caret == " " * (column + 3) + "^"
