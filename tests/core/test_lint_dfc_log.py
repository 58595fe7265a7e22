"""Lint with the compiler's log: what it refused is told at the node, and silence is not taken for success."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irkit import Finding, Model, Severity, lint, parse_model
from irkit.checks.dfc_parsing import convolutions_before
from tests.refused.scoring import Form, refused

LOGS = Path(__file__).parent / "dfc_logs"
IN_OP = re.compile(r"^\w+Error in op (\S+?):? ")
FORMS = [form for form in refused() if (named := IN_OP.match(form.header["message"])) and named[1] in form.nodes]


def told(model: Model, log: str | Path) -> list[Finding]:
    return lint(model, dfc_log=log, select=["HAI6"]).findings


def of(name: str) -> Model:
    return next(form for form in refused() if form.name == name).model()


SMALL = "graph(%x: float32[1,3,8,8]) -> (%y) { %w: float32[4,3,1,1] = ones %y = Conv(%x, %w) @/head/Conv }"


def test_nothing_is_said_without_a_log() -> None:
    assert lint(of("mod-of-indices"), select=["HAI6"]).findings == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_what_was_refused_in_public_is_found_at_its_node(form: Form) -> None:
    found = told(form.model(), form.header["message"] + "\n")
    assert [finding.node in form.nodes for finding in found] == [True]
    assert found[0].severity is Severity.ERROR


def test_a_whole_list_of_errors() -> None:
    found = told(of("mod-of-indices"), LOGS / "yolo26_parser.log")
    nodes = [finding.node for finding in found if finding.node]
    assert sorted(nodes) == sorted(
        f"/model.23/{name}" for name in ("GatherElements", "ReduceMax", "Flatten", "TopK", "TopK_1", "Mod", "Gather_3")
    )
    lost = [finding for finding in found if not finding.node]
    assert len(lost) == 1
    assert "`/model.23/GatherElements_1` (no node of this model, or several)" in lost[0].message
    assert "(yolo26_parser.log:3)" in lost[0].message
    assert (Path(lost[0].origin.file).name, lost[0].origin.line) == ("yolo26_parser.log", 3)


def test_silent_warnings_are_told() -> None:
    codes = {finding.rule for finding in told(parse_model(SMALL), LOGS / "seg_compile.log")}
    assert {"dfc-optimization-level", "dfc-calibration-samples", "dfc-no-gpu", "dfc-contexts"} <= codes
    assert {"dfc-end-nodes", "dfc-allocation-failed", "dfc-simplified-model"} <= codes


def test_one_failure_of_the_allocator_is_told_once() -> None:
    found = [one for one in told(parse_model(SMALL), LOGS / "seg_compile.log") if one.rule == "dfc-allocation-failed"]
    assert len(found) == 1
    assert "`concat24`" in found[0].message


def test_the_log_of_another_model_is_recognised() -> None:
    found = told(parse_model(SMALL), LOGS / "yolo26_parser.log")
    assert "none of the 8 nodes" in next(one.message for one in found if one.rule == "dfc-log-not-understood")


def test_a_text_that_is_no_log_is_told() -> None:
    (finding,) = told(parse_model(SMALL), "hello\nworld\n")
    assert (finding.rule, finding.severity) == ("dfc-log-not-understood", Severity.WARNING)


def test_a_log_of_success_leaves_nothing_to_say() -> None:
    good = Path(__file__).parents[1] / "golden" / "lint" / "HAI601" / "good.log"
    assert told(parse_model(SMALL), good) == []


def test_end_nodes_are_brought_back_to_convolutions() -> None:
    model = of("yolo-dfl")
    nodes = {node.name: node for node in model.graph}
    assert [node.name for node in convolutions_before([nodes["/model.22/dfl/Softmax"]])] == [
        "/model.22/cv2.0/cv2.0.2/Conv"
    ]
    assert convolutions_before([nodes["/model.22/cv2.0/cv2.0.2/Conv"]]) == [nodes["/model.22/cv2.0/cv2.0.2/Conv"]]
    assert convolutions_before([]) == []
