"""Leads nodes from the operator set they are written in to another one."""

from __future__ import annotations

from irkit import inlining
from irkit.infer import Inference
from irkit.ir import Node
from irkit.onnx.functions import official_function
from irkit.onnx.schema import OpSchema, find_schema, latest_version
from irkit.opsets import signature
from irkit.opsets.lowering import LOWERING
from irkit.opsets.raising import RAISING
from irkit.opsets.step import ConversionError, Step

OLDEST_OPSET = 11
"""The oldest operator set to convert to; models may come from older ones."""


def newest_opset() -> int:
    """The newest version of ONNX's own operator set that the installed onnx package knows."""
    return latest_version("")


def needs_conversion(node: Node, source: int, target: int) -> bool:
    """Whether a node must be rewritten for the other version; where not, only the model's import changes."""
    return not node.domain and _schema(node.op, source) is not _schema(node.op, target)


def convert_node(node: Node, source: int, target: int) -> None:
    """Rewrite a node of ONNX's own domain from version `source` to `target`; it may become several.

    Types of its inputs should be known: some rules need ranks or element types. Names of its outputs stay. An operator
    that is in no version that irkit knows is left alone.

    Raises `ConversionError` with the reason where it cannot be said in the other version. The graph may then be half
    converted: undo what was done.
    """
    pending = [(node, source)]
    while pending:
        node, version = pending.pop()
        if node.graph is None or node.domain:
            continue
        schema, goal = _schema(node.op, version), _schema(node.op, target)
        if schema is not None and schema is not goal:
            pending += _take(node, schema, version, target)
        elif goal is not None and node.graph is not None:
            for problem in signature.problems(node, goal):
                raise ConversionError(f"{node.op} of version {goal.since_version}: {problem}")


def _take(node: Node, old: OpSchema, version: int, target: int) -> list[tuple[Node, int]]:
    """Take a node across one change of its operator. Returns what stands in its place, with its version."""
    down = target < version
    there = old.since_version - 1 if down else _next_change(old, version)
    assert node.graph is not None
    model = node.graph.model
    assert model is not None
    mark = model.journal.position
    graph, node_name = node.graph, node.name
    value_name = next((value.name for value in node.outputs if value.name), "")
    try:
        made, made_in = _follow_rule(Step(node, old, _schema(node.op, there)), there, down), there
    except ConversionError as error:
        if not down:
            raise
        model.journal.undo_to(mark)
        function = official_function(node, version)
        if function is None:
            raise ConversionError(
                f"{node.op_id} of version {old.since_version} is not in version {there}: {error}"
            ) from None
        made, made_in = inlining.inline_call(node, function), function.opset_imports.get("", there)
        made += [item for new in made for nested in new.subgraphs for item in nested.walk()]
        Inference.of(model).update()
    last = graph.values[value_name].producer if value_name else None
    if node.graph is None and last in made:
        last.name = node_name
    return [(item, made_in) for item in made]


def _follow_rule(step: Step, there: int, down: bool) -> list[Node]:
    change = max(step.old.since_version, there)
    rule = (LOWERING if down else RAISING).get((step.node.op, change))
    if rule is not None:
        rule(step)
    elif down and (step.node.op, change) in RAISING:
        step.refuse("the operator means something else there")
    if step.node.graph is None:
        return step.made
    if step.node.op != step.old.op:
        step.new = _schema(step.node.op, there)
    signature.take_step(step)
    return [*step.made, step.node]


def _next_change(schema: OpSchema, version: int) -> int:
    while _schema(schema.op, version) is schema:
        version += 1
    return version


def _schema(op: str, version: int) -> OpSchema | None:
    return find_schema(op, "", version)
