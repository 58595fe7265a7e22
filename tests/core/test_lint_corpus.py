"""Lint of real exports: it never fails, never changes them, and says the right thing of known faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from irkit import Finding, Report, Severity, load
from irkit.checks import ALL_RULES
from irkit.linter import run_rules
from irkit.structure import structural_hash
from irkit.target import Target, load_target

pytestmark = pytest.mark.corpus

CLEAN = [
    "imu__ts11", "imu__ts13-bn", "resnet18_w20__ts13-bn", "oddresnet__ts11-bn", "squeezenet1_1__ts13",
    "dcgan__ts17-bn", "dscnn_kws_w36__ts17-bn", "edsr_tiny__ts13", "gelu_exact__ts11",
    "bn_shared_weight__ts13-bn",
]  # fmt: skip
"""Networks of forms that Hailo's own networks have."""

BATCH_ONLY = ["imu__ts17-bn-db", "lcnet_050__ts17-bn-db", "oddresnet_se__ts17-bn-db"]
"""The same with a dynamic batch, which `irkit optimize` repairs."""

ERRORS = {
    "imu_trainmode__ts17-train": {("training-mode", "BatchNormalization")},
    "crnn_ocr__ts17-bn": {("recurrent-layer", "LSTM")},
    "bert_tiny__ts13": {("embedding-lookup", "Gather"), ("masking-by-where", "Where")},
    "aecmos_2": {("reduction-form", "ReduceMax"), ("dynamic-shape", ""), ("batch-size", "")},
    "dnsmos_sig": {("reduction-form", "ReduceMax"), ("dynamic-shape", "")},
    "ssdlite320__ts13-bn": {("detection-head", "Reshape"), ("detection-head", "Concat")},
    "deit_tiny_patch16_224__dyn18-bn": set(),
    "wav2vec_conv__ts17": {("one-dimensional-layer", "Conv")},
    "shufflenet_v2_x1_0__dyn18-bn": set(),
}  # fmt: skip
"""The errors of models, as (rule, operator)."""

RULES = {
    "imu_qdq": "quantized-model",
    "mobilenetv3_half__ts13-half-bn": "input-type",
    "local_functions": "local-function",
    "silero_openvino_16k": "duplicate-node-name",
    "melspectrogram": "non-finite-weights",
    "gutenye_cls_op9": "opset-version",
    "gelu_exact__dyn20": "unsupported-operator",
    "gelu_zoo__ts17": "unknown-operator",
    "bn_conv3d__dyn18-bn": "weak-evidence",
    "skl_logreg": "unsupported-operator",
    "loop_and_scan": "control-flow",
}
"""A rule that has something to say of a model."""


@cache
def hailo8() -> Target:
    return load_target("hailo8")


def lint(corpus: Path, name: str) -> Report:
    with load(corpus / "models" / f"{name}.onnx") as model:
        return run_rules(model, hailo8(), ALL_RULES, name)


def entries(corpus: Path) -> Iterator[dict[str, Any]]:
    yield from json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))["models"]


def test_every_model_is_linted_and_left_as_it_was(corpus: Path) -> None:
    for entry in entries(corpus):
        with load(corpus / entry["file"]) as model:
            before = structural_hash(model, annotations=True)
            report = run_rules(model, hailo8(), ALL_RULES, entry["name"])
            assert structural_hash(model, annotations=True) == before, entry["name"]
            assert run_rules(model, hailo8(), ALL_RULES, entry["name"]) == report, entry["name"]


def test_every_finding_says_where_and_what(corpus: Path) -> None:
    for entry in entries(corpus):
        with load(corpus / entry["file"]) as model:
            names = {node.name for node in model.walk()}
            findings = run_rules(model, hailo8(), ALL_RULES).findings
        for finding in findings:
            assert finding.message
            assert "None" not in finding.message, (entry["name"], finding.message)
            if finding.node in names and finding.node:
                assert finding.origin.nodes == (finding.node,), (entry["name"], finding)


def about_compiling(report: Report) -> list[Finding]:
    """What speaks of the compiler taking the network; not of speed, accuracy or habits, nor of random weights."""
    families = ("IRK00", "IRK02", "HAI1", "HAI2")
    return [finding for finding in report.findings if finding.code.startswith(families)]


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_to_say_of_what_is_known_to_compile(corpus: Path, name: str) -> None:
    assert about_compiling(lint(corpus, name)) == []


@pytest.mark.parametrize("name", BATCH_ONLY)
def test_a_dynamic_batch_is_repaired_by_optimize(corpus: Path, name: str) -> None:
    found = about_compiling(lint(corpus, name))
    assert [(finding.rule, finding.fixable) for finding in found] == [("dynamic-shape", True)]


@pytest.mark.parametrize("name", ERRORS)
def test_the_errors_of_a_model(corpus: Path, name: str) -> None:
    found = [finding for finding in lint(corpus, name).findings if finding.severity is Severity.ERROR]
    assert {(finding.rule, finding.op) for finding in found} == ERRORS[name]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_something_to_say(corpus: Path, name: str) -> None:
    assert RULES[name] in {finding.rule for finding in lint(corpus, name).findings}


def test_a_finding_names_the_line_of_the_users_code(corpus: Path) -> None:
    """The dynamo exporter records where in Python a node comes from; the node's module path comes from there too."""
    found = [item for item in lint(corpus, "shufflenet_v2_x1_0__dyn18-bn").findings if item.rule == "partial-operator"]
    assert all(item.origin.module or item.origin.file for item in found)
