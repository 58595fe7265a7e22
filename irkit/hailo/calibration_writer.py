"""Writing the calibration set of a bundle: (N, height, width, channels), as the compiler takes it."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from irkit.errors import OptionError
from irkit.hailo.calibration import CalibrationError, CalibrationInput, CalibrationSet
from irkit.hailo.ports import Port
from irkit.hailo.preprocessing import Preprocessing, fit_image

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ENOUGH = 1024
"""From this many samples on the compiler keeps its optimization level (its documentation, quoted in public logs)."""

_SEED = 0
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class WrittenCalibration:
    """What was written.

    Attributes:
        file: its name. inputs: names of inputs, in the order of the model. count: samples.
        dtype: of the elements, `uint8` or `float32`. on_chip: the chip normalizes; else it was done here, if at all.
        is_random: drawn, not data.
    """

    file: str
    inputs: tuple[str, ...]
    count: int
    dtype: str
    on_chip: bool
    is_random: bool = False


def write_calibration(
    source: CalibrationSet,
    ports: Sequence[Port],
    folder: Path,
    how: Preprocessing,
    *,
    most: int = ENOUGH,
    shuffle: bool = True,
    labels: Sequence[int] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> WrittenCalibration:
    """Write a calibration set into a folder.

    8-bit data stays 8-bit and raw, and the chip is to normalize it; float data is normalized here. Samples are taken in
    an order that is shuffled by a fixed seed, and written through a mapping.

    Args:
        source: what the user has.
        ports: the inputs of the model, in order.
        folder: an existing folder.
        how: size, color, layout, normalization.
        most: how many samples to take.
        shuffle: take and write them in an order that a fixed seed gives, not from the first on.
        labels: the class of each sample, so that classes are taken in the shares they have; () where not known.
        progress: is told of every block.

    Raises `OptionError` or `CalibrationError` where the samples do not fit the inputs.
    """
    keep = is_raw(source, ports)
    lay_out(source, ports, folder, how, most=most, shuffle=shuffle, labels=labels, progress=progress)
    count = min(most, _count(source, ports))
    return pack(folder, ports, count, "uint8" if keep else "float32", on_chip=keep and how.normalizes)


def is_raw(source: CalibrationSet, ports: Sequence[Port]) -> bool:
    """Whether all samples are 8-bit, so that they are kept as they are."""
    return all(item.dtype == "uint8" for item in _chosen(source, ports).values())


def lay_out(
    source: CalibrationSet,
    ports: Sequence[Port],
    folder: Path,
    how: Preprocessing,
    *,
    most: int,
    shuffle: bool = True,
    labels: Sequence[int] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Array]:
    """Write one .npy for each input; see `write_calibration`. Returns them, mapped, by name."""
    chosen = _chosen(source, ports)
    total = _count(source, ports)
    keep = is_raw(source, ports)
    if labels and len(labels) != total:
        raise OptionError(f"{source.path} has {total} samples, and there are {len(labels)} labels")
    order = _Order.of(total, min(most, total), shuffle=shuffle, labels=labels)
    return {port.name: _write_array(chosen[port.name], port, folder, how, order, keep, progress) for port in ports}


def _count(source: CalibrationSet, ports: Sequence[Port]) -> int:
    """How many samples there are. Raises `OptionError` where inputs have different numbers of them."""
    counts = {name: item.count for name, item in _chosen(source, ports).items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"`{name}` {count}" for name, count in counts.items())
        raise OptionError(f"{source.path}: every input needs the same number of samples; found {told}")
    return next(iter(counts.values()))


def new_array(folder: Path, port: Port, count: int, dtype: str = "float32") -> Array:
    """An empty mapped array in a folder for the samples of an input, which `pack` puts in place.

    Raises `OptionError` where it is not known how the chip lays out the input.
    """
    import numpy as np

    if port.device_shape is None:
        raise OptionError(
            f"how the chip lays out `{port.name}` of rank {len(port.shape)} is not known: no calibration set"
        )
    shape = (count, *port.device_shape)
    return np.lib.format.open_memmap(folder / _part(port), mode="w+", dtype=np.dtype(dtype), shape=shape)


def pack(
    folder: Path, ports: Sequence[Port], count: int, dtype: str, *, on_chip: bool = False, is_random: bool = False
) -> WrittenCalibration:
    """Put the arrays of all inputs in their place: one .npy, or an .npz by the names of inputs."""
    names = tuple(port.name for port in ports)
    if len(ports) == 1:
        file = "calibration_data.npy"
        (folder / _part(ports[0])).rename(folder / file)
    else:
        file = "calibration_data.npz"
        _pack(folder, file, ports)
    return WrittenCalibration(file, names, count, dtype, on_chip, is_random)


def write_random(ports: Sequence[Port], folder: Path, samples: Mapping[str, Array]) -> WrittenCalibration:
    """Write samples that were drawn, in the layout of ONNX, for machines where there is no data yet."""
    for port in ports:
        given = port.to_device(samples[port.name])
        new_array(folder, port, len(given))[...] = given
    return pack(folder, ports, len(next(iter(samples.values()))), "float32", is_random=True)


def _chosen(source: CalibrationSet, ports: Sequence[Port]) -> dict[str, CalibrationInput]:
    """The samples of each input."""
    if source.is_keyed:
        missing = [port.name for port in ports if port.name not in source.inputs]
        if missing:
            found = ", ".join(source.inputs)
            raise OptionError(f"{source.path} has no array for the input `{missing[0]}`; it has: {found}")
        return {port.name: source.inputs[port.name] for port in ports}
    if len(ports) != 1:
        names = ", ".join(port.name for port in ports)
        raise OptionError(
            f"{source.path} is one array, the model has inputs {names}: give an .npz keyed by their names"
        )
    return {ports[0].name: next(iter(source.inputs.values()))}


class _Order(NamedTuple):
    """Which samples are read, in ascending order, and where each is written."""

    read: list[int]
    places: list[int]

    @classmethod
    def of(cls, total: int, count: int, *, shuffle: bool, labels: Sequence[int] = ()) -> _Order:
        import numpy as np

        if not shuffle:
            return cls(list(range(count)), list(range(count)))
        chosen = np.sort(
            _stratified(labels, count) if labels else np.random.default_rng(_SEED).permutation(total)[:count]
        )
        return cls(chosen.tolist(), np.random.default_rng(_SEED + 1).permutation(count).tolist())


def _stratified(labels: Sequence[int], count: int) -> Array:
    """Indices of `count` samples in which each class has the share it has in all, to one sample."""
    import numpy as np

    rng = np.random.default_rng(_SEED)
    mixed = rng.permutation(len(labels))
    classes = np.asarray(labels)[mixed]
    # The k-th of n samples of a class stands at (k + 1/2) / n of the way; taking the first ones takes from all alike.
    place = np.empty(len(classes))
    for name in np.unique(classes):
        inside = np.flatnonzero(classes == name)
        place[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
    return np.asarray(mixed[np.argsort(place, kind="stable")[:count]])


def _part(port: Port) -> str:
    digest = hashlib.blake2b(port.name.encode(), digest_size=8).hexdigest()  # a name may be no name of a file
    return f".calibration-{digest}.npy"


def _write_array(
    item: CalibrationInput,
    port: Port,
    folder: Path,
    how: Preprocessing,
    order: _Order,
    keep: bool,
    progress: Callable[[str, int, int], None] | None,
) -> Array:
    """Write the samples of one input, in the order that a fixed seed gives."""
    target = new_array(folder, port, len(order.read), "uint8" if keep else "float32")
    if how.normalizes:
        how.moments(target.shape[-1])
    for done, (index, place) in enumerate(zip(order.read, order.places, strict=True)):
        sample = item.rows.read(index, index + 1)
        target[place] = _fitted(sample[0], item, port, how, index, keep=keep)
        if progress is not None:
            progress(f"calibration set for {port.name}", done, len(order.read))
    return target


def _fitted(sample: Array, item: CalibrationInput, port: Port, how: Preprocessing, index: int, *, keep: bool) -> Array:
    import numpy as np

    assert port.device_shape is not None
    if item.files and sample.ndim in (2, 3) and sample.dtype == np.uint8:
        sample = fit_image(sample, port, how, str(item.files[index]))
    else:
        sample = _laid_out(sample, port, how)
    if not keep:
        if not np.isfinite(sample).all():
            raise CalibrationError(f"sample {index} for `{port.name}` holds NaN or infinity")
        sample = how.normalize(sample[None])[0]
        if not np.isfinite(sample).all():
            raise CalibrationError(f"sample {index} for `{port.name}` holds numbers too large for float32")
    return np.asarray(sample)


def _laid_out(sample: Array, port: Port, how: Preprocessing) -> Array:
    """One sample as (height, width, channels). Channels-first data is taken only where the user says it is."""
    import numpy as np

    wanted = port.device_shape
    assert wanted is not None
    onnx = port.shape[1:]
    if how.layout == "nchw":
        if sample.shape != onnx:
            raise OptionError(
                f"--layout nchw: samples for `{port.name}` must be {_text(onnx)}; found {_text(sample.shape)}"
            )
        return np.asarray(port.to_device(sample[None])[0])
    if sample.shape == wanted:
        return sample
    if sample.shape == onnx and port.layout != "NCHW":
        return sample.reshape(wanted)
    found = (
        f"samples for `{port.name}` must be (height, width, channels) = {_text(wanted)}; found {_text(sample.shape)}"
    )
    if sample.shape == onnx:
        raise OptionError(f"{found}, which is (channels, height, width): --layout nchw converts it")
    raise OptionError(found)


def _text(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _pack(folder: Path, file: str, ports: Sequence[Port]) -> None:
    """One .npz of the arrays, with a fixed date, so that the same data are the same bytes."""
    with zipfile.ZipFile(folder / file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for port in ports:
            part = folder / _part(port)
            info = zipfile.ZipInfo(f"{port.name}.npy", _DATE)
            with open(part, "rb") as data, archive.open(info, "w", force_zip64=True) as out:
                shutil.copyfileobj(data, out, 1 << 20)
            part.unlink()
