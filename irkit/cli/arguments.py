"""Flags that several subcommands share, and what is made of their values."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.errors import ModelError, OptionError

if TYPE_CHECKING:
    from irkit.config import Settings
    from irkit.target import Target

DEFAULT_TARGET = "hailo8"

_LARGEST = 2**31 - 1
"""No dimension of a real tensor is larger; numbers beyond 64 bits do not fit into a model."""

_EXPORT_CALL = 'torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), "model.onnx", opset_version=17)'
_WEIGHTS = f"holds PyTorch weights, no graph; export it first: model.eval(); {_EXPORT_CALL}"

_OTHER_FORMATS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _WEIGHTS),
    ".pt2": "is a PyTorch program; export it first: torch.onnx.export(torch.export.load(PATH), f='model.onnx')",
    ".hef": f"is compiled already; irkit takes the ONNX model it was made from: {_EXPORT_CALL}",
    ".har": "is an archive of the Dataflow Compiler; irkit takes the ONNX model it was parsed from",
    ".tflite": "is TensorFlow Lite; export it first: python -m tf2onnx.convert --tflite PATH --output model.onnx",
    ".pb": "is TensorFlow; export it first: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
    ".keras": "is Keras; export it first: model.export('model.onnx', format='onnx')",
    ".h5": "is Keras; export it first: model.export('model.onnx', format='onnx')",
}


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model to work on."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="an ONNX file")


def add_target(parser: argparse.ArgumentParser) -> None:
    """The chip and compiler version."""
    parser.add_argument(
        "--target",
        metavar="TARGET",
        help="chip, with a compiler version if you like, such as hailo8@3.33; or a table of rules (default: what the "
        f"project's settings say, else {DEFAULT_TARGET})",
    )


def add_rules(parser: argparse._ActionsContainer) -> None:
    """Files of facts laid over the target's."""
    text = "a file of facts of your own, laid over the target's (may be given several times; the last one counts)"
    parser.add_argument("--rules", action="append", default=[], type=Path, metavar="FILE", help=text)


def project_settings() -> Settings:
    """The settings of the project in whose folder the command is run."""
    from irkit.config import find_settings

    return find_settings(Path.cwd())


def target_of(options: argparse.Namespace) -> Target:
    """The target of `--target`, or of the settings, with the files of the settings and of `--rules` laid over it."""
    from irkit.target import load_target

    settings = project_settings()
    overlays = dict.fromkeys([*settings.rules, *options.rules])
    return load_target(options.target or settings.target or DEFAULT_TARGET, overlays)


def add_format(parser: argparse._ActionsContainer) -> None:
    """Text or JSON."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the result (default: text)")


def add_device(parser: argparse._ActionsContainer) -> None:
    """What runs the network."""
    text = "a Hailo device, this CPU, or a device where there is one (default: auto)"
    parser.add_argument("--device", choices=("auto", "hailo", "cpu"), default="auto", help=text)


def add_passes(parser: argparse._ActionsContainer, text: str) -> None:
    """Files and folders of a user's passes."""
    parser.add_argument("--passes", action="append", default=[], type=Path, metavar="FILE_OR_FOLDER", help=text)


def passes_of(given: Iterable[Path]) -> list[Path]:
    """The files and folders of passes that the project's settings name, and those given by flags, each once."""
    from irkit.config import find_settings

    return list(dict.fromkeys([*find_settings(Path.cwd()).passes, *given]))


def checked_model(path: Path) -> Path:
    """The path, unless its name tells that it is no ONNX model. Raises `ModelError` that says how to get one."""
    what = _OTHER_FORMATS.get(path.suffix.lower())
    if what is not None:
        raise ModelError(f"{path} {what.replace('PATH', shlex.quote(str(path)))}")
    return path


def target_title(target: Target) -> str:
    """The target as the user reads it."""
    overlays = f", with {', '.join(path.name for path in target.overlays)}" if target.overlays else ""
    return f"{target.name}, Dataflow Compiler {target.version}{overlays}"


def names_of(texts: Iterable[str]) -> list[str]:
    """Names given by several flags, or by one with commas."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def bindings_of(texts: Iterable[str]) -> dict[str, int]:
    """`N=1,M=2` as numbers. Raises `OptionError`."""
    bindings: dict[str, int] = {}
    for text in names_of(texts):
        name, equals, number = text.rpartition("=")
        if not equals or not name or not _is_size(number):
            raise OptionError(f"--bind takes NAME=NUMBER, such as N=1; found `{text}`")
        if bindings.setdefault(name, int(number)) != int(number):
            raise OptionError(f"--bind gives {name} two numbers: {bindings[name]} and {number}")
    return bindings


def shapes_of(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`x=1,3,224,224`, one input a flag. Raises `OptionError`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        parts = numbers.strip("[]").replace("x", ",").split(",")
        if not name or not all(_is_size(part.strip()) for part in parts):
            raise OptionError(f"--shape takes INPUT=NUMBERS, such as x=1,3,224,224; found `{text}`")
        shape = tuple(int(part) for part in parts)
        if shapes.setdefault(name, shape) != shape:
            raise OptionError(f"--shape gives {name} two shapes: {shapes[name]} and {shape}")
    return shapes


def _is_size(text: str) -> bool:
    """Whether a text is a number that a dimension can have."""
    return text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST)) and 0 < int(text) <= _LARGEST


def command_line(*words: str) -> str:
    """A command to type."""
    return shlex.join(words)
