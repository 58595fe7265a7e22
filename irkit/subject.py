"""A model as lint rules look at it, for a target: what the chip would have to run, types, known values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from irkit import ops
from irkit.errors import ModelError
from irkit.identities import identity_source
from irkit.infer import Inference
from irkit.inlining import called_function, called_functions, inline_call
from irkit.ir import Node, Value
from irkit.model import Function, Model
from irkit.target import Target
from irkit.tensor import Tensor
from irkit.types import Shape, is_static

if TYPE_CHECKING:
    from irkit.hailo.calibration import CalibrationSet
    from irkit.hailo.dfc_events import DfcLog
    from irkit.hailo.scripts import ScriptFile

T = TypeVar("T")

_DATA_DEPENDENT = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Operators whose result has as many elements as the data decide."""

_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "ConstantOfShape": (0,), "Range": (0, 1, 2), "Slice": (1, 2, 3, 4),
    "Pad": (1, 3), "Resize": (2, 3), "Upsample": (1,), "TopK": (1,), "OneHot": (1,), "Squeeze": (1,), "Unsqueeze": (1,),
    "Split": (1,), "CenterCropPad": (1,), "MaxUnpool": (2,),
}  # fmt: skip
"""Inputs that decide the shape of the result."""

_MAY_KEEP_SHAPE = frozenset({"Reshape", "Expand", "Flatten"})
"""Operators that do nothing where the shape stays what it was."""


