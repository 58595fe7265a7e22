"""Where in a user's Python a node comes from, read from what exporters write into a model.

PyTorch's dynamo exporter writes metadata on every node: a stack trace, the scopes of modules and their classes. Its
TorchScript exporter names nodes after modules (`/encoder/encoder.0/conv/Conv`) and, with `verbose=True`, writes a stack
trace as the doc string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_TRACE = "pkg.torch.onnx.stack_trace"
_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_NAMESPACE = "namespace"


class Frame(NamedTuple):
    """A line of Python. `code` is its text, where the exporter wrote it down."""

    file: str = ""
    line: int = 0
    code: str = ""


class Module(NamedTuple):
    """A module of the network: its path (`encoder.0.conv`) and its class (`torch.nn.modules.conv.Conv2d`)."""

    path: str = ""
    kind: str = ""


NO_FRAME = Frame()
NO_MODULE = Module()

_DYNAMO_FRAME = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)[^\n]*(?:\n {4}(?P<code>[^\n]*))?')
_SCRIPT_FRAME = re.compile(r"^(?P<file>.+\.py|<.+>)\((?P<line>\d+)\): (?P<code>)", re.MULTILINE)

_TORCH = re.compile(
    r"(?:site|dist)-packages[\\/]torch[\\/]"
    r"|(?:^|[\\/])torch[\\/](?:nn[\\/](?:modules|functional|parallel)|jit|onnx|fx|export|autograd|_\w+|utils[\\/]_?checkpoint)"
    r"|^<(?:frozen|string|eval_with_key)"
)
"""Files of PyTorch itself, installed or in a checkout."""

_EXPORTER = re.compile(r"(?:^|[\\/])torch[\\/](?:jit|onnx)[\\/]")
"""Files that stand in a trace between the network and whoever called the exporter."""

_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")


def user_frame(metadata: Mapping[str, str], doc: str) -> Frame:
    """The innermost line of the user's own code that made a node, from its metadata or doc string.

    Where there is none, that of a package the network is from; never one of PyTorch's own.
    """
    trace = metadata.get(_TRACE) or doc
    if not trace:
        return NO_FRAME
    if 'File "' in trace:
        frames = [_frame(match) for match in _DYNAMO_FRAME.finditer(trace)][::-1]
    else:
        frames = _inside_network([_frame(match) for match in _SCRIPT_FRAME.finditer(trace)])
    frames = [frame for frame in frames if not _TORCH.search(frame.file)]
    own = (frame for frame in frames if not _INSTALLED.search(frame.file))
    return next(own, frames[0] if frames else NO_FRAME)


def _frame(match: re.Match[str]) -> Frame:
    return Frame(match["file"], int(match["line"]), (match["code"] or "").strip())


def _inside_network(frames: Sequence[Frame]) -> list[Frame]:
    """The frames, innermost first, up to where the exporter calls the network: what follows called the exporter."""
    for index, frame in enumerate(frames):
        if _EXPORTER.search(frame.file):
            return list(frames[:index])
    return list(frames)


def module_of(metadata: Mapping[str, str], names: Sequence[str]) -> Module:
    """The innermost module that a node belongs to, from its metadata, else from its name in the source model."""
    scopes, kinds = _texts(metadata.get(_SCOPES, "")), _texts(metadata.get(_CLASSES, ""))
    if not scopes and _NAMESPACE in metadata:
        pairs = [part.partition(": ") for part in metadata[_NAMESPACE].split("/")]
        scopes, kinds = [pair[0] for pair in pairs], [pair[2] for pair in pairs]
    if len(scopes) > 1:  # the first one is the whole network, the last one the operation itself
        return Module(scopes[-2], kinds[len(scopes) - 2] if len(kinds) == len(scopes) else "")
    return Module(_path_of_name(names[0])) if names else NO_MODULE


def _texts(listed: str) -> list[str]:
    """The texts of a list as Python prints it."""
    return re.findall(r"'([^']*)'", listed)


def _path_of_name(name: str) -> str:
    """`/encoder/encoder.0/conv/Conv` is of the module `encoder.0.conv`: children of a container repeat its name."""
    if not name.startswith("/"):
        return ""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        elif part:
            path.append(part)
    return ".".join(path)
