"""Wordings of Hailo's Dataflow Compiler, from logs that people published, and what each is about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from irkit.hailo.dfc_events import EventKind

BY_CLASS: dict[str, EventKind] = {
    "UnsupportedOperationError": EventKind.OPERATOR,
    "UnsupportedShuffleLayerError": EventKind.SHUFFLE,
    "UnexpectedNodeError": EventKind.PLACE,
    "UnsupportedModelError": EventKind.STRUCTURE,
    "MisspellNodeError": EventKind.NAME,
    "InvalidHNError": EventKind.NAME,
    "BadInputsShape": EventKind.INPUT,
    "NegativeSlopeExponentNonFixable": EventKind.QUANTIZATION,
    "AccelerasValueError": EventKind.QUANTIZATION,
    "AccelerasNumerizationError": EventKind.QUANTIZATION,
    "AccelerasResourceError": EventKind.ENVIRONMENT,
    "AllocatorScriptParserException": EventKind.SCRIPT,
    "NMSConfigPostprocessException": EventKind.SCRIPT,
    "HailoNNException": EventKind.SCRIPT,
    "BackendAllocatorException": EventKind.ALLOCATION,
    "ModuleNotFoundError": EventKind.ENVIRONMENT,
    "ImportError": EventKind.ENVIRONMENT,
    "MemoryError": EventKind.ENVIRONMENT,
    "PermissionError": EventKind.ENVIRONMENT,
}
"""What an exception is about, by its class, where its text does not say otherwise."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


BY_TEXT: tuple[tuple[EventKind, re.Pattern[str]], ...] = (
    (EventKind.INPUT, _any(r"Unspecified inputs", r"Inference input shapes", r"network's input shape")),
    (EventKind.INPUT, _any(r"KeyError: .*input_layer\d+")),
    (EventKind.STRUCTURE, _any(r"Invalid kernel shape", r"expects \d+ inputs but found", r"Unsupported dimensions")),
    (EventKind.STRUCTURE, _any(r"could not be broadcast", r"Unexpected zero dimension", r"successor name is missing")),
    (EventKind.CRASH, _any(r"channels is not in list", r"'NoneType' object (?:has no len|is not subscriptable)")),
    (EventKind.NAME, _any(r"is not in list", r"Unable to find (?:start|end) node")),
    (EventKind.NAME, _any(r"in (?:start|end)_node_names is missing", r"Couldn't find inputs from ONNX proto")),
    (EventKind.ENVIRONMENT, _any(r"GPU memory has been exhausted", r"CUDA_ERROR", r"OOM when", r"[Oo]ut of memory")),
    (EventKind.SCRIPT, _any(r"doesn't exist in the HN", r"Post-process config file", r"Cannot infer bbox conv")),
)
"""What a text is about, whatever class of exception carries it."""

_SHORT = r"[\w.-]+(?:/[\w.-]+)*"  # a layer, maybe with the network before it

NODES = (
    re.compile(r"\(translated from ([^)]+)\)"),
    re.compile(r"Unexpected node (\S+)"),
    re.compile(r"Unexpected activation at ([^\s,]+)"),
    re.compile(r"at vertex (\S+?)\.?(?: |$)"),
    re.compile(r"to create in node (\S+)"),
    re.compile(r"[Uu]nable to find (?:start|end) node names?:? *(.+)"),
    re.compile(r"node name (\S+) in (?:start|end)_node_names"),
    re.compile(r"'([^']+)' is not in list"),
    re.compile(r"Unspecified inputs: \{(.+?)\}"),
)
"""Where texts name nodes of the model."""

LAYERS = (
    re.compile(rf"[Nn]o successful assignments?(?: for)?: *({_SHORT}(?: +/ +{_SHORT})*)(?= errors|:| |$)"),
    re.compile(rf"(?<![\w./-])({_SHORT}) failed on kernel validation"),
    re.compile(rf"(?<![\w./-])({_SHORT}) has \d+ APUs but"),
    re.compile(rf"in layer ({_SHORT}?)(?:/\w+_op)? due to"),
    re.compile(rf"for layer ({_SHORT}?)(?:/\w+_op)?(?:[ ,]|$)"),
    re.compile(rf"The layer (?:named )?({_SHORT}) doesn't"),
    re.compile(r"exceeded size for ([\w-]+)"),
    re.compile(r"KeyError: '?([\w.-]+/input_layer\d+)"),
    re.compile(r"layers? (\w+\d+)(?: |,|\(|$)"),
    re.compile(rf"Shift delta in ({_SHORT})"),
    re.compile(rf"failed layer ({_SHORT})"),
    re.compile(r"following layers: (.+)"),
)
"""Where texts name layers of the compiler's own network."""


