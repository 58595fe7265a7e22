"""From what a camera or sensor gives to what a model takes: size, color, layout, normalization, and who does which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit.errors import MissingDependencyError, OptionError
from irkit.hailo.ports import Port

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LAYOUTS = ("nhwc", "nchw")
COLORS = ("rgb", "bgr")
FITS = ("", "resize", "letterbox")

_PADDING = 114
"""The grey that detectors are trained with around letterboxed images."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a sample before the model sees it.

    Attributes:
        mean, std: x becomes (x - mean) / std, one number or one a channel; none where nothing is.
        fit: `resize` stretches images to the size of the input, `letterbox` keeps their shape and fills with grey.
        layout: of the arrays that are given, `nhwc` or `nchw`.
        color: order of channels that the model takes; images are read as `rgb`.

    Raises `OptionError` for values that make no sense.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fit: str = ""
    layout: str = "nhwc"
    color: str = "rgb"

    def __post_init__(self) -> None:
        for value, known, flag in (
            (self.fit, FITS, "--resize or --letterbox"),
            (self.layout, LAYOUTS, "--layout"),
            (self.color, COLORS, "--color"),
        ):
            if value not in known:
                raise OptionError(f"{flag} takes {' or '.join(filter(None, known))}; found `{value}`")
        if self.std and not all(value > 0 for value in self.std):
            raise OptionError(f"--std takes numbers above 0; found {', '.join(f'{value:g}' for value in self.std)}")

    @property
    def normalizes(self) -> bool:
        """Whether it shifts or scales."""
        return any(self.mean) or any(value != 1 for value in self.std)

    def moments(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation, one each channel. Raises `OptionError` where they are given for another number."""
        found = []
        for flag, values, default in (("--mean", self.mean, 0.0), ("--std", self.std, 1.0)):
            each = values * channels if len(values) == 1 else values or (default,) * channels
            if len(each) != channels:
                raise OptionError(f"{flag} takes 1 number, or {channels} for the channels; found {len(values)}")
            found.append(tuple(float(value) for value in each))
        return found[0], found[1]

    def normalize(self, samples: Array) -> Array:
        """Samples (N, height, width, channels) normalized, as float32."""
        import numpy as np

        mean, std = (np.asarray(each, np.float64) for each in self.moments(samples.shape[-1]))
        with np.errstate(over="ignore"):
            return np.asarray((samples.astype(np.float64) - mean) / std, np.float32)


def fit_image(image: Array, port: Port, how: Preprocessing, where: str) -> Array:
    """An image (H, W, C) in the size and order of channels of an input. Raises `OptionError` where it does not fit."""
    import numpy as np

    height, width, channels = port.device_shape or (0, 0, 0)
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[-1] != channels:
        if channels == 1 and image.shape[-1] == 3:
            image = _luminance(image)
        elif channels == 3 and image.shape[-1] == 1:
            image = np.repeat(image, 3, -1)
        else:
            raise OptionError(f"{where} has {image.shape[-1]} channels; `{port.name}` takes {channels}")
    if how.color == "bgr" and channels == 3:
        image = image[..., ::-1]
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    if not how.fit:
        found = f"{image.shape[0]}x{image.shape[1]}"
        raise OptionError(
            f"{where} is {found}; `{port.name}` takes {height}x{width}: --resize stretches, --letterbox keeps the shape"
        )
    return _resized(image, height, width) if how.fit == "resize" else _letterboxed(image, height, width)


def _luminance(image: Array) -> Array:
    import numpy as np

    grey = image[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.rint(grey), image.dtype)[..., None] if image.dtype.kind in "iu" else grey[..., None]


def _resized(image: Array, height: int, width: int) -> Array:
    """Bilinear, as Pillow does it: with the support widened where an image is made smaller."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("resizing images needs Pillow: pip install pillow") from None
    planes = []
    for channel in range(image.shape[-1]):
        plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
        planes.append(np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(planes, -1).astype(image.dtype)


def _letterboxed(image: Array, height: int, width: int) -> Array:
    import numpy as np

    scale = min(height / image.shape[0], width / image.shape[1])
    inner = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    canvas = np.full((height, width, image.shape[-1]), _PADDING, image.dtype)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = _resized(image, *inner)
    return canvas
