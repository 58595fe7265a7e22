"""Give every dimension a number.

    x: float32[batch,3,H,W]  =  x: float32[1,3,224,224]      batch by default, H and W as the user says
    Reshape(x, f(Shape(x)))  =  Reshape(x, c)                shape arithmetic is computed, types of outputs specialised
    If(f(Shape(x)), a, b)    =  a                            the branch for these shapes

Each dimension that is frozen is noted. A dimension of an input that nobody named, and a shape that hangs on data, is a
finding that says what to type. Shapes that a node cannot take are a finding, and then no more than the batch is
frozen. A batch that is fixed above 1 is changed only where the user gives the input's whole shape and no constant
holds the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

import irkit

_TARGETS = {"Reshape": 1, "Expand": 1}  # inputs that may as well be the shape of the output


@irkit.define_pass("static-shapes", effect="exact")
class StaticShapes(irkit.Pass):
    """Bind the batch to 1 and every named dimension to the user's number, and compute all shapes."""

    bind: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int = 1

    def repeated(self) -> irkit.Pass:
        return StaticShapes(batch=self.batch)  # what was named are numbers by now

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        bindings = irkit.bind_inputs(model, self.bind, self.shapes, self.batch)
        declared = [(value, value.type) for value in model.graph.outputs]
        (inference := irkit.Inference.of(model)).update()
        with context.rewriting(model, "freeze inputs") as allowed:
            if not allowed:
                return
            if not _freeze(model, context, bindings):
                bindings = irkit.bind_inputs(model, {}, {}, self.batch)  # the batch at least
                if not _freeze(model, context, bindings):
                    return
        irkit.take_known_branches(model, context)
        while irkit.fold_shape_arithmetic(model, context) + _fix_targets(model, context):
            inference.update()
        with context.rewriting(model, "specialise outputs") as allowed:
            if allowed:
                inference.specialise_outputs(redeclare=any(isinstance(frozen.old, int) for frozen in bindings.frozen))
        for value, old in declared:
            if value.type != old:
                context.note(f"output {value.name}: {old or 'no type'} is now {value.type}")
        _tell_inputs(model, context, self.batch)
        _tell_nodes(model, context, inference)


def _freeze(model: irkit.Model, context: irkit.Context, bindings: irkit.Bindings) -> bool:
    """Write the new shapes, and numbers for symbols elsewhere; False, with nothing changed, where a node refuses."""
    for frozen in [item for item in bindings.frozen if isinstance(item.old, int)]:
        reason = irkit.batch_obstacle(model, frozen.value)
        if reason:
            text = f"the batch of input `{frozen.value.name}` stays {frozen.old}: {reason}"
            context.find("IRK003", "batch-size", text, advice="export the model with that batch")
            bindings.shapes[frozen.value] = (frozen.old, *bindings.shapes[frozen.value][1:])
            bindings.frozen.remove(frozen)
    inference = irkit.Inference.of(model)
    wrong = {problem.node for problem in inference.problems}
    mark = model.journal.position
    for value in [value for graph in model.graph.walk_graphs() for value in graph.values.values()]:
        kind = value.type
        if isinstance(kind, irkit.TensorType) and kind.shape is not None:
            value.type = irkit.TensorType(kind.dtype, bindings.put_in(kind.shape))
    for value, shape in bindings.shapes.items():
        if value.dtype is not None:
            value.type = irkit.TensorType(value.dtype, shape)
    inference.update()
    for problem in inference.problems:
        if problem.node not in wrong and not problem.declared:
            where = f"`{problem.node.output.name}` ({problem.node.op})"
            text = f"{where} does not take the shapes that the inputs were to get: {problem.message}"
            context.find("IRK014", "shape-conflict", text, problem.node, advice="give other sizes by --bind or --shape")
            model.journal.undo_to(mark)
            inference.update()
            return False
    for frozen in bindings.frozen:
        context.note(str(frozen))
    return True


def _fix_targets(model: irkit.Model, context: irkit.Context) -> int:
    """Let nodes whose output shape is known read it as a constant; returns how many did not yet."""
    inference = irkit.Inference.of(model)
    inference.update()
    count = 0
    for graph in list(model.graph.walk_graphs()):
        for node in graph:
            slot = _TARGETS.get(node.op)
            target = node.input(slot) if slot is not None and not node.domain else None
            shape = inference.shape_of(node.output) if target is not None else None
            if slot is None or target is None or target.constant is not None or shape is None:
                continue
            if not all(isinstance(dim, int) and dim > 0 for dim in shape):  # a 0 would mean "as before" to Reshape
                continue
            with context.rewriting(model, "static target", node.name) as allowed:
                if allowed:
                    data = irkit.Tensor.of(np.asarray(shape, np.int64))
                    node.set_input(slot, graph.add_initializer(f"{node.output.name}_shape", data))
                    count += 1
    return count


def _tell_inputs(model: irkit.Model, context: irkit.Context, batch: int) -> None:
    for value in irkit.tensor_inputs(model):
        shape = value.shape
        if shape is None:
            text = f"input `{value.name}` has no known rank"
            context.find("IRK001", "dynamic-shape", text, advice=f"--shape {value.name}={batch},...")
        elif not all(isinstance(dim, int) for dim in shape):
            names = dict.fromkeys(str(dim) for dim in shape if irkit.is_named_dim(dim))
            whole = all(isinstance(dim, int) or irkit.is_named_dim(dim) for dim in shape)
            sizes = ",".join(str(dim) if isinstance(dim, int) else "NUMBER" for dim in shape)
            advice = " ".join(f"--bind {name}=NUMBER" for name in names) if whole else f"--shape {value.name}={sizes}"
            text = f"input `{value.name}` must have a static shape; found {value.type}"
            context.find("IRK001", "dynamic-shape", text, advice=advice)


def _tell_nodes(model: irkit.Model, context: irkit.Context, inference: irkit.Inference) -> None:
    """Name the nodes behind which a shape hangs on data: all they read is static, but not what they give."""
    wrong = {problem.node: problem.message for problem in inference.problems if not problem.declared}
    for node in model.graph.walk():
        if not all(_is_settled(inference, value) for value in node.inputs if value is not None):
            continue
        for value in node.outputs:
            if value.name and not _is_settled(inference, value):
                reason = f"hangs on data; found {inference.type_of(value) or 'no type'}"
                advice = "export with fixed sizes at that place, or cut the graph before it"
                if node in wrong:
                    reason = f"is not known, since {node.op} is not valid: {wrong[node]}"
                    advice = "repair the node, or export the model again"
                text = f"the shape of `{value.name}` {reason}"
                context.find("IRK002", "data-dependent-shape", text, node, advice=advice)
                break


def _is_settled(inference: irkit.Inference, value: irkit.Value) -> bool:
    kind = inference.type_of(value)
    return kind is not None and (not isinstance(kind, irkit.TensorType) or kind.is_static)
