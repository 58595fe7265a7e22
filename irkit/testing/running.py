"""Models from text, passes by name, inputs by seed, and running them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.errors import MissingDependencyError, OptionError
from irkit.executor import Session, open_reference, open_session
from irkit.infer import Inference
from irkit.inputs import InputSpec, draw, input_specs
from irkit.library import Library
from irkit.model import Model
from irkit.numerics import compare
from irkit.onnx.interop import from_proto
from irkit.onnx.reader import load, loads
from irkit.onnx.writer import dumps
from irkit.pass_base import Context, Effect, Pass
from irkit.pass_spec import parse_passes
from irkit.rewrite_rule import Rule
from irkit.rewriter import apply_rules
from irkit.target import load_target
from irkit.text import parse_model

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ModelLike: TypeAlias = "Model | str | os.PathLike[str] | Any"
"""A model, its text, the path of its file, or a ModelProto."""

PassLike: TypeAlias = "Pass | type[Any] | str | os.PathLike[str] | Rule | Sequence[Rule | type[Rule]]"
"""A pass or its class, its name with options as in `"align-channels{multiple=16}"`, the path of its file, or rules."""

TOLERANCES = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12, "complex64": 1e-5, "complex128": 1e-12}
"""What an exact pass may change in a small model: float noise, relative to the magnitude of an output."""

SEEDS = (0, 1, 2, 3)
"""Seeds of the inputs that models are run on. Floats are normal for even seeds and in 0 to 1 for odd ones."""

_WIDE = 10.0
"""A further input is this many times wider, so that clipped and saturated ranges are reached."""


def make_model(source: ModelLike) -> Model:
    """A model of its own, with inferred types: of text (see docs/text_form.md), a file, a ModelProto, or another model.

    Raises `ModelError` where it is no valid graph.
    """
    if isinstance(source, Model):
        model = loads(dumps(source))
    elif isinstance(source, str) and re.search(r"[({\n]", source):
        model = parse_model(source)
    elif isinstance(source, (str, os.PathLike)):
        model = load(source)
    else:
        model = from_proto(source)
    Inference.of(model).update()
    return model


def make_pass(item: PassLike) -> Pass:
    """The pass that is meant. Raises `OptionError` or `LibraryError` where there is none, or more than one."""
    if isinstance(item, Pass):
        return item
    if isinstance(item, os.PathLike):
        passes = [cls.configured({}) for cls in Library().add(Path(item))]
    elif isinstance(item, type) and issubclass(item, Pass):
        return item.configured({})
    elif isinstance(item, str):
        passes = parse_passes(item)
    else:
        return _RulesPass([item] if isinstance(item, (Rule, type)) else item)
    if len(passes) != 1:
        raise OptionError(f"{item}: names {len(passes)} passes; give one: {', '.join(one.name for one in passes)}")
    return passes[0]


class _RulesPass(Pass):
    """Rules that are in no pass yet."""

    name = "rules"
    effect = Effect.EXACT

    def __init__(self, rules: Sequence[Rule | type[Rule]]) -> None:
        self._rules = rules

    def run(self, model: Model, context: Context) -> None:
        """Apply them."""
        apply_rules(model, context, self._rules)

    def __str__(self) -> str:
        return " and ".join(rule.label if isinstance(rule, Rule) else rule.__name__ for rule in self._rules)


def run_pass(item: PassLike, model: Model, target: str | None = None) -> Context:
    """Run one pass on a model, in place, as the pipeline does, without its proof. Returns what it has to tell."""
    made = make_pass(item)
    inference = Inference.of(model)
    inference.update()
    chip = load_target(target) if target else None
    context = Context(target=chip, pass_name=made.name, inference=inference, update_types=inference.update)
    made.run(model, context)
    inference.update()
    return context


def random_inputs(model: ModelLike, seed: int = 0) -> dict[str, Array]:
    """Inputs a model takes, the same for the same seed; dimensions that are no numbers are 2."""
    opened = make_model(model)
    return draw(_specs(opened, opened), seed)


def run(model: ModelLike, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """What a model gives for these inputs, by name: in ONNX Runtime, without it in onnx's reference evaluator.

    Raises `ExecutionError` where it cannot be run.
    """
    return _session(make_model(model)).run(inputs)


def different(
    before: Model,
    after: Model,
    seeds: Sequence[int] = SEEDS,
    most_error: float | None = None,
    *,
    inputs: Iterable[Mapping[str, Array]] | None = None,
    nan: bool = False,
    numbers: bool = True,
) -> str:
    """The first output that two models do not agree on, with the inputs it was seen for; "" where there is none.

    Dimensions that are free in `before` are as in `after` where that has numbers, else 2.

    Args:
        before: a model.
        after: another one.
        seeds: of the random inputs.
        most_error: what may differ, relative to the magnitude of the output; None for `TOLERANCES`.
        inputs: what to run on in the place of random inputs.
        nan: also run with a NaN among the inputs.
        numbers: False compares names, shapes and element types only.

    Raises `ExecutionError` where one of them cannot be run.
    """
    sessions = _session(before), _session(after)
    feeds = enumerate(inputs) if inputs is not None else _feeds(_specs(before, after), seeds, nan)
    for label, feed in feeds:
        old, new = (session.run(feed) for session in sessions)
        where = f" (inputs: {label})"
        if list(old) != list(new):
            return f"outputs {list(old)} became {list(new)}"
        for name in old:
            found = _difference(old[name], new[name], most_error, numbers)
            if found:
                return f"output {name!r}: {found}{where}"
    return ""


def _specs(before: Model, after: Model) -> list[InputSpec]:
    shapes = {value.name: value.shape for value in after.graph.inputs if value.shape is not None}
    sizes = {name: tuple(dim if isinstance(dim, int) else 2 for dim in shape) for name, shape in shapes.items()}
    return input_specs(before, sizes)


def _feeds(specs: list[InputSpec], seeds: Sequence[int], nan: bool) -> Iterator[tuple[str, dict[str, Array]]]:
    for seed in seeds:
        yield f"seed {seed}", draw(specs, seed)
    floats = [spec.name for spec in specs if spec.dtype.is_float and 0 not in spec.shape]
    if not floats or len(seeds) < 2:
        return
    wide = draw(specs, 0)
    yield "seed 0, ten times wider", {**wide, **{name: wide[name] * wide[name].dtype.type(_WIDE) for name in floats}}
    for name in floats if nan else ():
        feed = draw(specs, 0)
        feed[name].flat[feed[name].size // 2] = math.nan
        yield f"seed 0, a NaN in {name!r}", feed


def _difference(old: Any, new: Any, most_error: float | None, numbers: bool) -> str:
    import numpy as np

    before, after = np.asarray(old), np.asarray(new)
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return f"shape {list(before.shape)} of {before.dtype} became {list(after.shape)} of {after.dtype}"
    if not numbers:
        return ""
    found = compare(before, after)
    limit = TOLERANCES.get(before.dtype.name, 0.0) if most_error is None else most_error
    loose = most_error is not None and math.isfinite(found.error)
    if (found.same or loose) and found.error <= limit:
        return ""
    if math.isfinite(found.error) and found.error > limit:
        return f"off by {found.error:.1e} of its scale, where {limit:.0e} is allowed"
    return found.reason


def _session(model: Model) -> Session:
    try:
        return open_session(model)
    except MissingDependencyError:
        return open_reference(model)