@dataclass(frozen=True)
class Wording:
    """A message of the logger: what it is about, a word for it, its pattern. Groups of the pattern become values."""

    kind: EventKind
    name: str
    pattern: re.Pattern[str]


def _said(kind: EventKind, name: str, *patterns: str) -> Wording:
    return Wording(kind, name, _any(*patterns))


_SIMPLIFIED = r"Simplified ONNX model for a parsing retry", r"[Aa]ttempting to retry parsing on a simplified model"
_TAKEN = r"[Aa]ccording to recommendations, retrying parsing with end node names:? *(?P<nodes>.+)"
PROPOSED = _said(
    EventKind.END_NODES,
    "proposed",
    r"(?:with recommendations for|us(?:e|ing) these|try using) end[ _]node[ _]names?:? *(?P<nodes>.+)",
)

WORDINGS: tuple[Wording, ...] = (
    _said(EventKind.LEVEL, "optimization-level", r"Reducing optimization level to (?P<level>\d+)(?P<reason>.*)"),
    _said(EventKind.CALIBRATION, "calibration-set", r"Using dataset with (?P<count>\d+) entries for calibration"),
    _said(
        EventKind.RANGE,
        "calibration-range",
        r"calibration set seems to not be normalized(?:, because the values range is (?P<range>\[.*?\)\]))?",
    ),
    _said(EventKind.NO_GPU, "no-gpu", r"No GPU chosen and no suitable GPU found"),
    _said(EventKind.METADATA, "ir-version", r"Unsupported model IR version: (?P<found>\d+), max.*: (?P<most>\d+)"),
    _said(EventKind.METADATA, "onnx-metadata", r"ONNX shape inference failed(?P<reason>.*)"),
    _said(EventKind.RETRY, "simplified-retry", *_SIMPLIFIED),
    _said(EventKind.END_NODES, "taken", _TAKEN),
    PROPOSED,
    _said(EventKind.END_NODES, "for-nms", r"these end node names should be used:? *(?P<nodes>.+)"),
    _said(EventKind.CONTEXTS, "single-context", r"Single context flow failed: *(?P<reason>.*)"),
    _said(EventKind.CONTEXTS, "contexts", r"(?:valid|selected) partition to (?P<count>\d+) contexts"),
    _said(EventKind.NOISE, "noise", r"(?<![\w./-])(?P<layer>[\w./-]+/output_layer\d+) SNR:\s*(?P<db>-?[\d.]+) dB"),
    _said(EventKind.SHIFT, "no-shift", r"No shifts available for layer .*delta=(?P<delta>[\d.]+\d)"),
    _said(EventKind.QUANTIZATION, "numbers", r"Unsupported NaN values", r"Shift delta in \S+ is"),
    _said(EventKind.SCRIPT, "model-script", r"no alls found for requested hw_arch", r"Model [Ss]cript [Nn]ot [Ff]ound"),
    _said(EventKind.ENVIRONMENT, "installation", r"symbol lookup error", r"No module named '(?P<module>[^']+)'"),
    _said(EventKind.ALLOCATION, "no-assignment", r"[Nn]o successful assignments?\b"),
    _said(EventKind.ALLOCATION, "kernel", r"failed on kernel validation: (?P<reason>.*)"),
    _said(EventKind.ALLOCATION, "16-bit-biases", r"DW resources calculation failed: (?P<reason>.*)"),
    _said(EventKind.ALLOCATION, "one-context", r"Context switch is disabled, but model could not fit(?P<reason>.*)"),
    _said(EventKind.ALLOCATION, "context-too-full", r"finished with too many resources on (?P<context>context_\d+)"),
    _said(EventKind.ALLOCATION, "microcode", r"microcode exceeded size for (?P<layer>[\w-]+)"),
    _said(EventKind.ALLOCATION, "fps", r"Failed to reach required FPS"),
    _said(EventKind.ALLOCATION, "splitter", r"Splitter (?:failed|timeout)", r"required too many SCs"),
    _said(EventKind.ALLOCATION, "time", r"[Ww]atchdog expired", r"Partition and Allocation Failed \(Timeout"),
    _said(EventKind.ALLOCATION, "agent", r"Agent infeasible"),
    _said(EventKind.ALLOCATION, "crash", r"failed with unexpected crash", r"Latency simulation reached timeout"),
    _said(
        EventKind.ALLOCATION,
        "mapping",
        r"Mapping Failed",
        r"Failed to produce compiled graph",
        r"could not find a valid partition",
    ),
)
"""The first that is found in a record tells what it means."""
