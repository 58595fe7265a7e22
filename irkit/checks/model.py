"""IRK004 to IRK013: what is odd about the model itself, whatever operators it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from irkit import ops
from irkit.checks.telling import first_few
from irkit.diagnostics import Severity
from irkit.inputs import fed_inputs
from irkit.ir import Node
from irkit.linter import Found, Subject, rule


@rule("IRK004", "opset-version", Severity.WARNING, facts=("opset", "opset_min"))
def opset_version(subject: Subject) -> Iterator[Found]:
    """A version of ONNX's operator set that the compiler is not known to read well.

    Why: operators change their attributes and inputs from version to version, and a parser follows late.
    Fix: irkit optimize converts the model, node by node.
    """
    facts, opset = subject.target.facts, subject.model.opset
    if facts.opset is not None and opset > facts.opset.value:
        message = f"the opset should be at most {facts.opset.value}; found {opset}"
        yield Found(message, fixable=subject.runs("lower-opset"), advice=facts.opset.advice)
    if facts.opset_min is not None and opset < facts.opset_min.value:
        message = f"the opset should be at least {facts.opset_min.value}; found {opset}"
        yield Found(message, fixable=subject.runs("lower-opset"))


@rule("IRK005", "ir-version", Severity.WARNING, facts=("ir_version",))
def ir_version(subject: Subject) -> Iterator[Found]:
    """An ONNX IR version that the tools around the compiler do not read.

    Why: the compiler's own ONNX Runtime refuses to load the file.
    Fix: irkit optimize writes the version the target reads.
    """
    fact, version = subject.target.facts.ir_version, subject.model.ir_version
    if fact is not None and version > fact.value:
        message = f"the IR version should be at most {fact.value}; found {version}"
        yield Found(message, fixable=subject.runs("lower-opset"), advice=fact.advice)


@rule("IRK006", "training-mode", Severity.ERROR)
def training_mode(subject: Subject) -> Iterator[Found]:
    """Batch norm or dropout in training mode.

    Why: batch norm then normalizes by the statistics of the batch it sees, dropout drops at random; the compiler takes
    the inference form only, and folding would change the network.
    Fix: call model.eval() before exporting, and leave torch.onnx.export's training option alone.
    """
    for node in subject.own_nodes:
        if node.domain:
            continue
        if node.op == "BatchNormalization" and _normalizes_by_batch(node):
            yield Found("BatchNormalization must be in inference mode; found training mode", node)
        elif node.op == "Dropout" and ops.is_random(node):
            yield Found("Dropout must be in inference mode; found training mode", node)


def _normalizes_by_batch(node: Node) -> bool:
    """Since opset 14 an attribute says so; before, asking for the batch's statistics did."""
    described = ops.schema_of(node)
    if described is None or "training_mode" in described.attributes:
        return bool(ops.attribute(node, "training_mode"))
    return sum(bool(value.name) for value in node.outputs) > 1


@rule("IRK008", "duplicate-node-name", Severity.WARNING)
def duplicate_node_name(subject: Subject) -> Iterator[Found]:
    """Nodes that share a name.

    Why: the compiler is told by node names where to start and end, and its messages name nodes.
    Fix: irkit optimize gives every node a name of its own.
    """
    counts = Counter(node.name for node in subject.own_nodes if node.name)
    shared = {name: count for name, count in counts.items() if count > 1}
    if shared:
        listed = first_few(f"`{name}` ({count} nodes)" for name, count in shared.items())
        yield Found(f"node names must be unique; {len(shared)} are shared: {listed}", fixable=True)


@rule("IRK009", "missing-node-name", Severity.WARNING)
def missing_node_name(subject: Subject) -> Iterator[Found]:
    """Nodes without a name.

    Why: the compiler is told by node names where to start and end, and its messages name nodes.
    Fix: irkit optimize gives every node a name.
    """
    nameless = [node for node in subject.own_nodes if not node.name]
    if nameless:
        outputs = first_few(f"the {node.op} that makes `{node.output.name}`" for node in nameless if node.outputs)
        yield Found(f"every node must have a name; {len(nameless)} have none: {outputs}", fixable=True)


@rule("IRK011", "removable-node", Severity.INFO)
def removable_node(subject: Subject) -> Iterator[Found]:
    """Nodes that compute constants, do nothing, or that no output depends on.

    Why: they are in the way of patterns that the compiler would recognise. Rules on operators do not look at them.
    Fix: irkit optimize takes them away.
    """
    graph = subject.model.graph
    dead = [node for node in graph if node not in subject.live]
    folded = [node for node in subject.folded if node in subject.live]
    idle = [node for node in subject.idle if node in subject.live and node not in subject.folded]
    for nodes, what, name in (
        (folded, "nodes that compute constants", "fold-constants"),
        (idle, "nodes that do nothing", "remove-identity"),
        (dead, "nodes without effect on any output", "remove-dead"),
    ):
        if nodes:
            counts = Counter(node.op_id for node in nodes)
            listed = first_few(f"{count} {op}" for op, count in sorted(counts.items()))
            yield Found(f"{what}: {listed}", fixable=subject.runs(name))


@rule("IRK012", "local-function", Severity.INFO)
def local_function(subject: Subject) -> Iterator[Found]:
    """Functions that the model defines and calls.

    Why: the compiler's parser looks for operators; a call of a function is none.
    Fix: irkit optimize puts their bodies where they are called.
    """
    if subject.functions:
        listed = first_few(f"{function.domain}::{function.name}" for function in subject.functions)
        fixable = subject.runs("inline-functions") and not subject.cannot_inline
        yield Found(f"the model calls functions of its own: {listed}", fixable=fixable)


@rule("IRK015", "invalid-node", Severity.ERROR)
def invalid_node(subject: Subject) -> Iterator[Found]:
    """A node that does not take its operands: their number, types, shapes, or an attribute is wrong.

    Why: no runtime and no compiler takes such a model, and what is computed after the node is not known.
    Fix: export the model again; where it was edited by hand, undo that. A declared type that is not what is computed is
    a warning: runtimes differ in what they make of it.
    """
    for problem in subject.inference.problems:
        text = f"output `{problem.value}`: {problem.message}" if problem.value and problem.declared else problem.message
        yield Found(text, problem.node, Severity.WARNING if problem.declared else None)


@rule("IRK013", "input-without-effect", Severity.WARNING)
def input_without_effect(subject: Subject) -> Iterator[Found]:
    """An input that no output of the model depends on.

    Why: it would still have to be fed, on the chip or by the parser's leave.
    Fix: leave it out when exporting.
    """
    read = set(subject.model.graph.outputs)
    for node in subject.live:
        read.update(node.reads())
    for value in fed_inputs(subject.model):
        if value not in read:
            yield Found(f"input `{value.name}` has no effect on any output")
