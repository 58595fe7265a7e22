"""Calibration sets are opened by their headers, read in blocks, and what is odd about them is found."""

from __future__ import annotations

import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irkit.errors import InputError, MissingDependencyError
from irkit.hailo import calibration as module
from irkit.hailo.calibration import CalibrationError, CalibrationInput, open_calibration
from irkit.hailo.calibration_facts import Facts, find_facts
from irkit.hailo.layout import judge_layout
from tests.golden.sides import samples

Array = np.ndarray[Any, np.dtype[Any]]


def only(path: Path) -> CalibrationInput:
    [item] = open_calibration(path).inputs.values()
    return item


def facts_of(data: Array, folder: Path) -> Facts:
    np.save(folder / "data.npy", data)
    return find_facts(only(folder / "data.npy"))


def everything(item: CalibrationInput) -> Array:
    return np.concatenate([block for _start, block in item.blocks(1 << 40)])


DATA = samples([20, 4, 5, 3])


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", ["float32", ">f4", "float64", "uint8", "int16", "float16", "bool"])
def test_an_array_is_mapped(tmp_path: Path, dtype: str, fortran: bool) -> None:
    data = (DATA * 50).astype(dtype)
    np.save(tmp_path / "data.npy", np.asfortranarray(data) if fortran else data)
    opened = open_calibration(tmp_path / "data.npy")
    item = opened.inputs[""]
    assert (opened.kind, opened.count, item.shape, item.dtype) == ("npy", 20, (4, 5, 3), np.dtype(dtype).name)
    assert np.array_equal(everything(item), data)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_streamed_by_key(tmp_path: Path, save: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * DATA[0].nbytes)
    save(tmp_path / "data.npz", image=DATA, mask=DATA[:, :, :, :1])
    opened = open_calibration(tmp_path / "data.npz")
    assert opened.is_keyed
    assert {name: item.shape for name, item in opened.inputs.items()} == {"image": (4, 5, 3), "mask": (4, 5, 1)}
    assert np.array_equal(everything(opened.inputs["image"]), DATA)
    assert np.array_equal(opened.inputs["image"].rows.read(4, 6), DATA[4:6])  # back to the beginning


def test_a_folder_of_arrays(tmp_path: Path) -> None:
    for number, sample in enumerate(DATA):
        (tmp_path / f"class{number % 2}").mkdir(exist_ok=True)
        np.save(tmp_path / f"class{number % 2}" / f"{number:03}.npy", sample[None])
    item = only(tmp_path)
    assert (item.count, item.shape) == (20, (4, 5, 3))
    assert np.array_equal(everything(item), np.concatenate([DATA[::2], DATA[1::2]]))


class FakeImage:
    """As much of Pillow as is used, on files that hold arrays."""

    class DecompressionBombError(Exception):
        pass

    def __init__(self, data: Array) -> None:
        self.data = data
        self.height, self.width = data.shape[:2]
        self.mode = "RGB" if data.ndim == 3 else "L"

    @staticmethod
    def open(path: Path) -> FakeImage:
        if not path.read_bytes():
            raise OSError("cannot identify image file")
        return FakeImage(np.load(path))

    def convert(self, mode: str) -> Array:
        assert mode == self.mode
        return self.data

    def __enter__(self) -> FakeImage:
        return self

    def __exit__(self, *_details: object) -> None:
        pass


def save_images(folder: Path, shapes: list[tuple[int, ...]]) -> None:
    for number, shape in enumerate(shapes):
        with (folder / f"{number:03}.png").open("wb") as file:
            np.save(file, np.full(shape, number, np.uint8))


def test_a_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pillow", lambda: FakeImage)
    save_images(tmp_path, [(6, 8, 3)] * 4)
    opened = open_calibration(tmp_path)
    assert (opened.kind, opened.count, opened.inputs[""].shape, opened.inputs[""].dtype) == (
        "images",
        4,
        (6, 8, 3),
        "uint8",
    )
    facts = find_facts(opened.inputs[""])
    assert (facts.low, facts.high, facts.constant) == (0, 3, (0, 1, 2, 3))


def test_images_of_different_sizes_have_no_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pillow", lambda: FakeImage)
    save_images(tmp_path, [(6, 8, 3), (5, 8, 3), (6, 8)])
    item = only(tmp_path)
    assert item.shape is None
    assert find_facts(item).examined == 3


def test_a_damaged_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pillow", lambda: FakeImage)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(CalibrationError, match=r"a\.jpg: is no image that can be read"):
        open_calibration(tmp_path)


def test_images_need_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(MissingDependencyError, match="pip install pillow"):
        open_calibration(tmp_path)


