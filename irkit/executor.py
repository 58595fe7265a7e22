"""Running a model on this machine: ONNX Runtime, or onnx's own reference evaluator where ONNX Runtime has no kernel.

Graph optimisations are off and the threads are bounded, so that a run is repeatable and says what the graph says. The
weights are handed over as arrays over the mapped file, not written out. What cannot be run raises `ExecutionError`
with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from irkit.errors import ExecutionError, MissingDependencyError
from irkit.inputs import fed_inputs
from irkit.model import Model
from irkit.onnx import reference, writer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

THREADS = max(1, min(4, os.cpu_count() or 1))

_REFERENCE_LIMIT = 32 << 20
"""Bytes of weights up to which the reference evaluator, which is slow, is tried."""


_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_RUNNING = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: (.*)")
_INVALID = re.compile(r'.*?In Node, \("(.*?)", (\S+?), .*? , Error (.*)')
_SOURCE = re.compile(r"\S+\.(?:h|cc|cpp):\d+ \S+ ")
"""Where in ONNX Runtime's source a message comes from; a condition in C++ and `was false.` may follow."""


class Session(Protocol):
    """A model ready to run."""

    engine: str
    """What runs it, with its version."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises `ExecutionError`."""
        ...


def open_session(model: Model, extra_outputs: Sequence[str] = (), *, optimize: bool = False) -> Session:
    """Make a model ready to run.

    Args:
        model: the model as it stands; later edits do not touch the session.
        extra_outputs: names of values of the main graph to return beside its outputs.
        optimize: let ONNX Runtime rewrite the graph for speed.

    Raises:
        ExecutionError: nothing here can run it; the message says why.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    try:
        return _OrtSession(model, extra_outputs, optimize)
    except ExecutionError as error:
        if not getattr(error, "lacks_kernel", False):
            raise
        try:
            return open_reference(model, extra_outputs)
        except ExecutionError:
            raise error from None


def open_row(
    models: Iterable[Model], extra_outputs: Collection[str] = ()
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Models ready to run one after the other, each on what those before it were given and gave, by name.

    Each gives the values of `extra_outputs` that it makes beside its outputs. What comes back runs one set of inputs,
    and returns these and everything the models give. Raises as `open_session`.
    """
    row = [
        (open_session(model, _made_inside(model, extra_outputs)), [value.name for value in fed_inputs(model)])
        for model in models
    ]

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        values = dict(feed)
        for session, names in row:
            values.update(session.run({name: values[name] for name in names}))
        return values

    return run


def _made_inside(model: Model, names: Collection[str]) -> list[str]:
    made = [value for node in model.graph for value in node.outputs] if names else []
    return [value.name for value in made if value.name in names and not value.is_graph_output]


def run_row(models: Iterable[Model], samples: Mapping[str, Array]) -> dict[str, Array]:
    """Run models in a row on samples (N, ...), one by one: these and everything the models give, by name."""
    import numpy as np

    run = open_row(models)
    count = min(len(array) for array in samples.values())
    frames = [run({name: array[i : i + 1] for name, array in samples.items()}) for i in range(count)]
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def open_reference(model: Model, extra_outputs: Sequence[str] = ()) -> Session:
    """Make a model ready to run in onnx's reference evaluator, which is slow and always there.

    Raises `ExecutionError` where it cannot run the model.
    """
    return _ReferenceSession(model, extra_outputs)


def require_runtime() -> Any:
    """The onnxruntime module. Raises `MissingDependencyError`."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            "a proof runs the model in ONNX Runtime, which is not installed: pip install 'irkit-compiler[verify]'"
        ) from None
    return onnxruntime


class _OrtSession:
    def __init__(self, model: Model, extra_outputs: Sequence[str], optimize: bool) -> None:
        ort = require_runtime()
        self.engine = f"ONNX Runtime {ort.__version__}"
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        skeleton, arrays = writer.skeleton(model, extra_outputs)
        # ONNX Runtime drops what nothing reads before it looks for the data, and then does not find where to put it.
        names = [name for name in arrays if model.graph.initializers[name].use_count]
        if names:
            self._arrays = [_plain(arrays[name]) for name in names]  # ONNX Runtime only looks at them
            values = [ort.OrtValue.ortvalue_from_numpy(array) for array in self._arrays]
            options.add_external_initializers(names, values)
        try:
            self._session = ort.InferenceSession(skeleton, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (ONNX Runtime raises its own types, unrelated to each other)
            raise _cannot_run(error) from None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as error:  # noqa: BLE001
            raise _cannot_run(error) from None


class _ReferenceSession:
    def __init__(self, model: Model, extra_outputs: Sequence[str]) -> None:
        self.engine = reference.ENGINE
        weights = (value.initializer for value in model.graph.initializers.values())
        if sum(getattr(data, "nbytes", 0) for data in weights) > _REFERENCE_LIMIT:
            raise ExecutionError("the model is too large for onnx's reference evaluator")
        self._evaluate = reference.evaluator(model, extra_outputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self._evaluate(feeds)


def _plain(array: Array) -> Array:
    """Contiguous, as ONNX Runtime takes it; a copy only of a repeated element."""
    import numpy as np

    return np.ascontiguousarray(array)


def _cannot_run(error: Exception) -> ExecutionError:
    text = " ".join(str(error).split())
    made = ExecutionError(f"ONNX Runtime cannot run it: {plain_words(text)[:300]}")
    made.lacks_kernel = "NOT_IMPLEMENTED" in text
    return made


def plain_words(text: str) -> str:
    """What ONNX Runtime says, and of which node, without the names of its own files, functions and conditions."""
    text = _CODE.sub("", text)
    running, invalid = _RUNNING.match(text), _INVALID.match(text)
    if running is not None:
        return f"at {running[1]} {running[2]!r}: {_without_source(running[3])}"
    if invalid is not None:
        return f"at {invalid[2]} {invalid[1]!r}: {invalid[3]}"
    return _without_source(text)


def _without_source(text: str) -> str:
    if not _SOURCE.match(text):
        return text
    said = text.partition(" was false. ")[2]
    return said or _SOURCE.sub("", text)
