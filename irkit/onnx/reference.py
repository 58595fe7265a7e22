"""onnx's reference evaluator: slow, but it knows every operator set from the first on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from irkit.errors import ExecutionError
from irkit.model import Model
from irkit.onnx import writer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ENGINE = f"onnx {onnx.__version__} reference evaluator"


def evaluator(model: Model, extra_outputs: Sequence[str] = ()) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """A function from inputs to outputs by name, values named in `extra_outputs` among them.

    Raises `ExecutionError` where the evaluator does not know an operator; the function does so where running fails.
    """
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load_from_string(writer.dumps(model))
    present = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra_outputs if name not in present)
    try:
        session = ReferenceEvaluator(proto)
    except Exception as error:  # noqa: BLE001  (operators raise what they like)
        raise ExecutionError(f"{ENGINE} cannot run it: {error}") from None
    names = [output.name for output in proto.graph.output]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return dict(zip(names, session.run(None, dict(feeds)), strict=True))
        except Exception as error:  # noqa: BLE001
            raise ExecutionError(f"{ENGINE} cannot run it: {error}") from None

    return run
