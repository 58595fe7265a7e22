"""Types and known values of a whole model, in one forward sweep, and kept up to date by the journal.

Each node is inferred from the types of its inputs and from what is known of their values; shape arithmetic is computed
on the way, so that shapes and values reach a fixed point in one pass. After edits only what they touch is redone.

Recorded types are hints: they are believed of graph inputs, and behind operators that nobody can infer. Types of the
main graph's outputs are declarations, which inference does not change (see `Inference.specialise_outputs`).
"""

from __future__ import annotations

import heapq
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from irkit import fold, ops
from irkit.ir import Graph, Node, Value
from irkit.journal import Edit, Listener
from irkit.kernels.call import CannotEvaluate
from irkit.model import Model
from irkit.shapes import control, partial, rules
from irkit.shapes.control import State
from irkit.shapes.facts import MOST_ELEMENTS, Fact, items_of
from irkit.shapes.recorded import cleaned, first_known, fits, specialised
from irkit.shapes.site import Conflict, Site, Unknown
from irkit.tensor import Tensor
from irkit.types import Shape, SparseTensorType, TensorType, ValueType

if TYPE_CHECKING:
    from irkit.onnx.inference import DataKey
    from irkit.onnx.schema import OpSchema

_FLOAT_SHAPERS = frozenset({"Resize", "Upsample", "Range"})
"""Operators whose output shape hangs on float constants."""

_MOST_DATA = 256
"""Elements of a constant that onnx's inference is given."""


@dataclass(frozen=True)
class Problem:
    """A node whose types do not fit together.

    Attributes: `value` is the output it is about ("" where the node as a whole is wrong); `declared` tells that the
    model declares another type for that output than it computes.
    """

    node: Node
    value: str
    message: str
    declared: bool = False


