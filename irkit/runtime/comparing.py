"""Where two models, or a model and recorded tensors, part first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.drift import OutputDrift, OutputMeter
from irkit.errors import OptionError
from irkit.executor import open_row
from irkit.inputs import fed_inputs
from irkit.ir import Value
from irkit.model import Model
from irkit.numerics import tolerance_of
from irkit.onnx.reader import load
from irkit.runtime.arrays import read_arrays
from irkit.runtime.folder import HOST, MODEL, PRE
from irkit.runtime.samples import drawn

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

SAMPLES = 8


@dataclass(frozen=True)
class Tensor:
    """One tensor that both have.

    Attributes: `drift`, how far apart; `note`: why it could not be compared; `parts`: beyond tolerance.
    """

    name: str
    drift: OutputDrift | None
    note: str = ""
    parts: bool = False


@dataclass(frozen=True)
class Comparison:
    """How two models compare, in the order the first computes its tensors.

    Attributes: `tensors` that both have by name; `samples` they were run on; `is_random`: these were drawn.
    """

    tensors: tuple[Tensor, ...]
    samples: int
    is_random: bool

    @property
    def first(self) -> Tensor | None:
        """The first tensor that parts; None where none does."""
        return next((tensor for tensor in self.tensors if tensor.parts), None)


def compare_models(
    a: Path, b: Path, data: Path | None = None, samples: int = SAMPLES, tolerance: float | None = None
) -> Comparison:
    """Run two models on the same inputs, and hold the tensors against each other that have the same name.

    Args:
        a: an ONNX file, or a bundle, whose parts are run in a row.
        b: another one, or an .npz of tensors that were recorded with the inputs of `data`, by name.
        data: inputs, .npy or .npz, samples along the first axis; drawn ones unless said.
        samples: how many to draw.
        tolerance: largest difference relative to a tensor's scale; that of float noise unless said.

    Raises `OptionError` where they have nothing in common, and other `InputError`s where something cannot be read.
    """
    if b.suffix == ".npz" and data is None:
        raise OptionError(f"{b} holds recorded tensors: --data gives the inputs they were recorded with")
    with _opened(a) as models:
        feeds, is_random = _feeds(models, data, samples)
        recorded = _recorded(b, len(feeds)) if b.suffix == ".npz" else None
        if recorded is not None:
            shared = _shared(models, set(recorded[0]))
            others: Sequence[Mapping[str, Array]] = recorded
        else:
            with _opened(b) as theirs:
                _check_inputs(models, theirs)
                shared = _shared(models, set(_shared(theirs)))
                others = _results(theirs, shared, feeds)
        if not shared:
            raise OptionError(f"{a} and {b} have no tensor of the same name")
        ours = _results(models, shared, feeds)
    return Comparison(tuple(_tensor(name, ours, others, tolerance) for name in shared), len(feeds), is_random)


@contextmanager
def _opened(path: Path) -> Iterator[list[Model]]:
    """An ONNX file, or the parts of a bundle in a row."""
    files = [path / name for name in (PRE, MODEL, HOST) if (path / name).exists()] if path.is_dir() else [path]
    if not files:
        raise OptionError(f"{path} is no bundle: it holds no {MODEL}")
    with ExitStack() as stack:
        yield [stack.enter_context(load(file)) for file in files]


def _fed(models: Sequence[Model]) -> dict[str, Value]:
    """What models in a row are fed, by name: what they read and none before them makes."""
    found: dict[str, Value] = {}
    made: set[str] = set()
    for model in models:
        found.update({value.name: value for value in fed_inputs(model) if value.name not in made | set(found)})
        made.update(value.name for value in model.graph.outputs)
    return found


def _feeds(models: Sequence[Model], data: Path | None, count: int) -> tuple[list[dict[str, Array]], bool]:
    names = list(_fed(models))
    if data is None:
        arrays: dict[str, Array] = {}
        for model in models:
            arrays = {**drawn(model, count).arrays, **arrays}
        arrays = {name: arrays[name] for name in names}
    else:
        given = read_arrays(data)
        arrays = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names[:1], given)
        if set(arrays) != set(names):
            raise OptionError(f"--data must have the inputs {', '.join(names)}; found {', '.join(arrays) or 'none'}")
    rows = min(len(array) for array in arrays.values())
    return [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(rows)], data is None


def _recorded(path: Path, count: int) -> list[dict[str, Array]]:
    arrays = read_arrays(path)
    if not isinstance(arrays, dict) or any(len(array) < count for array in arrays.values()):
        raise OptionError(f"{path}: every recorded tensor needs {count} rows, one a sample")
    return [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]


def _check_inputs(a: Sequence[Model], b: Sequence[Model]) -> None:
    ours, theirs = _fed(a), _fed(b)
    if set(ours) != set(theirs):
        raise OptionError(f"the models have other inputs: {', '.join(sorted(ours))}; {', '.join(sorted(theirs))}")


def _shared(models: Sequence[Model], names: set[str] | None = None) -> list[str]:
    """Names of computed tensors of the main graphs, in the order they are computed; of `names` where they are given."""
    made = [value.name for model in models for node in model.graph for value in node.outputs if value.name]
    return [name for name in made if names is None or name in names]


def _results(
    models: Sequence[Model], names: Sequence[str], feeds: Sequence[Mapping[str, Array]]
) -> list[dict[str, Array]]:
    run = open_row(models, names)
    return [run(feed) for feed in feeds]


def _tensor(
    name: str, ours: Sequence[Mapping[str, Array]], others: Sequence[Mapping[str, Array]], tolerance: float | None
) -> Tensor:
    import numpy as np

    pairs = [(a[name], b[name]) for a, b in zip(ours, others, strict=True)]
    first, second = pairs[0]
    if any(a.shape != b.shape for a, b in pairs):
        return Tensor(name, None, f"shape {list(first.shape)} against {list(second.shape)}", True)
    if first.dtype.kind not in "fiub":
        return Tensor(name, None, f"{first.dtype} is not compared")
    if any(np.any(np.isfinite(a) != np.isfinite(b)) for a, b in pairs if a.dtype.kind == "f" and b.dtype.kind == "f"):
        return Tensor(name, None, "NaN or infinity at other places", True)
    meter = OutputMeter(name)
    for a, b in pairs:
        meter.add(np.nan_to_num(a), np.nan_to_num(b))
    drift = meter.drift()
    return Tensor(name, drift, parts=drift.error > (tolerance_of(first.dtype) if tolerance is None else tolerance))
