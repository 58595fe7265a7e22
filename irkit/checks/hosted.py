"""HAI110 to HAI114: what a host has to run, and where to cut the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from irkit import ops
from irkit.checks.cuts import is_behind_a_layer, named
from irkit.checks.heads import advice_to_cut, heads
from irkit.checks.reading import shape_in
from irkit.checks.telling import grounds, told, with_advice
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule, severity_of
from irkit.table import Status


@rule("HAI110", "recurrent-layer", Severity.ERROR)
def recurrent_layer(subject: Subject) -> Iterator[Found]:
    """A recurrent layer: LSTM, GRU or RNN.

    Why: the compiler has no layer that feeds its result back; a fixed number of steps written out one after the other
    was compiled.
    Example: `torch.nn.LSTM(64, 128, bidirectional=True)`.
    Fix: write the steps out with Linear, Sigmoid, Tanh and Mul when exporting, replace it by convolutions over time,
    or keep it on the host.
    """
    yield from told(subject, "recurrent-layer", detail=_recurrence, advice=advice_to_cut)


def _recurrence(subject: Subject, node: Node) -> str:
    shape = shape_in(subject, node)
    time = 1 if ops.attribute(node, "layout") else 0
    steps = shape[time] if shape is not None and len(shape) == 3 else None
    parts = [_text(ops.attribute(node, "direction")), f"{steps} steps" if isinstance(steps, int) else ""]
    size = ops.attribute(node, "hidden_size")
    return ", ".join(part for part in (*parts, f"{size} units" if size else "") if part)


@rule("HAI111", "control-flow", Severity.ERROR)
def control_flow(subject: Subject) -> Iterator[Found]:
    """An If, Loop or Scan that depends on what flows through the network.

    Why: the chip runs one fixed graph; what is computed cannot hang on a value or be repeated.
    Example: `if x.sum() > 0:` in a scripted module.
    Fix: irkit optimize takes the branch where the condition is known; else trace the model with the branch taken,
    write the loop out, or keep it on the host.
    """
    yield from told(subject, "control-flow", advice=advice_to_cut)


@rule("HAI112", "detection-head", Severity.ERROR)
def detection_head(subject: Subject) -> Iterator[Found]:
    """Boxes are made of feature maps inside the graph.

    Why: flattening maps of several sizes into one list of anchors, and the arithmetic on it, is refused; the networks
    of Hailo's Model Zoo end at the last convolutions of each scale, and the boxes are made on the host.
    Example: the head of YOLOv8 behind the convolutions of `cv2` and `cv3`.
    Fix: cut at the nodes that the finding names, and decode on the host or by `nms_postprocess` in the model script.
    """
    entry = subject.target.patterns.get("yolo-head")
    if entry is None or entry.status is not Status.UNSUPPORTED:
        return
    for head in subject.once(heads):
        what = f"the decoding of detections, {len(head.nodes)} nodes in all"
        for node in (*head.flattening, *head.joins):
            message = f"{what}, is refused by the compiler {grounds(entry.confidence, entry.evidence)}"
            found = Found(message, node, severity_of(entry.confidence), advice=entry.advice, group=named(head.ends))
            found = replace(found, also=tuple(other for other in subject.nodes if other in head.nodes))
            yield with_advice(found, advice_to_cut(subject, node))


@rule("HAI113", "postprocessing-operator", Severity.ERROR)
def postprocessing_operator(subject: Subject) -> Iterator[Found]:
    """An operator that picks elements by their values, as the tails of detectors do.

    Why: how many elements there are, or where they lie, is known only when the network runs; the compiler has no layer
    for it.
    Example: `torch.topk`, `torchvision.ops.nms`, `boxes.gather(1, index)`.
    Fix: cut the graph at the nodes that the finding names, and run the rest on the host; NMS can be given back by
    `nms_postprocess` in the model script.
    """
    yield from told(subject, "postprocessing-operator", advice=advice_to_cut)


@rule("HAI114", "embedding-lookup", Severity.ERROR)
def embedding_lookup(subject: Subject) -> Iterator[Found]:
    """Rows of a constant table are looked up by numbers that flow through the network.

    Why: the compiler takes no Gather with indices that are no constants; the networks for text in Hailo's Model Zoo
    start behind the embeddings.
    Example: `torch.nn.Embedding(30522, 384)(input_ids)`.
    Fix: look the rows up on the host, and start the graph with their sum as a float input.
    """
    for found in told(subject, "embedding-lookup", detail=_table_size):
        if found.node is None:
            continue
        index = found.node.input(1)
        if index is not None and is_behind_a_layer(subject, index):  # as in a codebook, amid the network
            yield replace(found, advice=advice_to_cut(subject, found.node) or _SPLIT)
            continue
        users = [user for user in found.node.successors if user in subject.nodes]
        yield with_advice(found, _start_at(users))


_SPLIT = "split the network around it into two parts for the chip; the host looks the rows up in between"


def _start_at(users: list[Node]) -> str:
    if users and all(user.name for user in users):
        return f"start behind it: irkit optimize --start {','.join(user.name for user in users)}"
    return f"start the graph at {named(users)}" if users else ""


def _table_size(subject: Subject, node: Node) -> str:
    shape = shape_in(subject, node)
    return f"of {'x'.join(map(str, shape))} numbers" if shape is not None else ""


def _text(value: Any) -> str:
    return str(value or "")
