"""HAI601 to HAI609: what the compiler's log says of translating the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from irkit.checks.dfc_places import events, in_log, node_of, told, where
from irkit.diagnostics import Severity
from irkit.hailo.dfc_events import DfcEvent, EventKind
from irkit.ir import Node
from irkit.linter import Found, Subject, rule

_CUT = "cut the graph before it (--end-node-names) and run the rest on the host"


@rule("HAI601", "dfc-unsupported-operator", Severity.ERROR)
def dfc_unsupported_operator(subject: Subject) -> Iterator[Found]:
    """An operator that the compiler's parser has no handler for, by its log.

    Why: it said so of this model; no setting changes that.
    Fix: rewrite it with operators that are taken, or cut the graph there and run the rest on the host.
    """
    for event in events(subject, EventKind.OPERATOR):
        yield from told(subject, event, "the compiler has no handler for {what}", _CUT)


@rule("HAI602", "dfc-unsupported-reshape", Severity.ERROR)
def dfc_unsupported_reshape(subject: Subject) -> Iterator[Found]:
    """A Reshape, Transpose or Flatten that the compiler makes no layer of, by its log.

    Why: it takes them only where they amount to something it has a layer for: flattening before a dense layer, shuffles
    of channels or pixels, the heads of attention.
    Fix: write what it amounts to: a 1x1 convolution for a dense layer over a map, DepthToSpace, SpaceToDepth; or cut
    the graph there.
    """
    advice = "write what it amounts to with a layer the compiler has (1x1 Conv, DepthToSpace, SpaceToDepth), or " + _CUT
    for event in events(subject, EventKind.SHUFFLE):
        yield from told(subject, event, "the compiler makes no layer of {what}", advice, asks_table=False)


@rule("HAI603", "dfc-unsupported-form", Severity.ERROR)
def dfc_unsupported_form(subject: Subject) -> Iterator[Found]:
    """An operator that the compiler takes, in a form that it does not, by its log.

    Why: its layers work on certain axes, with certain activations and layouts.
    Fix: bring it to the form that the message names, or cut the graph there.
    """
    advice = "bring it to the form that the message names, or " + _CUT
    for event in events(subject, EventKind.FORM):
        yield from told(subject, event, "the compiler does not take this form of {what}", advice)


@rule("HAI604", "dfc-unexpected-node", Severity.ERROR)
def dfc_unexpected_node(subject: Subject) -> Iterator[Found]:
    """An operator that the compiler knows, in a place where it does not expect it, by its log.

    Why: Expand, Where, Squeeze and the like are taken only where they become constants, or stand beside certain layers.
    Fix: fold it (irkit optimize), write repeats into the weights, or cut the graph there.
    """
    advice = "fold it into constants (irkit optimize), write the repeat into the weights, or " + _CUT
    for event in events(subject, EventKind.PLACE):
        yield from told(subject, event, "the compiler did not expect {what} here", advice)


@rule("HAI605", "dfc-layers-do-not-fit", Severity.ERROR)
def dfc_layers_do_not_fit(subject: Subject) -> Iterator[Found]:
    """Layers that do not fit together as the compiler lays them out, by its log.

    Why: it turns tensors to (height, width, channels); constants and operands of other ranks then do not match, and an
    operand that it drops leaves a layer with one input.
    Fix: give both operands rank 4, write constants in the shape of the result, and fold what is constant.
    """
    advice = "give operands rank 4, write constants in the full shape, fold what is constant (irkit optimize)"
    for event in events(subject, EventKind.STRUCTURE):
        yield from told(subject, event, "layers around {what} do not fit together", advice)


_SUSPECTS: dict[str, tuple[str, ...]] = {
    "_convert_axes_to_nhwc": ("LayerNormalization", "ReduceMean", "ReduceSum", "ReduceMax", "Softmax"),
    "_create_layer_normalization_layer": ("LayerNormalization",),
    "update_reshape_output_format": ("Reshape",),
    "is_null_transpose_near_torch_tile": ("Tile", "Expand", "Transpose"),
    "_handle_neg_feature_shuffle": ("Neg",),
    "get_concat_info": ("Concat",),
    "get_dynamic_kernel_shape": ("Conv",),
    "parse_raw_data": ("ConstantOfShape", "Constant"),
    "is_windows_to_input_chain_end": ("Reshape", "Shape"),
}
"""Functions of the parser in which it broke off in public tracebacks, and the operators they deal with."""


@rule("HAI606", "dfc-parser-crash", Severity.ERROR)
def dfc_parser_crash(subject: Subject) -> Iterator[Found]:
    """The compiler's parser broke off with an error of its own, by its log.

    Why: most often it lost the channel axis: a tensor of rank 2 or 3 went through a normalization, a reduction or a
    Reshape whose layout it could not follow.
    Fix: keep tensors in rank 4 (or batch first in rank 3) up to there, or translate the model up to an earlier node to
    find where it breaks.
    """
    advice = "keep rank 4 up to there, or try earlier end nodes (--end-node-names) to find the node"
    for event in events(subject, EventKind.CRASH):
        function = event.values.get("in", "")
        asked = _suspects(subject, event, function)
        inside = f" in {function}" if function else ""
        text = f"the compiler's parser broke off{inside}: {event.name}: {event.text} ({where(subject, event)})"
        if len(asked) == 1:
            yield Found(f"{text}; the only {asked[0].op_id} of the model", asked[0], advice=advice)
            continue
        listed = ", ".join(f"`{node.name}`" for node in asked[:3]) + (", ..." if len(asked) > 3 else "")
        text += f"; it deals with {listed}" if asked else "; it does not say at which node"
        yield Found(text, advice=advice, origin=in_log(subject, event))


def _suspects(subject: Subject, event: DfcEvent, function: str) -> list[Node]:
    """The nodes that the parser may have been at: of the operators that the function it broke off in deals with."""
    if "channels is not in list" in event.text:
        function = function or "update_reshape_output_format"
    return list(subject.of(*_SUSPECTS.get(function, ())))


@rule("HAI607", "dfc-node-name", Severity.ERROR)
def dfc_node_name(subject: Subject) -> Iterator[Found]:
    """A start or end node that the compiler did not find, by its log.

    Why: it wants names of nodes; names of tensors, as Netron shows for inputs and outputs, are none. A node that became
    part of another layer cannot be an end node either.
    Fix: name the node that makes the tensor, and end at a convolution.
    """
    for event in events(subject, EventKind.NAME):
        for name in event.nodes or ("",):
            yield _misnamed(subject, event, name)


def _misnamed(subject: Subject, event: DfcEvent, name: str) -> Found:
    node = node_of(subject, name) if name else None
    said = f"it said: {event.text} ({where(subject, event)})"
    if node is None:
        text = f"the compiler did not find {f'the node `{name}`' if name else 'a node by its name'}; {said}"
        return Found(text, advice="give names of nodes of this model", origin=in_log(subject, event))
    if node.name != name:
        text = f"the compiler takes names of nodes; `{name}` is no node but a tensor; {said}"
        return Found(text, node, advice=f"give the node that makes it: `{node.name}`")
    text = (
        f"the compiler made no layer of its own of this {node.op_id}, so that it cannot be a start or end node; {said}"
    )
    return Found(text, node, advice="end at a convolution before it: " + _listed(convolutions_before([node])))


@rule("HAI608", "dfc-end-nodes", Severity.INFO)
def dfc_end_nodes(subject: Subject) -> Iterator[Found]:
    """End nodes that the compiler proposes, or took by itself.

    Why: the part after them is missing in what is compiled, and has to run on the host. The proposal is often one or
    two nodes too deep: it parses, and then does not fit the chip or quantizes badly.
    Fix: give end nodes yourself, at the last convolution of each branch.
    """
    for event in events(subject, EventKind.END_NODES):
        nodes = [node for node in (node_of(subject, name) for name in event.nodes) if node is not None]
        lost = [name for name in event.nodes if node_of(subject, name) is None]
        verb = {"taken": "took by itself", "for-nms": "wants for its own NMS"}.get(event.name, "proposes")
        text = f"end nodes that the compiler {verb} ({where(subject, event)}): {_names(event.nodes)}"
        text += f"; not in this model: {_names(lost)}" if lost else ""
        severity = Severity.WARNING if event.name == "taken" else None
        yield Found(text, None, severity, advice=_cut_advice(nodes), origin=in_log(subject, event))


def _cut_advice(nodes: Sequence[Node]) -> str:
    before = convolutions_before(nodes)
    if not before:
        return "give end nodes yourself: --end-node-names, with names of nodes"
    if set(before) == set(nodes):
        return f"give them yourself: --end-node-names {_listed(before)}"
    return f"a hint only; the convolutions just before: --end-node-names {_listed(before)}"


_LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm"})


def convolutions_before(nodes: Sequence[Node]) -> list[Node]:
    """The nearest convolutions and dense layers at or above the nodes."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op in _LINEAR and not node.domain:
            found[node] = None
            continue
        producers = [value.producer for value in node.inputs if value is not None]
        pending += [producer for producer in reversed(producers) if producer is not None]
    return list(found)


