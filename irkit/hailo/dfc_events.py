"""What a log of Hailo's Dataflow Compiler tells, as data: events, what was run, how far it came."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class EventKind(enum.Enum):
    """What an event is about."""

    OPERATOR = "operator"
    """An operator the parser has no handler for."""
    SHUFFLE = "shuffle"
    """A Reshape, Transpose or Flatten that matches no layer."""
    FORM = "form"
    """A form of an operator that the parser does not take: an axis, an activation, a layout."""
    PLACE = "place"
    """An operator that the parser knows, where it did not expect it."""
    STRUCTURE = "structure"
    """Layers that do not fit together: broadcast, rank, number of inputs."""
    CRASH = "crash"
    """The parser broke off with an error of its own."""
    NAME = "name"
    """A start or end node that is not in the model, or that left no layer."""
    INPUT = "input"
    """Inputs without a shape, and calibration data of another shape or under another name."""
    END_NODES = "end nodes"
    """End nodes that the compiler proposes, or took by itself."""
    LEVEL = "level"
    """The optimization level was reduced."""
    CALIBRATION = "calibration"
    """How many samples calibration used."""
    RANGE = "range"
    """Calibration data that is not normalized as the compiler expects."""
    NO_GPU = "no gpu"
    METADATA = "metadata"
    """What the compiler could not read of the ONNX file beside the graph."""
    RETRY = "retry"
    """The parser went on with a simplified copy of the model."""
    QUANTIZATION = "quantization"
    """Quantization failed for its numbers."""
    SCRIPT = "script"
    """A model script or NMS configuration that does not fit the network."""
    ALLOCATION = "allocation"
    """The network was not placed on the chip."""
    CONTEXTS = "contexts"
    """Into how many contexts the network was split."""
    NOISE = "noise"
    """Signal-to-noise ratio of an output layer."""
    SHIFT = "shift"
    """The sums of a layer would need a larger shift than the chip has."""
    ENVIRONMENT = "environment"
    """The installation failed, not the model."""
    OTHER = "other"
    """An error or warning of the compiler that irkit does not know."""


PARSER_ERRORS = frozenset({
    EventKind.OPERATOR, EventKind.SHUFFLE, EventKind.FORM, EventKind.PLACE, EventKind.STRUCTURE, EventKind.CRASH,
    EventKind.NAME,
})  # fmt: skip
"""What keeps a model from being translated; moot once a later attempt in the same log succeeds."""


@dataclass(frozen=True)
class DfcEvent:
    """One thing that the compiler said.

    Attributes:
        kind: what it is about.
        line: where it begins in the log, from 1.
        name: the class of the exception, or the word for the message.
        text: the message in one line, without colour and decoration.
        nodes: nodes as the compiler named them. layers: layers of its own network, as `yolov8n/conv41`.
        values: what was read from the message, as `{"level": "0"}`.
    """

    kind: EventKind
    line: int
    name: str
    text: str
    nodes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """How far the compiler came: `name` is parse, optimize or compile; `detail` the step in it."""

    name: str
    detail: str = ""
    line: int = 0


@dataclass
class DfcLog:
    """What a log tells.

    Attributes:
        source: the file it was read from, "" where it was text.
        events: in the order of the log.
        stages: in the order they began. done: those that ended well.
        version, chip, network: as the log states them, "" where it does not; of several, the last.
        layers: ONNX names of layers, where the log tells them.
        skipped: algorithms of the optimizer that did not run.
        started, translated: lines where the translation of a network began, and where it succeeded, with its name.
        lines: how many lines were read.
    """

    source: str = ""
    events: list[DfcEvent] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    version: str = ""
    chip: str = ""
    network: str = ""
    layers: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    started: list[tuple[int, str]] = field(default_factory=list)
    translated: list[tuple[int, str]] = field(default_factory=list)
    lines: int = 0

    @property
    def stage(self) -> Stage | None:
        """The stage it is in, None before the first."""
        return self.stages[-1] if self.stages else None

    def is_moot(self, event: DfcEvent) -> bool:
        """Whether a later attempt in the log translated the model, so that the error stands no more."""
        if event.kind not in PARSER_ERRORS:
            return False
        network = next((name for line, name in reversed(self.started) if line <= event.line), "")
        return any(line > event.line and network in ("", name) for line, name in self.translated)

    def of(self, *kinds: EventKind) -> list[DfcEvent]:
        """The events of these kinds, those that stand no more excepted."""
        return [event for event in self.events if event.kind in kinds and not self.is_moot(event)]