class Inference:
    """Types and known values of a model. `Inference.of(model)` gives the one that all passes of a model share.

    `value.type` is set (through the journal) where inference knows better than what is recorded.
    """

    def __init__(self, model: Model) -> None:
        self._model = weakref.ref(model)
        self._types: dict[Value, ValueType | None] = {}
        self._facts: dict[Value, Fact] = {}
        self._problems: dict[Node, list[Problem]] = {}
        self._order: dict[Node, float] = {}
        self._dirty: set[Node] = set()
        self._all_dirty = True
        self._own_edit = False
        self._imports: dict[Graph, Mapping[str, int]] = {}
        listening = model.journal.listening(_listener(weakref.ref(self)))
        listening.__enter__()
        self._stop = weakref.finalize(self, listening.__exit__, None, None, None)
        self._stop.atexit = False

    @classmethod
    def of(cls, model: Model) -> Inference:
        """The inference of a model: made when first asked for, then the same one each time."""
        found = _SHARED.get(model)
        if found is None:
            found = _SHARED[model] = cls(model)
        return found

    def close(self) -> None:
        """Stop following the journal."""
        self._stop()

    # What it knows

    def type_of(self, value: Value) -> ValueType | None:
        """The type of a value: what inference found, or what is recorded where it found nothing."""
        found = self._types.get(value)
        return found if found is not None else cleaned(value.type)

    def shape_of(self, value: Value) -> Shape | None:
        """The shape of a tensor of known rank."""
        found = self.type_of(value)
        return found.shape if isinstance(found, (TensorType, SparseTensorType)) else None

    def known(self, value: Value) -> Tensor | None:
        """The data of a constant value: stored in the model, or computed by inference. Large ones only if stored."""
        fact = self._fact(value)
        return fact if isinstance(fact, Tensor) else value.constant

    def items(self, value: Value) -> Shape | None:
        """The elements of an integer scalar or vector, as far as they are known: numbers, symbols, None."""
        return items_of(self._fact(value))

    @property
    def problems(self) -> list[Problem]:
        """Where types do not fit together."""
        return [problem for node, found in self._problems.items() if node.graph is not None for problem in found]

    def problems_of(self, node: Node) -> Sequence[Problem]:
        """Where the types of one node do not fit together."""
        return self._problems.get(node, ())

    # Keeping up to date

    def run(self) -> None:
        """Infer the whole model anew."""
        model = self._live_model()
        self._types.clear()
        self._facts.clear()
        self._problems.clear()
        self._imports.clear()
        self._dirty.clear()
        self._order = {node: float(place) for place, node in enumerate(model.graph)}
        self._all_dirty = False
        for node in model.graph:
            self._visit(node)
        self._commit(model.graph)

    def update(self) -> None:
        """Infer what edits since the last time may have changed."""
        if self._all_dirty:
            self.run()
            return
        graph = self._live_model().graph
        heap = [(self._place(node), id(node), node) for node in self._dirty if node.graph is not None]
        heapq.heapify(heap)
        queued = {node for _, _, node in heap}
        self._dirty.clear()
        while heap:
            _, _, node = heapq.heappop(heap)
            queued.discard(node)
            if node.graph is not graph:
                continue
            before = [self._state(value) for value in node.outputs]
            self._visit(node)
            self._commit_node(node)
            for value, old in zip(node.outputs, before, strict=True):
                if self._state(value) != old:
                    for user in map(_outermost, value.users):
                        if user not in queued:
                            queued.add(user)
                            heapq.heappush(heap, (self._place(user), id(user), user))

    def specialise_outputs(self, *, redeclare: bool = False) -> None:
        """Write what inference knows into the declared shapes of the main graph's outputs.

        Only dimensions that are not declared as numbers change, unless `redeclare` says that declared numbers are
        outdated.
        """
        self.update()
        for value in self._live_model().graph.outputs:
            declared, found = value.type, self._types.get(value)
            if isinstance(declared, TensorType) and isinstance(found, TensorType):
                shape = specialised(declared.shape, found.shape, redeclare)
                self._set_type(value, TensorType(declared.dtype, shape))

    # The sweep

    def _live_model(self) -> Model:
        model = self._model()
        assert model is not None
        return model

    def _place(self, node: Node) -> float:
        """Roughly where a node stands; new ones are numbered by their predecessor. Only speed hangs on it."""
        found = self._order.get(node)
        if found is None:
            chain = []
            before: Node | None = node
            while before is not None and before not in self._order:
                chain.append(before)
                before = before.prev
            start = self._order[before] if before is not None else 0.0
            for count, item in enumerate(reversed(chain), 1):
                self._order[item] = start + count * 1e-6
            found = self._order[node]
        return found

    def state(self, value: object) -> State:
        """Type and fact of a value (for the rules of If, Loop and Scan)."""
        assert value is None or isinstance(value, Value)
        return (None, None) if value is None else self._state(value)

    def sweep(self, graph: Graph, inputs: Sequence[State]) -> list[State]:
        """Infer a nested graph whose inputs are so; returns what its outputs are."""
        for value, (type, fact) in zip(graph.inputs, inputs, strict=False):
            self._types[value] = first_known(type, cleaned(value.type))
            self._remember(value, fact)
        for node in graph:
            self._visit(node)
        return [self._state(value) for value in graph.outputs]

    def skip(self, graph: Graph) -> None:
        """Leave alone a nested graph that never runs: what is wrong there is no problem."""
        for node in graph.walk():
            self._problems.pop(node, None)

    def _state(self, value: Value) -> State:
        return self.type_of(value), self._fact(value)

    def _fact(self, value: Value) -> Fact | None:
        found = self._facts.get(value)
        if found is None:
            data = value.constant
            if data is not None and data.size <= MOST_ELEMENTS:
                return data
        return found

    def _remember(self, value: Value, fact: Fact | None) -> None:
        if fact is not None:
            self._facts[value] = fact
        else:
            self._facts.pop(value, None)

    def _visit(self, node: Node) -> None:
        """Infer one node and what is nested in it."""
        self._problems.pop(node, None)
        if not node.domain and node.op in control.RULES:
            states = self._control(node)
        elif not node.domain and node.op == "Constant":
            states = [_constant_state(node)]
        else:
            states = self._infer(node)
        for value, (type, fact) in zip(node.outputs, states, strict=False):
            self._types[value] = self._believed(node, value, type)
            self._remember(value, fact)

    def _control(self, node: Node) -> list[State]:
        try:
            return control.RULES[node.op](self, node)
        except Unknown:
            for graph in node.subgraphs:
                self.sweep(graph, [])
            return [(None, None)] * len(node.outputs)

    def _infer(self, node: Node) -> list[State]:
        schema = ops.schema(node.op, node.domain, self._version(node))
        if schema is None:
            return [(None, None)] * len(node.outputs)
        wrong = _wrong_attribute(node, schema)
        if wrong:
            self._problems.setdefault(node, []).append(Problem(node, "", wrong))
            return [(None, None)] * len(node.outputs)
        types = [self.type_of(value) if value is not None else None for value in node.inputs]
        facts = [self._fact(value) if value is not None else None for value in node.inputs]
        site = Site(node, types, facts, schema.since_version, schema.attributes)
        outputs = self._output_types(site, schema)
        return list(zip(outputs, _facts_of(site, outputs), strict=True))

    def _output_types(self, site: Site, schema: OpSchema) -> list[ValueType | None]:
        node = site.node
        rule = rules.RULES.get(node.op) if not node.domain else None
        try:
            if rule is not None:
                try:
                    found = rule(site)
                    return [*found, *[None] * (len(node.outputs) - len(found))]
                except Unknown:
                    pass
            return self._asked(site, schema)
        except Conflict as conflict:
            self._problems.setdefault(node, []).append(Problem(node, "", str(conflict)))
            return [None] * len(node.outputs)

    def _asked(self, site: Site, schema: OpSchema) -> list[ValueType | None]:
        """What onnx infers. Raises `Conflict`."""
        from irkit.onnx import inference

        node = site.node
        if not schema.has_inference or any(attr.ref for attr in node.attrs.values()) or node.subgraphs:
            return [None] * len(node.outputs)
        given = tuple([value is not None for value in node.inputs])
        if any(there and type is None for there, type in zip(given, site.types, strict=True)):
            return [None] * len(node.outputs)
        data = tuple([_data_key(node, fact) for fact in site.facts])
        named = tuple([bool(value.name) for value in node.outputs])
        key = inference.attributes_key(node)
        try:
            found = inference.infer_outputs(schema, self._version(node), key, given, tuple(site.types), data, named)
        except inference.Inconsistent as error:
            raise Conflict(str(error)) from None
        return rules.refined(site, found)

    def _version(self, node: Node) -> int:
        graph = node.graph
        assert graph is not None
        found = self._imports.get(graph)
        if found is None:
            found = self._imports[graph] = ops.opset_imports(graph)
        return found.get(node.domain, 0)

    def _believed(self, node: Node, value: Value, type: ValueType | None) -> ValueType | None:
        """The inferred type, or what is recorded where inference does not tell; a declaration is held against it."""
        recorded = cleaned(value.type)
        if type is None:
            return recorded
        if recorded is None or recorded == type:
            return type
        if not isinstance(type, TensorType) or not isinstance(recorded, TensorType):
            return first_known(type, recorded)
        if self._is_declared(value) and not fits(recorded, type):
            text = f"output {value.name!r} is declared as {recorded}, but {node.op} gives {type}"
            self._problems.setdefault(node, []).append(Problem(node, value.name, text, declared=True))
        if type.shape is None:
            # It can be inferred, only not from what is known here: of the recorded shape, the rank is believed.
            return TensorType(type.dtype, None if recorded.shape is None else (None,) * len(recorded.shape))
        return type

    def _is_declared(self, value: Value) -> bool:
        return value.is_graph_output and value.graph is self._live_model().graph

    # Writing down

    def _commit(self, graph: Graph) -> None:
        for node in graph:
            self._commit_node(node)

    def _commit_node(self, node: Node) -> None:
        for value in node.outputs:
            self._commit_value(value)
        for graph in node.subgraphs:
            for value in graph.inputs:
                self._commit_value(value)
            self._commit(graph)

    def _commit_value(self, value: Value) -> None:
        type = self._types.get(value)
        if type is None or not value.name or (value.type is not None and self._is_declared(value)):
            return
        self._set_type(value, type)

    def _set_type(self, value: Value, type: ValueType) -> None:
        if value.type is type:
            return
        self._own_edit = True
        try:
            value.type = type
        finally:
            self._own_edit = False

    # Following the journal

    def note_edit(self, edit: Edit) -> None:
        """Take down what an edit may have changed (called by the journal)."""
        if self._own_edit or self._all_dirty:
            return
        if edit.kind == "model":
            self._all_dirty = True
            return
        for node in _touched(edit):
            self._dirty.add(_outermost(node))