def broken(folder: Path) -> dict[str, Path]:
    """Files that are no calibration sets, by what is said of them."""
    np.save(folder / "whole.npy", DATA)
    content = (folder / "whole.npy").read_bytes()
    made = {
        "there is no such calibration set": folder / "absent.npy",
        "is shorter than its header says": folder / "cut.npy",
        r"is no \.npy file that numpy can read": folder / "junk.npy",
        "holds Python objects": folder / "objects.npy",
        r"holds no samples: its shape is \[0, 4\]": folder / "empty.npy",
        "must hold numbers; found <U1": folder / "text.npy",
        "two axes at least; found shape": folder / "flat.npy",
        r"is no \.npz file that can be read": folder / "junk.npz",
        "holds no array": folder / "none.npz",
        "`x` is shorter than its header says": folder / "cut.npz",
        r"a calibration set is a \.npy": folder / "data.csv",
        r"holds no \.npy files and no images": folder / "bare",
        "holds both images and": folder / "mixed",
    }
    (folder / "cut.npy").write_bytes(content[:-100])
    (folder / "junk.npy").write_bytes(b"junk")
    np.save(folder / "objects.npy", np.array([[1], "a"], object), allow_pickle=True)
    np.save(folder / "empty.npy", np.zeros((0, 4)))
    np.save(folder / "text.npy", np.full((3, 3), "x"))
    np.save(folder / "flat.npy", np.zeros(7))
    (folder / "junk.npz").write_bytes(b"PK\3\4junk")
    for name, members in (("none.npz", {"a.txt": b"x"}), ("cut.npz", {"x.npy": content[:-100]})):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    (folder / "data.csv").write_text("1,2")
    (folder / "bare").mkdir()
    (folder / "mixed").mkdir()
    (folder / "mixed" / "a.png").write_bytes(b"x")
    np.save(folder / "mixed" / "a.npy", DATA[0])
    return made


def test_what_is_no_calibration_set_is_told(tmp_path: Path) -> None:
    for words, path in broken(tmp_path).items():
        with pytest.raises(InputError, match=words):
            open_calibration(path)


def test_samples_of_different_shape_are_told(tmp_path: Path) -> None:
    for name, shape in (("a", (4, 5, 3)), ("b", (4, 4, 3))):
        np.save(tmp_path / f"{name}.npy", np.zeros(shape))
    with pytest.raises(CalibrationError, match=r"b\.npy: samples must have one shape, \[4, 5, 3\] as a\.npy"):
        find_facts(only(tmp_path))


def test_one_huge_sample_is_no_set(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "one.npy", "w+", np.uint8, (1, 300 << 20)).flush()
    with pytest.raises(CalibrationError, match="is larger than 256 MB; the first axis must count the samples"):
        open_calibration(tmp_path / "one.npy")


