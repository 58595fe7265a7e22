"""Flags of what a bundle holds beside the model: calibration set, normalization, precision."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from irkit.hailo.equipment import Equipment
    from irkit.model import Model


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags, in a group of their own."""
    group = parser.add_argument_group("calibration and deployment")
    calib = "calibration set: .npy (N,H,W,C), .npz keyed by input, or a folder of images or arrays"
    group.add_argument("--calib", type=Path, metavar="PATH", help=calib)
    labels = "the class of each sample: samples are then taken of all classes alike"
    group.add_argument("--labels", type=Path, metavar="FILE.npy", help=labels)
    group.add_argument("--calib-size", type=int, metavar="N", help="samples to take of it (default: 1024)")
    drawn = "draw N samples instead: to try the tools, of no use for accuracy"
    group.add_argument("--random-calib", type=int, metavar="N", help=drawn)
    group.add_argument("--layout", choices=("nhwc", "nchw"), default="nhwc", help="of the arrays (default: nhwc)")
    group.add_argument("--mean", metavar="X,...", help="x becomes (x - mean) / std: one number, or one a channel")
    group.add_argument("--std", metavar="X,...", help="8-bit images are normalized on the chip, other data here")
    fit = group.add_mutually_exclusive_group()
    fit.add_argument("--resize", action="store_true", help="stretch images to the size of the input")
    fit.add_argument("--letterbox", action="store_true", help="resize images, keep their shape, fill with grey")
    group.add_argument("--color", choices=("rgb", "bgr"), default="rgb", help="that the model takes (default: rgb)")
    post = "who decodes boxes after a cut: host.onnx, or HailoRT by --nms (default: host)"
    group.add_argument("--postprocess", choices=("host", "hailort"), default="host", help=post)
    nms = "with --postprocess hailort: `yolov8`, or a file with the settings"
    group.add_argument("--nms", metavar="ARCH|FILE.json", help=nms)
    precision = "bits of the layer of a node: a8_w8, a16_w16 or a8_w4"
    group.add_argument("--precision", action="append", default=[], metavar="NODE=MODE", help=precision)
    group.add_argument(
        "--compression", type=int, metavar="LEVEL", help="share of weights in 4 bits, 0 to 5 (default: 0)"
    )


def equipment_of(options: argparse.Namespace) -> Equipment:
    """What the flags say. Raises `OptionError` or `CalibrationError`, before any work is done."""
    from irkit.hailo.calibration import open_calibration
    from irkit.hailo.calibration_writer import ENOUGH
    from irkit.hailo.equipment import Equipment
    from irkit.hailo.preprocessing import Preprocessing

    if options.calib is not None and options.random_calib is not None:
        raise OptionError("--calib and --random-calib: give one of them")
    for flag, number in (("--calib-size", options.calib_size), ("--random-calib", options.random_calib)):
        if number is not None and not 0 < number <= 1_000_000:
            raise OptionError(f"{flag} takes a number of samples above 0; found {number}")
    level = 0 if options.compression is None else options.compression
    if not 0 <= level <= 5:
        raise OptionError(f"--compression takes a level from 0 to 5; found {level}")
    if (options.nms is not None) != (options.postprocess == "hailort"):
        raise OptionError("--postprocess hailort and --nms go together: --nms yolov8, or --nms FILE.json")
    if options.labels is not None and options.calib is None:
        raise OptionError("--labels goes with --calib: the class of each of its samples")
    labels: tuple[int, ...] = ()
    if options.calib is not None:
        count = open_calibration(options.calib).count
        if options.labels is not None:
            from irkit.runtime.samples import labels_of

            labels = tuple(labels_of(options.labels, count).tolist())
    how = Preprocessing(
        mean=numbers_of("--mean", options.mean),
        std=numbers_of("--std", options.std),
        fit="resize" if options.resize else "letterbox" if options.letterbox else "",
        layout=options.layout,
        color=options.color,
    )
    return Equipment(
        calibration=options.calib,
        random=options.random_calib or 0,
        most=options.calib_size or ENOUGH,
        labels=labels,
        preprocessing=how,
        precisions=precisions_of(options.precision),
        compression=level,
        nms=options.nms or "",
    )


def samples_of(options: argparse.Namespace) -> Callable[[Model], Mapping[str, Any] | None] | None:
    """Gives samples of the calibration set to measure drift on; None where there is none."""
    if options.calib is None:
        return None
    how, path = equipment_of(options).preprocessing, options.calib

    def samples(model: Model) -> Mapping[str, Any] | None:
        from irkit.drift import INPUTS
        from irkit.runtime.samples import drift_samples

        return drift_samples(model, path, how, INPUTS)

    return samples


def numbers_of(flag: str, text: str | None) -> tuple[float, ...]:
    """`0.5,0.5,0.5` as numbers. Raises `OptionError`."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text is not None else ()
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise OptionError(f"{flag} takes numbers, such as 0.485,0.456,0.406; found `{text}`")
    return found


def precisions_of(texts: list[str]) -> dict[str, str]:
    """`NODE=a16_w16` by node. Raises `OptionError`."""
    from irkit.hailo.emulation.emulate import PRECISIONS

    found = {}
    for text in texts:
        node, _, mode = text.rpartition("=")
        if not node or mode not in PRECISIONS:
            raise OptionError(f"--precision takes NODE=MODE with a mode of {', '.join(PRECISIONS)}; found `{text}`")
        found[node] = mode
    return found
