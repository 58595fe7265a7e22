"""What tests of passes need, with pytest and unittest alike: run a pass on a small model, hold it against another.

    from irkit import testing

    def test_hardswish_becomes_relu():
        testing.check_rewrite(
            "hardswish-to-relu",                                            # a name, a pass, a rule or a file
            "graph(%x: float32[1,8]) -> (%y) { %y = HardSwish(%x) }",       # models as text, see docs/text_form.md
            "graph(%x: float32[1,8]) -> (%y) { %y = Relu(%x) }",
        )

Models are given as text, as `irkit.Model`, as `onnx.ModelProto` or as the path of a file. `models` is a hypothesis
strategy for random models; hypothesis is imported only where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from irkit.testing.checks import (
    check_rewrite as check_rewrite,
    check_same_function as check_same_function,
    check_same_structure as check_same_structure,
    check_unchanged as check_unchanged,
)
from irkit.testing.running import (
    different as different,
    make_model as make_model,
    make_pass as make_pass,
    random_inputs as random_inputs,
    run as run,
    run_pass as run_pass,
)

if TYPE_CHECKING:
    from irkit.testing.strategies import models as models


def __getattr__(name: str) -> Any:
    if name == "models":
        from irkit.testing.strategies import models

        return models
    raise AttributeError(f"module 'irkit.testing' has no attribute {name!r}")
