"""From a message of Hailo's Dataflow Compiler to the events it tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from irkit.hailo.dfc_events import DfcEvent, EventKind
from irkit.hailo.dfc_lines import EXCEPTION, Record
from irkit.hailo.dfc_wordings import BY_CLASS, BY_TEXT, LAYERS, NODES, PROPOSED, WORDINGS, Wording

_IN_OP = re.compile(
    r"(?<![\w.])(?:[\w.]+\.)?(?P<name>[A-Z]\w*(?:Error|Exception)) in op "
    r"(?:(?P<node>(?:(?! in op ).){1,400}?):(?= |$)|(?P<bare>[^\s:]+))"
)
_EXCEPTION = re.compile(rf"{EXCEPTION}(?:: (?P<text>.*)|$)")
_LIST = "ParsingWithRecommendationException"
"""What carries a list of errors; those are told, not it."""
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_PARSER = re.compile(r"model_translator|onnx_translator|onnx_graph|edge_nn|sdk_backend.parser|hailo_nn")
_OPTIMIZER = re.compile(r"hailo_model_optimization|acceleras")
_CRASHES = frozenset({"IndexError", "TypeError", "KeyError", "ValueError", "AttributeError", "AssertionError"})


def events_of(record: Record, frames: Sequence[str]) -> Iterator[DfcEvent]:
    """What a record tells. `frames`: file and function of the traceback that led to it, outermost first."""
    texts = (record.text, record.tight) if len(record.lines) > 1 else (record.text,)
    read = [list(_events(record, text, frames)) for text in texts]
    # A terminal wraps between words or within them; what names more classes that are known was put together right.
    yield from max(read, key=lambda events: (sum(_is_known(event.name) for event in events), bool(events)))


def _is_known(name: str) -> bool:
    return name in BY_CLASS or re.fullmatch(r"Unsupported\w+LayerError|\w*[a-z-]", name) is not None


def _events(record: Record, text: str, frames: Sequence[str]) -> Iterator[DfcEvent]:
    text = text.replace("`", "")
    listed = list(_IN_OP.finditer(text))
    if listed:
        yield from _errors_in_ops(record, text, listed)
        return
    raised = _EXCEPTION.search(text) if not re.match(r"\[(?:info|warning)\]", text) else None
    if raised is not None and raised["name"] != _LIST:
        yield _exception(record, text, raised["name"], raised["text"] or "", frames)
        return
    for wording in WORDINGS:
        found = wording.pattern.search(text)
        if found is not None:
            yield _said(record, text, wording, found)
            return
    level = re.match(r"\[(warning|error|critical|fatal)\](?! *Parsing failed)", text)
    if level is not None:
        name = "warning" if level[1] == "warning" else "error"
        yield DfcEvent(EventKind.OTHER, record.line, name, _without_level(text), layers=_find(LAYERS, text))


def _errors_in_ops(record: Record, text: str, listed: Sequence[re.Match[str]]) -> Iterator[DfcEvent]:
    """The errors of a list, `X in op NODE: text`, and the end nodes proposed after them."""
    for match, after in zip(listed, [*listed[1:], None], strict=True):
        # A terminal may have cut the name in two; names with spaces are compared without them too.
        node = re.sub(r"\s+", "", match["node"] or match["bare"])
        said = text[match.end() : after.start() if after is not None else len(text)].lstrip(": ")
        said = re.split(r"Please try to parse", said)[0].strip()
        name = match["name"]
        line = record.line + _line_of(record, name, node)
        kind = BY_CLASS.get(name, EventKind.FORM)
        yield DfcEvent(kind, line, name, said or f"{name} in op {node}", (node,))
    found = PROPOSED.pattern.search(text)
    if found is not None:
        yield _said(record, text, PROPOSED, found)


def _line_of(record: Record, name: str, node: str) -> int:
    """Which line of the record has the error of that node; its first where that cannot be told."""
    begins = [index for index, part in enumerate(record.lines) if f"{name} in op {node}".startswith(part[:40].strip())]
    return next((index for index, part in enumerate(record.lines) if f"in op {node}" in part), (begins or [0])[0])


def _exception(record: Record, text: str, name: str, said: str, frames: Sequence[str]) -> DfcEvent:
    full = f"{name}: {said}"
    kind = next((kind for kind, pattern in BY_TEXT if pattern.search(full)), None) or _kind_of(name, frames)
    values = {"in": frames[-1].rpartition(" ")[2]} if frames else {}
    if kind is EventKind.ALLOCATION:
        name = next((one.name for one in WORDINGS if one.kind is kind and one.pattern.search(said)), name)
    nodes = () if kind is EventKind.CRASH else _find(NODES, full)
    return DfcEvent(kind, record.line, name, said or text, nodes, _find(LAYERS, full), values)


def _kind_of(name: str, frames: Sequence[str]) -> EventKind:
    if name in BY_CLASS:
        return BY_CLASS[name]
    if name.startswith("Unsupported") and name.endswith("Error"):
        return EventKind.FORM
    trail = " ".join(frames)
    if _OPTIMIZER.search(trail):
        return EventKind.QUANTIZATION
    # Without a traceback, a bare IndexError or KeyError that somebody pasted is most likely the parser's.
    return EventKind.CRASH if _PARSER.search(trail) or (not frames and name in _CRASHES) else EventKind.OTHER


def _said(record: Record, text: str, wording: Wording, found: re.Match[str]) -> DfcEvent:
    values = {key: value.strip() for key, value in found.groupdict().items() if value}
    nodes = node_list(values.pop("nodes", ""))
    layers = _find(LAYERS, text) or ((values["layer"],) if "layer" in values else ())
    return DfcEvent(wording.kind, record.line, wording.name, _without_level(text), nodes, layers, values)


def node_list(text: str) -> tuple[str, ...]:
    """Names out of `['a', 'b']`, `a, b` or `a b.`, as the messages list them."""
    if text.lstrip().startswith(("[", "'", '"')):
        parts = [first or second for first, second in _QUOTED.findall(text)]
    else:
        text = re.split(r"\s+(?:Would you|Details were|Traceback|\[info\])", text)[0].strip()
        parts = text.split(",") if "," in text else text.split()
    return tuple(name for name in (re.sub(r"\s+", "", part).rstrip(".") for part in parts) if name)


def _find(patterns: Sequence[re.Pattern[str]], text: str) -> tuple[str, ...]:
    """The names that the patterns find, each once."""
    names: dict[str, None] = {}
    for pattern in patterns:
        for match in pattern.finditer(text):
            parts = (part.strip(" '\"[]{}.") for part in re.split(r"\s*,\s*| / ", match[1]))
            names.update(dict.fromkeys(part for part in parts if part))
    return tuple(names)


def _without_level(text: str) -> str:
    return re.sub(r"^\[\w+\]\s*", "", text)
