"""Eight bits, emulated, in the place of a device: what runs the device part of a bundle as a chip might."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from irkit.hailo.emulation.emulate import Precisions
from irkit.hailo.emulation.measure import CALIBRATION_SAMPLES, calibrated_emulation
from irkit.onnx.reader import load
from irkit.runtime.folder import BundleFolder
from irkit.runtime.samples import bundle_samples

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class EmulatedBackend:
    """The device part in emulated integers, with ranges from the bundle's calibration set and the bits of its script.

    Args:
        bundle: what to run.
        per_channel: one scale of weights for each output channel, not each layer; which Hailo uses is not public.

    Raises a subclass of `InputError` where the model cannot be emulated, `ExecutionError` or `MissingDependencyError`
    where nothing here can run it.

    Attributes: `is_random`: the ranges are of drawn samples, since the bundle has no others.
    """

    is_device = False

    def __init__(self, bundle: BundleFolder, *, per_channel: bool = False) -> None:
        path, samples = bundle_samples(bundle.path, None, CALIBRATION_SAMPLES)
        with load(path) as model:
            self._run = calibrated_emulation(
                model, samples.arrays, precisions=_precisions(bundle), per_channel=per_channel
            )
        self.is_random = samples.is_random
        self.name = f"8 bits, emulated with one scale a {'channel' if per_channel else 'layer'}"

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One frame."""
        return self._run(feed)

    def close(self) -> None:
        """Nothing is held."""


def _precisions(bundle: BundleFolder) -> Precisions:
    """The bits that the bundle's script asks for."""
    found = {}
    for command in bundle.script.get("commands", []):
        mode = command.get("settings", {}).get("precision_mode")
        if mode:
            found.update(dict.fromkeys([*command.get("nodes", []), *command.get("inputs", [])], mode))
    return Precisions(by_pattern=found)
