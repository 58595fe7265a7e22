"""Running single passes, and comparing models by numbers, for tests of every kind."""

from __future__ import annotations

from collections.abc import Sequence

from irkit import Context, Inference, Model, Pass
from irkit.executor import open_session
from irkit.inputs import draw, input_specs
from irkit.numerics import compare

MOST_ERROR = 1e-5
"""What exact passes may change in a small model: float32 noise, relative to an output's magnitude."""


def run_pass(item: Pass, model: Model) -> Context:
    """Run one pass as the pipeline does, without its proof. Returns what it has to tell."""
    inference = Inference.of(model)
    inference.update()
    context = Context(pass_name=item.name, update_types=inference.update)
    item.run(model, context)
    inference.update()
    return context


def different(before: Model, after: Model, seeds: Sequence[int] = (0, 1), most_error: float = MOST_ERROR) -> str:
    """The first output that the models do not agree on, or "".

    Dimensions that are free in `before` are as in `after` where that has numbers, else 2.
    """
    shapes = {value.name: value.shape for value in after.graph.inputs if value.shape is not None}
    sizes = {name: tuple(dim if isinstance(dim, int) else 2 for dim in shape) for name, shape in shapes.items()}
    sessions = open_session(before), open_session(after)
    for seed in seeds:
        feeds = draw(input_specs(before, sizes), seed)
        old, new = (session.run(feeds) for session in sessions)
        if list(old) != list(new):
            return f"outputs {list(old)} became {list(new)}"
        for name in old:
            found = compare(old[name], new[name])
            if not found.same or found.error > most_error:
                return f"output {name!r}: {found.reason or found.error}"
    return ""