@rule("HAI609", "dfc-input", Severity.ERROR)
def dfc_input(subject: Subject) -> Iterator[Found]:
    """Inputs or calibration data that the compiler could not bring together with the network, by its log.

    Why: it needs a fixed shape for every input, and calibration data as (samples, height, width, channels) under the
    names of its own input layers.
    Fix: export with fixed shapes; store the calibration set channels last; of several inputs, by layer name in an .npz.
    """
    for event in events(subject, EventKind.INPUT):
        text = f"inputs do not fit: {event.text} ({where(subject, event)})"
        yield Found(text, advice=_input_advice(subject, event), origin=in_log(subject, event))


_SHAPES = re.compile(r"Data shape \(([\d, ]+)\).*?input shape \(([\d, ]+)\)")


def _input_advice(subject: Subject, event: DfcEvent) -> str:
    if "Unspecified" in event.text:
        return "export with fixed shapes, or give them: --tensor-shapes " + " ".join(
            f"{name}=[1,...]" for name in event.nodes
        )
    shapes = _SHAPES.search(event.text)
    if shapes is not None:
        given, wanted = ([int(size) for size in part.split(",") if size.strip()] for part in shapes.groups())
        if given != wanted and sorted(given) == sorted(wanted):
            return "the axes are in another order: store the calibration set channels last (samples, H, W, channels)"
        if given == [1, *wanted]:
            return "leave out the axis of size 1 in front: samples are stacked in the first axis of the file"
    if event.name == "KeyError" and event.layers:
        origin = subject.dfc_log.layers.get(event.layers[0], "") if subject.dfc_log is not None else ""
        called = f" (the model's `{origin}`)" if origin else ""
        return f"calibration data goes by the names of the compiler's input layers: `{event.layers[0]}`{called}"
    return "store the calibration set as (samples, height, width, channels); rank 3 becomes (1, length, channels)"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _listed(nodes: Sequence[Node]) -> str:
    return " ".join(node.name for node in nodes[:12]) or "none"