class Subject:
    """A model as lint rules look at it, for a target.

    Operators are judged on what is left once functions are inlined, constants folded and nodes gone that do nothing,
    since irkit's passes and every ONNX simplifier do that first. Made by `run_rules`, which takes back what inference
    and inlining do to the model.

    Attributes:
        model, target: what is linted, and for what.
        inference: types and known values.
        own_nodes: every node as the model has them, those of functions and nested graphs included.
        functions: the functions that the main graph calls.
        cannot_inline: calls left because the body cannot be written in the model's operator set, with the reason.
        calibration: the calibration set that goes with the model, None where none was given.
        scripts: model scripts, shell and Python files that are to compile it.
        dfc_log: what the compiler said of it, None where no log was given.
    """

    def __init__(
        self,
        model: Model,
        target: Target,
        *,
        calibration: CalibrationSet | None = None,
        scripts: Sequence[ScriptFile] = (),
        dfc_log: DfcLog | None = None,
    ) -> None:
        self.model = model
        self.target = target
        self.calibration = calibration
        self.scripts = tuple(scripts)
        self.dfc_log = dfc_log
        self.own_nodes = tuple(model.walk())
        self.functions = tuple(called_functions(model, model.graph))
        self.cannot_inline: dict[Node, str] = {}
        self.inference = Inference.of(model)
        if self.functions:
            self._inline()
        self.inference.update()
        self._results: dict[Callable[[Subject], Any], Any] = {}

    def _inline(self) -> None:
        from irkit.opsets.step import ConversionError

        pending = list(self.model.graph)
        while pending:
            call = pending.pop()
            function = called_function(self.model, call)
            if function is None:
                continue
            mark = self.model.journal.position
            try:
                pending += _inline_at(self.model, call, function)
            except (ConversionError, ModelError) as error:
                self.model.journal.undo_to(mark)
                self.cannot_inline[call] = str(error)

    def once(self, compute: Callable[[Subject], T]) -> T:
        """The result of a function of the subject that several rules need, computed once."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        return cast(T, self._results[compute])

    @functools.cached_property
    def _flow(self) -> _Flow:
        return _Flow(self)

    @property
    def folded(self) -> frozenset[Node]:
        """Nodes of the main graph that become constants once every input of the graph has a static shape."""
        return frozenset(self._flow.folded)

    @property
    def shaped_by_data(self) -> Mapping[Node, str]:
        """Nodes of the main graph whose result has a shape that depends on data, with the reason."""
        return self._flow.causes

    @functools.cached_property
    def live(self) -> frozenset[Node]:
        """Nodes of the main graph that some output of the graph depends on."""
        live: set[Node] = set()
        pending = [value.producer for value in self.model.graph.outputs if value.producer is not None]
        while pending:
            node = pending.pop()
            if node not in live and node.graph is self.model.graph:
                live.add(node)
                pending += [value.producer for value in node.reads() if value.producer is not None]
        return frozenset(live)

    @functools.cached_property
    def invalid(self) -> frozenset[Node]:
        """Nodes that do not take their operands, of which nothing else can be said."""
        return frozenset(problem.node for problem in self.inference.problems if not problem.declared)

    @functools.cached_property
    def idle(self) -> Mapping[Node, Value]:
        """Nodes of the main graph that do nothing, such as a Dropout, with the value they pass on."""
        sources = ((node, self._passed_on(node)) for node in self.model.graph)
        return {node: source for node, source in sources if source is not None}

    def _passed_on(self, node: Node) -> Value | None:
        if node in self.invalid:
            return None
        source = identity_source(node)
        if source is None and self._may_keep_shape(node) and node.inputs[0] is not None:
            before, after = self.shape(node.inputs[0]), self.shape(node.output)
            return node.inputs[0] if is_static(before) and before == after else None
        return source

    def _may_keep_shape(self, node: Node) -> bool:
        """Whether it does nothing where the shape stays what it was: a Slice unless it may go backwards."""
        if node.domain or node.op != "Slice":
            return not node.domain and node.op in _MAY_KEEP_SHAPE
        steps = node.input(4)
        data = self.tensor(steps) if steps is not None else None
        return steps is None or (data is not None and all(step > 0 for step in data.numpy().reshape(-1)))

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes the chip would have to run, in order: of the main graph, without constants and what goes away.

        Invalid ones are left out: rules on operators need not look out for operands that are missing.
        """
        needed: set[Node] = set()
        pending = list(self.model.graph.outputs)
        while pending:
            node = pending.pop().producer
            if node is None or node in needed or node in self.folded:
                continue
            needed.add(node)
            pending += [self.idle[node]] if node in self.idle else node.reads()
        return tuple(node for node in self.model.graph if node in needed and not self._goes_away(node))

    def _goes_away(self, node: Node) -> bool:
        return node in self.idle or node in self.invalid or (node.op == "Constant" and not node.domain)

    @functools.cached_property
    def by_op(self) -> Mapping[str, tuple[Node, ...]]:
        """`nodes` by `Node.op_id`."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.op_id, []).append(node)
        return {op: tuple(nodes) for op, nodes in found.items()}

    def of(self, *ops: str) -> Iterator[Node]:
        """The nodes of these operators."""
        for op in ops:
            yield from self.by_op.get(op, ())

    def is_constant(self, value: Value) -> bool:
        """Whether the value is a constant, or becomes one once shapes are static."""
        return value in self._flow.constants or value.constant is not None

    def tensor(self, value: Value) -> Tensor | None:
        """The data of a constant, stored or small enough to be computed, where it is known."""
        return self.inference.known(value)

    def shape(self, value: Value) -> Shape | None:
        """The shape, where the rank is known."""
        return self.inference.shape_of(value)

    def rank(self, value: Value | None) -> int | None:
        """The rank, where it is known."""
        shape = self.shape(value) if value is not None else None
        return None if shape is None else len(shape)

    def runs(self, name: str) -> bool:
        """Whether `irkit optimize` runs that pass for the target, so that what it repairs is fixable."""
        return name in self.target.pipeline.passes


class _Flow:
    """Which values of the main graph are constants, and where shapes come to depend on data: one sweep.

    Attributes: `constants`, `folded`, and `causes`: why the shape of a node's result depends on data.
    """

    def __init__(self, subject: Subject) -> None:
        graph = subject.model.graph
        self.subject = subject
        self.constants = {value for value in graph.initializers.values() if not value.is_graph_input}
        self.folded: set[Node] = set()
        self.causes: dict[Node, str] = {}
        self._loose: set[Value] = set()
        for node in graph:
            if node.op == "Constant" and not node.domain:
                self.constants.update(node.outputs)
            elif self._folds(node) or subject.idle.get(node) in self.constants:
                self.constants.update(node.outputs)
                self.folded.add(node)
            else:
                self._note_shape(node)

    def _folds(self, node: Node) -> bool:
        if node in self.subject.invalid:
            return False
        if node.op in ("Shape", "Size") and not node.domain:
            return node.input(0) not in self._loose
        if any(value is not None and value not in self.constants for value in node.inputs):
            return False
        return bool(node.inputs) and not node.subgraphs and ops.is_deterministic(node)

    def _note_shape(self, node: Node) -> None:
        cause = self._cause(node)
        if not cause and not node.subgraphs and not any(value in self._loose for value in node.inputs):
            return
        loose = [value for value in node.outputs if not is_static(self.subject.shape(value))]
        self._loose.update(loose)
        if cause and loose:
            self.causes[node] = cause

    def _cause(self, node: Node) -> str:
        if node.domain:
            return ""
        if node.op in _DATA_DEPENDENT:
            return f"{node.op} makes as many elements as the data decide"
        for slot in _SHAPE_OPERANDS.get(node.op, ()):
            value = node.input(slot)
            if value is not None and value not in self.constants:
                return f"`{value.name}`, which decides it, is computed from the network's input"
        return ""


def _inline_at(model: Model, call: Node, function: Function) -> list[Node]:
    """Put a function's body in the place of a call, in the model's operator set. Returns the nodes."""
    from irkit.opsets.converter import convert_node

    body = inline_call(call, function)
    version = function.opset_imports.get("", model.opset)
    for node in body if version != model.opset else ():
        if called_function(model, node) is None:
            convert_node(node, version, model.opset)
    return body