_SHARED: weakref.WeakKeyDictionary[Model, Inference] = weakref.WeakKeyDictionary()


def _listener(inference: weakref.ref[Inference]) -> Listener:
    def listen(edit: Edit) -> None:
        found = inference()
        if found is not None:
            found.note_edit(edit)

    return listen


def _touched(edit: Edit) -> Iterator[Node]:
    """The nodes whose types may differ after an edit."""
    target = edit.target
    if isinstance(target, Node):
        yield target
        if edit.kind == "remove" and edit.old is not None and edit.old[0].owner is not None:
            yield edit.old[0].owner
    elif isinstance(target, Value):
        yield from target.users
        if target.producer is not None:
            yield target.producer
    elif isinstance(target, Graph):
        for value in (*edit.old, *edit.new) if edit.kind == "graph-inputs" else ():
            yield from value.users
        if target.owner is not None:
            yield target.owner


def _outermost(node: Node) -> Node:
    """The node of the main graph (or of a function) that holds the node, or itself."""
    while node.graph is not None and node.graph.owner is not None:
        node = node.graph.owner
    return node


def _wrong_attribute(node: Node, schema: OpSchema) -> str:
    """What is wrong with the kind of an attribute, such as a text where a number belongs; "" for nothing."""
    for name, attr in node.attrs.items():
        declared = schema.attributes.get(name)
        if declared is not None and not attr.ref and attr.kind is not declared.kind:
            return f"attribute `{name}` must be of kind {declared.kind.name}; found {attr.kind.name}"
    return ""


