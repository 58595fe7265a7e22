"""Rules on the structure of a model: a network that was compiled in real life, and facts that are told once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from irkit import Report, Severity, load, parse_model
from irkit.checks import ALL_RULES
from irkit.linter import run_rules
from irkit.target import Target, load_target
from tests.conftest import CORPUS_VARIABLE, find_corpus

COMPILED = "xfeat_224x320.onnx"
HOST = "xfeat_224x320_host_head.onnx"


@cache
def hailo8() -> Target:
    return load_target("hailo8")


def lint(path: Path) -> Report:
    with load(path) as model:
        return run_rules(model, hailo8(), ALL_RULES, path.stem)


@pytest.fixture(scope="module")
def compiled() -> Path:
    """The folder of XFeat, as Hailo compiled it: its first two nodes ran on the host."""
    corpus = find_corpus()
    folder = corpus.parent / "hef" if corpus is not None else None
    if folder is None or not (folder / COMPILED).is_file():
        pytest.skip(f"no {COMPILED}, a network that was compiled: ../hef beside the corpus ({CORPUS_VARIABLE})")
    return folder


def test_a_network_that_was_compiled_has_no_error(compiled: Path) -> None:
    found = lint(compiled / COMPILED).findings
    assert [item for item in found if item.severity is Severity.ERROR] == []


def test_what_its_authors_left_to_the_host_is_found(compiled: Path) -> None:
    """The file has the part for the host in front: a mean over the colours, and a norm over the whole picture."""
    with load(compiled / HOST) as model:
        left = {node.name for node in model.graph}
    found = {item.node: item.rule for item in lint(compiled / COMPILED).findings if item.node in left}
    assert set(found) == left == {"/ReduceMean", "/norm/InstanceNormalization"}


def test_a_node_is_told_of_once_for_each_fact(corpus: Path) -> None:
    """What the table says of a node is told by one rule; rules on cost and habits may add to it."""
    tables = {item.name for item in ALL_RULES if item.code.startswith(("HAI1", "HAI203"))}
    for path in models(corpus):
        told = [(item.node, item.op, item.message) for item in lint(path).findings if item.rule in tables and item.node]
        assert len(told) == len(set(told)), path.name
        verdicts = [item for item in told if not item[2].startswith(f"{item[1]}: ")]  # the others are needs
        assert len({item[:2] for item in verdicts}) == len(verdicts), path.name


def models(corpus: Path) -> Iterator[Path]:
    for entry in json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))["models"]:
        yield corpus / entry["file"]


ODD = ["", "{axis=9, axes=[7], perm=[0,5]}", "{kernel_shape=[3], strides=2, pads=[1], mode=3}"]


@pytest.mark.parametrize("attributes", ODD)
def test_invalid_nodes_stop_no_rule(attributes: str) -> None:
    """Every operator of the table, without operands and with the wrong ones: said to be invalid, or left alone."""
    for op in (name for name in hailo8().operators if "::" not in name):
        for operands in ("", "%x", "%x, %x", "%v, %x"):
            text = f"graph(%x: float32[1,4,8,8], %v: float32[]) -> (%y) {{ %y = {op}({operands}) {attributes} @node }}"
            report = run_rules(parse_model(text), hailo8(), ALL_RULES)
            assert {item.node for item in report.findings if item.rule == "invalid-node"} <= {"node"}, op
