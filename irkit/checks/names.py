"""IRK050, IRK051 and HAI204: names, and outputs of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from irkit.checks.reading import behind_idle
from irkit.checks.telling import first_few
from irkit.diagnostics import Severity
from irkit.inputs import fed_inputs
from irkit.ir import Value
from irkit.linter import Found, Subject, rule
from irkit.types import Shape, format_shape

_SAFE = re.compile(r"[A-Za-z0-9_./:\-]+")


@rule("IRK050", "unsafe-name", Severity.WARNING)
def unsafe_name(subject: Subject) -> Iterator[Found]:
    """Inputs, or nodes that make outputs, with names that cannot be written on a command line as they are.

    Why: the compiler is told of them by name, `--tensor-shapes NAME=[1,3,224,224]`, `--end-node-names A B`; blanks,
    quotes, `=`, commas and brackets end a name there, and other letters depend on the encoding.
    Example: an input called `input image`.
    Fix: give names of letters, digits and _ . / : - when exporting (`input_names=`).
    """
    graph = subject.model.graph
    found = [f"input `{value.name}`" for value in fed_inputs(subject.model) if not _SAFE.fullmatch(value.name)]
    makers = [value.producer for value in graph.outputs if value.producer is not None]
    found += [f"node `{node.name}`" for node in dict.fromkeys(makers) if node.name and not _SAFE.fullmatch(node.name)]
    if found:
        yield Found(f"names should be of letters, digits and _ . / : -; found {first_few(found)}")


@rule("IRK051", "constant-output", Severity.WARNING)
def constant_output(subject: Subject) -> Iterator[Found]:
    """An output of the model that is a constant, or one of its inputs.

    Why: no layer makes it, so that the compiler has nothing to end at.
    Example: anchors that are returned beside the boxes.
    Fix: leave it out when exporting, and keep constants on the host.
    """
    for value in subject.model.graph.outputs:
        source = behind_idle(subject, value) or value
        if subject.is_constant(source):
            yield Found(f"output `{value.name}` does not depend on the input", value.producer)
        elif source.is_graph_input:
            yield Found(f"output `{value.name}` is the input `{source.name}`", value.producer)


@rule("HAI204", "alike-outputs", Severity.INFO)
def alike_outputs(subject: Subject) -> Iterator[Found]:
    """Outputs of one shape.

    Why: the compiler names outputs after its own layers (conv41, ...) and orders them by itself; outputs of one shape
    cannot be told apart by it, and nothing fails where they are mixed up.
    Example: two heads that both give (1, 10).
    Fix: bind outputs by the `original_names` in the HEF, never by order or shape; or join the heads, or make their
    widths differ.
    """
    groups: dict[Shape, list[Value]] = {}
    for value in subject.model.graph.outputs:
        shape = subject.shape(value)
        if shape is not None:
            groups.setdefault(shape, []).append(value)
    for shape, values in groups.items():
        if len(values) > 1:
            listed = first_few(f"`{value.name}`" for value in values)
            yield Found(f"outputs should differ in shape; found {format_shape(shape)} for {listed}")