def _facts_of(site: Site, outputs: Sequence[ValueType | None]) -> list[Fact | None]:
    """What is known of the outputs' values."""
    node = site.node
    none: list[Fact | None] = [None] * len(outputs)
    if node.domain or (not any(fact is not None for fact in site.facts) and node.op not in ("Shape", "Size")):
        return none
    if all(isinstance(fact, Tensor) or value is None for fact, value in zip(site.facts, node.inputs, strict=True)):
        return _computed(site, outputs) if node.op not in ("Shape", "Size") else _partial(site) or none
    return _partial(site) or none


def _computed(site: Site, outputs: Sequence[ValueType | None]) -> list[Fact | None]:
    none: list[Fact | None] = [None] * len(outputs)
    if not all(_is_small(type) for type in outputs[:1]) or ops.is_random(site.node):
        return none
    found = fold.evaluate(site.node, [fact if isinstance(fact, Tensor) else None for fact in site.facts], outputs)
    if found is None or any(tensor.size > MOST_ELEMENTS for tensor in found):
        return none
    return [*found, *none[len(found) :]]


def _is_small(type: ValueType | None) -> bool:
    """Whether a value is worth following: its size is known and not large."""
    if not isinstance(type, TensorType) or not type.is_static:
        return type is None or not isinstance(type, TensorType) or type.shape is None or len(type.shape) <= 1
    return math.prod(dim for dim in type.shape or () if isinstance(dim, int)) <= MOST_ELEMENTS


def _partial(site: Site) -> list[Fact | None] | None:
    rule = partial.RULES.get(site.node.op)
    if rule is None:
        return None
    try:
        found = rule(site)
    except (Unknown, AssertionError, IndexError, ValueError, CannotEvaluate):
        return None
    return [*found, *[None] * (len(site.node.outputs) - len(found))][: len(site.node.outputs)]


def _data_key(node: Node, fact: Fact | None) -> DataKey | None:
    """A constant input as part of the question to onnx, where the answer may hang on it."""
    from irkit.onnx.inference import DataKey

    if not isinstance(fact, Tensor) or fact.size > _MOST_DATA or not fact.dtype.is_native:
        return None
    if fact.dtype.is_float and node.op not in _FLOAT_SHAPERS:
        return None
    return DataKey(fact)


def _constant_state(node: Node) -> State:
    data = node.output.constant
    if data is None:
        return None, None
    return TensorType(data.dtype, data.shape), data if data.size <= MOST_ELEMENTS else None
