"""Making commands of model scripts: what is made here is right by the table of commands.

script = Script((
    normalization([0, 0, 0], [255, 255, 255]),
    calibration(batch_size=8, calibset_size=1024),
    quantization(["conv46", "{ew_add*}"], precision_mode="a16_w16"),
    command("performance_param", compiler_optimization_level="max"),
))
path.write_text(str(script))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from irkit.errors import OptionError
from irkit.hailo.alls import Command, Script, Value
from irkit.hailo.alls_check import problems


def command(name: str, /, *args: Any, outputs: str | Sequence[str] = (), **kwargs: Any) -> Command:
    """A command by its name.

    Args:
        name: such as `quantization_param`.
        *args: arguments without a name: numbers, texts, flags, and lists of them. Those that are None are left out.
        **kwargs: arguments by name.
        outputs: the name, or names, before `=`.

    Raises `OptionError` where the table of commands does not know it, or an argument is not of its kind.
    """
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    given = {key: _value(value) for key, value in kwargs.items() if value is not None}
    made = Command(name, tuple(_value(value) for value in args if value is not None), given, names)
    wrong = problems(Script((made,)))
    if wrong:
        hint = f" (did you mean {wrong[0].nearest}?)" if wrong[0].nearest else ""
        raise OptionError(f"{wrong[0].message}{hint}")
    return made


def normalization(
    mean: Iterable[float], std: Iterable[float], layer: str | None = None, output: str = "normalization1"
) -> Command:
    """Subtract `mean` and divide by `std` on the chip, one number a channel, behind the input `layer`."""
    return command("normalization", list(mean), list(std), layer, outputs=output)


def calibration(*, batch_size: int | None = None, calibset_size: int | None = None) -> Command:
    """How many samples of the calibration set are used, and how many at once; the compiler takes 64 unless told."""
    return command("model_optimization_config", "calibration", batch_size=batch_size, calibset_size=calibset_size)


def flavor(*, optimization_level: int | str | None = None, compression_level: int | None = None) -> Command:
    """How hard to work for accuracy (level 0 to 4, or `max`), and for small weights (0 keeps all at 8 bits)."""
    return command(
        "model_optimization_flavor", optimization_level=optimization_level, compression_level=compression_level
    )


def quantization(layers: str | Sequence[str], **settings: Any) -> Command:
    """Settings of some layers, such as `precision_mode="a16_w16"`: names, or globs such as `{conv*}`."""
    return command("quantization_param", layers if isinstance(layers, str) else list(layers), **settings)


def output_activation(layer: str, activation: str) -> Command:
    """Put an activation, such as `sigmoid`, behind an output layer."""
    return command("change_output_activation", layer, activation)


def nms_postprocess(config: str, meta_arch: str, *, engine: str = "cpu") -> Command:
    """Non-maximum suppression behind the network, by a file of settings; `engine` is `cpu` or `nn_core`."""
    return command("nms_postprocess", config, meta_arch=meta_arch, engine=engine)


def _value(given: Any) -> Value:
    if isinstance(given, (bool, int, float, str)):
        return given
    if isinstance(given, Iterable):
        return tuple(_value(item) for item in given)
    if hasattr(given, "item"):
        return _value(given.item())  # a number of numpy's
    raise OptionError(f"a model script cannot say {given!r}")
