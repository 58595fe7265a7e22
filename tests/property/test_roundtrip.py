"""Any model comes back equal from its text, from its file, and from a file in pieces."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import irkit
from irkit import Model, difference, parse_model, print_model, structural_hash, verify
from irkit.testing import models


@given(model=models())
@settings(max_examples=150, deadline=None)
def test_text_reads_back(model: Model) -> None:
    text = print_model(model)
    back = parse_model(text, model)
    verify(back)
    assert difference(model, back, annotations=True) is None
    assert structural_hash(model, annotations=True) == structural_hash(back, annotations=True)
    assert print_model(back) == text
    whole = print_model(model, weights="all")
    assert difference(model, parse_model(whole), annotations=True) is None


@given(model=models(), external=st.booleans())
@settings(max_examples=100, deadline=None)
def test_files_read_back(model: Model, external: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        irkit.save(model, path, external_data=external)
        with irkit.load(path) as back:
            verify(back)
            assert difference(model, back) is None
            again = Path(folder) / "again.onnx"
            irkit.save(back, again, external_data=False)
        with irkit.load(again) as back:
            assert difference(model, back) is None


@given(model=models())
@settings(max_examples=60, deadline=None)
def test_names_inside_can_all_be_changed(model: Model) -> None:
    other = parse_model(print_model(model), model)
    for graph in other.walk_graphs():
        for value in list(graph.values.values()):
            if graph is not other.graph or not (value.is_graph_input or value.is_graph_output):
                value.name = other.fresh_name("other")
    for node in other.walk():
        node.name = other.fresh_node_name("other")
    verify(other)
    assert difference(model, other, names=False) is None
    assert difference(model, parse_model(print_model(other), other), names=False) is None


@given(model=models(max_steps=5), data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_mangled_text_is_refused_or_read(model: Model, data: st.DataObject) -> None:
    """Whatever is written, there is an error of irkit's own, or a model that prints and reads back."""
    words = re.findall(r"\s+|[%@!]?[\w./]+|.", print_model(model, weights="all"))
    pool = [*dict.fromkeys(words), "-1", "1e99", "nan", "%", '"', "inf", "...", "!doc", "@", "splat", "x"]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place : place + data.draw(st.integers(0, 1))] = data.draw(st.lists(st.sampled_from(pool), max_size=2))
    with contextlib.suppress(irkit.ModelError):
        read = parse_model("".join(words))
        assert difference(read, parse_model(print_model(read, weights="all")), annotations=True) is None


def test_the_models_drawn_are_of_many_kinds() -> None:
    ops: set[str] = set()

    @given(model=models())
    @settings(max_examples=250, deadline=None, database=None, derandomize=True)
    def collect(model: Model) -> None:
        ops.update(node.op for node in model.walk())

    collect()
    assert ops >= {
        "Conv", "BatchNormalization", "Relu", "Add", "Mul", "Concat", "Split", "Reshape", "Transpose", "Gemm", "Shape",
        "If", "Constant", "Identity", "Pad", "Slice", "Cast", "Erf", "Flatten",
    }  # fmt: skip


@pytest.mark.corpus
def test_every_model_of_the_corpus_reads_back_from_its_text(corpus: Path) -> None:
    checked = 0
    for path in sorted(corpus.glob("models/**/*.onnx")):
        if path.stat().st_size > 4 << 20:
            continue
        with irkit.load(path) as model:
            back = parse_model(print_model(model), model)
            verify(model)
            verify(back)
            assert difference(model, back, annotations=True) is None, path.name
        checked += 1
    assert checked > 20