def test_damage_within_an_npz_is_told(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", x=np.random.default_rng(0).random((20, 40, 40)))
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    (tmp_path / "data.npz").write_bytes(bytes(content))
    with pytest.raises(CalibrationError, match=r"`x\.npy` is damaged"):
        find_facts(open_calibration(tmp_path / "data.npz").inputs["x"])


def test_a_large_set_is_looked_at_in_part_and_in_little_memory(tmp_path: Path) -> None:
    shape = (1500, 64, 64, 3)
    data = np.lib.format.open_memmap(tmp_path / "data.npy", "w+", np.uint8, shape)
    data[:] = np.arange(1500, dtype=np.uint8)[:, None, None, None]
    data.flush()
    tracemalloc.start()
    facts = find_facts(only(tmp_path / "data.npy"), limit=6 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < facts.examined < 1500
    assert not facts.is_whole
    assert (facts.low, facts.high) == (0, 255)  # spread over the set
    assert peak < 40 * module.BLOCK_BYTES


# --- facts ------------------------------------------------------------------------------------------------------------


def test_ranges_are_those_of_the_data(tmp_path: Path) -> None:
    data = samples([50, 6, 7, 3], scale=[1.0, 10.0, 100.0])
    facts = facts_of(data, tmp_path)
    assert (facts.examined, facts.is_whole) == (50, True)
    assert (facts.low, facts.high) == (data.min(), data.max())
    assert facts.mean == pytest.approx(data.mean(dtype=np.float64))
    assert facts.std == pytest.approx(data.std(dtype=np.float64))
    assert facts.channels[2].low == tuple(data.min(axis=(0, 1, 2)))
    assert facts.channels[2].reach == pytest.approx(np.abs(data).max(axis=(0, 1, 2)))
    assert facts.channels[0].std == pytest.approx(data.std(axis=(0, 2, 3), dtype=np.float64))


def test_what_is_not_finite_is_counted_and_left_out(tmp_path: Path) -> None:
    data = samples([20, 6, 7, 3])
    data[3, 0, 0, :] = [np.nan, np.inf, -np.inf]
    data[7] = np.nan
    facts = facts_of(data, tmp_path)
    assert (facts.nans, facts.infinities) == (1 + data[7].size, 2)
    assert facts.high == np.nanmax(data[np.isfinite(data)])


def test_constant_and_repeated_samples_are_found(tmp_path: Path) -> None:
    data = samples([20, 6, 7, 3])
    data[4] = 0.25
    data[9] = data[2]
    facts = facts_of(data, tmp_path)
    assert (facts.constant, facts.repeated, dict(facts.first_of)) == ((4,), (9,), {9: 2})


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pixels_are_whole_numbers(tmp_path: Path, dtype: str) -> None:
    assert facts_of(samples([20, 6, 7, 3], "pixels", dtype=dtype), tmp_path).integral
    assert not facts_of(samples([20, 6, 7, 3]), tmp_path).integral


@pytest.mark.parametrize("scale", [None, [1.0, 30.0, 0.01]])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_is_known_whatever_its_scale(tmp_path: Path, kind: str, scale: list[float] | None) -> None:
    assert facts_of(samples([60, 20, 10, 3], kind, scale=scale), tmp_path).noise == kind


def test_data_in_which_neighbours_go_together_are_no_noise(tmp_path: Path) -> None:
    noise = samples([60, 20, 10, 3], "normal")
    assert facts_of(samples([60, 20, 10, 3]), tmp_path).noise == ""
    assert facts_of(np.cumsum(noise, axis=1), tmp_path).noise == ""
    assert facts_of(np.abs(noise) ** 3, tmp_path).noise == ""  # unrelated, but as no generator draws
    assert facts_of(noise[:1, :5], tmp_path).noise == ""  # too little to tell


def test_statistics_of_its_own_are_noticed(tmp_path: Path) -> None:
    data = samples([60, 20, 10, 3], scale=[1.0, 5.0, 9.0])
    whole = (data - data.mean()) / data.std()
    assert facts_of(whole, tmp_path).standardized == "as a whole"
    assert facts_of(samples([60, 20, 10, 3], standardize=True), tmp_path).standardized == "per channel"
    assert facts_of(samples([60, 3, 20, 10], standardize=True, first_axis=True), tmp_path).standardized == "per channel"
    statistics_of_others = (data - samples([50, 20, 10, 3]).mean()) / 2.1
    assert facts_of(statistics_of_others, tmp_path).standardized == ""


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "shape", "kind", "wanted"),
    [
        ((2, 100, 9), (1, 9, 2, 100), "fits", "(2, 100, 9)"),
        ((9, 2, 100), (1, 9, 2, 100), "channels first", "(2, 100, 9)"),
        ((1, 9, 2, 100), (1, 9, 2, 100), "channels first", "(2, 100, 9)"),
        ((1, 2, 100, 9), (1, 9, 2, 100), "rank", "(2, 100, 9)"),
        ((3, 3, 3), (1, 3, 3, 3), "fits", "(3, 3, 3)"),
        ((224, 224, 3), (1, 3, "H", "W"), "fits", "(?, ?, 3)"),
        ((3, 224, 224), ("N", 3, None, None), "channels first", "(?, ?, 3)"),
        ((100, 9), (1, 9, 100), "rank", "(1, 100, 9)"),
        ((1, 100, 9), (1, 9, 100), "fits", "(1, 100, 9)"),
        ((1, 9, 100), (1, 9, 100), "fits", "(1, 100, 9)"),  # tokens: length before features
        ((128,), (1, 128), "fits", "(128)"),
        ((1, 1, 128), (1, 128), "fits", "(128)"),
        ((7,), (1, 128), "wrong", "(128)"),
        ((224, 200, 3), (1, 3, 224, 224), "wrong", "(224, 224, 3)"),
        (None, (1, 3, 224, 224), "wrong", "(224, 224, 3)"),
        ((4, 4), None, "unknown", ""),
        ((4, 4), (1, 2, 3, 4, 5), "unknown", ""),
    ],
)
def test_layouts(sample: tuple[int, ...] | None, shape: Any, kind: str, wanted: str) -> None:
    judged = judge_layout(sample, shape)
    assert (judged.kind, judged.wanted) == (kind, wanted)


def test_an_input_that_is_laid_out_channels_last_stays_so() -> None:
    assert judge_layout((224, 200, 3), (1, 224, 200, 3), takes_channels_last=True).kind == "fits"
    assert judge_layout((3, 224, 200), (1, 224, 200, 3), takes_channels_last=True).kind == "channels first"
