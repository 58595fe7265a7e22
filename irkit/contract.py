"""What a pass must keep, whatever it does; and a user's pass held to that as it runs."""

from __future__ import annotations

import os
from typing import TypeAlias

from irkit import ops
from irkit.edits import stable_order
from irkit.errors import InvariantError
from irkit.faults import EditWatch, broken, user_error
from irkit.infer import Problem
from irkit.ir import Node
from irkit.library import same_folder
from irkit.model import Model
from irkit.opsets.signature import problems
from irkit.pass_base import Context, Pass
from irkit.types import SparseTensorType, TensorType, ValueType
from irkit.verifier import is_sound, verify


def run_users(item: Pass, model: Model, context: Context) -> None:
    """Let a user's pass work, with all that can be checked of what it did. Raises `UserPassError`."""
    before, known = signature(model), _problems(context)
    watch = EditWatch(item, sum(1 for _ in model.walk()))
    mark = model.journal.position
    try:
        with same_folder(), model.journal.listening(watch):
            answer = item.run(model, context)  # type: ignore[func-returns-value]  # it should not
        if answer is not None:
            raise broken(item, f"`run` returned a {type(answer).__name__}; it edits the model it gets", watch)
        watch.check_removed()
        _check_graph(model, mark)
        context.update_types()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and what users derive from BaseException
        if os.environ.get("IRKIT_DEBUG"):
            raise
        raise user_error(item, error, watch) from error
    reason = broken_contract(before, signature(model))
    if reason:
        kinds = ("rename", "graph-outputs", "graph-inputs", "type")
        raise broken(item, f"inputs and outputs stay as they are, but {reason}", watch, *kinds)
    _check_types(item, known, context, watch)
    if wrong := _misfit(model, mark, watch):
        raise broken(item, f"it leaves {wrong[0]!r} as it cannot be: {wrong[1]}", watch, wrong[0])


def _check_types(item: Pass, known: dict[Problem, str], context: Context, watch: EditWatch) -> None:
    """Raise `UserPassError` where types do not fit together that did before."""
    for problem, text in _problems(context).items():
        makers = [value.producer for value in problem.node.inputs if value is not None and value.producer is not None]
        places: tuple[Node | str, ...] = (problem.node, *makers, "type")
        if text not in known.values() and watch.place_of(*places):
            what = f"it leaves {problem.node!r} with types that do not fit: {problem.message}"
            raise broken(item, what, watch, *places)


def _problems(context: Context) -> dict[Problem, str]:
    """What inference finds wrong in the model, each with a text to know it again by."""
    found = context.inference.problems if context.inference is not None else []
    return {problem: f"{problem.node!r}: {problem.message}" for problem in found}


def _misfit(model: Model, mark: int, watch: EditWatch) -> tuple[Node, str] | None:
    """A node that the pass edited, and why it does not fit its operator, as it did before."""
    found = {node: text for node in watch.nodes() if node.graph is not None and (text := _problem(node))}
    if not found:
        return None
    after = model.journal.position
    model.journal.undo_to(mark)
    known = {node for node in found if node.graph is not None and _problem(node)}
    model.journal.redo_to(after)
    return next(((node, text) for node, text in found.items() if node not in known), None)


def _problem(node: Node) -> str:
    schema = ops.schema_of(node)
    return next(problems(node, schema), "") if schema is not None else ""


def _check_graph(model: Model, mark: int) -> None:
    """Raise `GraphError` where the edits since the mark broke the graph, which was sound before."""
    try:
        verify(model)
    except InvariantError:
        after = model.journal.position
        model.journal.undo_to(mark)
        was_sound = is_sound(model)
        model.journal.redo_to(after)
        if was_sound:
            for graph in model.walk_graphs():
                list(stable_order(graph))  # raises where it is a cycle that is wrong, which says more
            raise


Signature: TypeAlias = "tuple[list[tuple[str, ValueType | None]], list[tuple[str, ValueType | None]]]"


def signature(model: Model) -> Signature:
    """Names and types of inputs and outputs, in order."""
    inputs = [value for value in model.graph.inputs if not value.is_initializer]
    return [(v.name, v.type) for v in inputs], [(v.name, v.type) for v in model.graph.outputs]


def broken_contract(before: Signature, after: Signature) -> str:
    """How a pass broke the promise to keep names, order and element types of inputs and outputs; "" if it did not."""
    for kind, old, new in zip(("inputs", "outputs"), before, after, strict=True):
        if [name for name, _ in old] != [name for name, _ in new]:
            return f"the {kind} {[name for name, _ in old]} became {[name for name, _ in new]}"
        for (name, old_type), (_, new_type) in zip(old, new, strict=True):
            if not _is_kept(old_type, new_type):
                return f"{name!r}, one of the {kind}, was {old_type} and became {new_type}"
    return ""


def _is_kept(old: ValueType | None, new: ValueType | None) -> bool:
    if not isinstance(old, (TensorType, SparseTensorType)):
        return old is None or type(old) is type(new)
    if not isinstance(new, type(old)) or old.dtype != new.dtype:
        return False
    return old.shape is None or (new.shape is not None and len(old.shape) == len(new.shape))
