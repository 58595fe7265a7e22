"""A bundle on disk: is it whole, what does it say."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.errors import InputError, OutputError
from irkit.hailo.hef.contents import Hef, Stream
from irkit.hailo.hef.reader import read_hef

PRE, MODEL, HOST = "pre.onnx", "model.onnx", "host.onnx"
COMPILED = Path("compiled") / "model.hef"


class BundleError(InputError):
    """A folder that is no bundle, or one that was damaged."""


@dataclass(frozen=True)
class BundleFolder:
    """A bundle that irkit wrote.

    Attributes: `path`; `manifest`, `io_map`, `preprocess`, `script`: its files as plain data.
    """

    path: Path
    manifest: dict[str, Any]
    io_map: dict[str, Any]
    preprocess: dict[str, Any]
    script: dict[str, Any]

    @property
    def hef(self) -> Path | None:
        """The compiled network, where there is one."""
        path = self.path / COMPILED
        return path if path.exists() else None

    @property
    def hw_arch(self) -> str:
        """The chip it is for."""
        return str(self.script["hw_arch"])

    @property
    def drift(self) -> str:
        """`none`, `accepted` or `unaccepted`."""
        return str(self.manifest.get("drift", "none"))


def open_bundle(path: str | os.PathLike[str]) -> BundleFolder:
    """Read a bundle, and hold every file against its digest.

    Raises `BundleError` where the folder is no bundle, or a file is missing or was changed.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder; irkit optimize MODEL -o {folder} makes a bundle")
    manifest = _json(folder, "manifest.json")
    if not isinstance(manifest.get("files"), dict):
        raise _other(folder / "manifest.json", "files")
    for name, entry in manifest["files"].items():
        place = folder / name
        if not place.is_file():
            raise BundleError(f"{place} is missing: write the bundle again with irkit optimize")
        if not isinstance(entry, dict) or _sha256(place) != entry.get("sha256"):
            raise BundleError(f"{place} was changed after irkit wrote it: write the bundle again with irkit optimize")
    if "script.json" not in manifest["files"]:
        raise BundleError(f"{folder} holds no files for the compiler: its model has open shapes; see report.md")
    read = {name: _json(folder, name) for name in _FORMS}
    for name, form in _FORMS.items():
        wrong = _misfit(read[name], form)
        if wrong is not None:
            raise _other(folder / name, wrong)
    return BundleFolder(folder, manifest, *read.values())


_TEXT_OR_NOT = (str, None)
_PORT = {
    "name": str, "shape": [int], "dtype": str, "layout": str,
    "device": {"name": _TEXT_OR_NOT, "shape": ([int], None), "layout": str},
}  # fmt: skip
_NUMBERS: Any = ([(int, float)], [])
_NORMALIZATION = {"mean": _NUMBERS, "std": _NUMBERS, "applied": str}
_FORMS: dict[str, Any] = {
    "io_map.json": {
        "state": str, "feeds": [_PORT], "inputs": [_PORT], "outputs": [{**_PORT, "node": str}], "results": [str],
    },
    "preprocess.json": {
        "domain": {"model.onnx": str, "calibration": str, "hef": str, "golden": str},
        "inputs": [{"name": str, "color": _TEXT_OR_NOT, "fit": _TEXT_OR_NOT, "normalization": _NORMALIZATION}],
    },
    "script.json": {
        "hw_arch": str, "end_nodes": ([str], []), "commands": ([{"name": str, "settings": dict}], []),
        "calibration": ({"file": str, "inputs": [str], "count": int, "random": bool}, None),
    },
}  # fmt: skip
"""What is read of a bundle's files: keys that must be there, lists of at least one item, `(a, b)`: one of these."""


def _misfit(value: Any, form: Any) -> str | None:
    """Where a value is not of a form, as `inputs.0.name`; None where it is."""
    if isinstance(form, tuple):
        found = [_misfit(value, one) for one in form]
        return None if None in found else found[0]
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return ""
        places = ((key, _misfit(value.get(key, _MISSING), inner)) for key, inner in form.items())
    elif isinstance(form, list):
        if not isinstance(value, list) or bool(value) != bool(form):
            return ""
        places = ((str(index), _misfit(item, form[0])) for index, item in enumerate(value))
    else:
        return None if (value is None if form is None else isinstance(value, form)) else ""
    return next((f"{key}.{place}".rstrip(".") for key, place in places if place is not None), None)


_MISSING = object()


def _other(path: Path, place: str) -> BundleError:
    return BundleError(
        f"{path} is not what this version of irkit writes, at `{place}`: write the bundle again with irkit optimize"
    )


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} is no bundle: it has no {name}; irkit optimize makes one") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {folder / name}: {error}; write the bundle again with irkit optimize") from None
    if not isinstance(found, dict):
        raise BundleError(f"{folder / name} is not what irkit writes: write the bundle again with irkit optimize")
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- binding to a HEF ------------------------------------------------------------------------------------------------


def bind(bundle: BundleFolder, hef_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Complete io_map.json by a HEF: which of its inputs and outputs is which of the model. Returns it.

    Outputs are matched by the nodes that the compiler recorded, since shapes may be equal; inputs by order, and their
    shapes are held against each other.

    Raises `BundleError` where that is not possible, `ModelError` where the HEF cannot be read, `OutputError` where
    io_map.json cannot be written.
    """
    hef = read_hef(hef_path)
    if len(hef.groups) != 1:
        raise BundleError(f"{hef.path} holds {len(hef.groups)} network groups; a bundle is one")
    if bundle.hw_arch not in hef.devices and not (bundle.hw_arch == "hailo8r" and hef.target == "hailo8"):
        raise BundleError(
            f"{hef.path} was compiled for {hef.target or hef.arch_name}, the bundle is for {bundle.hw_arch}"
        )
    group = hef.groups[0]
    inputs = _bound_inputs(bundle.io_map["inputs"], group.inputs, hef)
    outputs = [_bound_output(entry, group.outputs, hef) for entry in bundle.io_map["outputs"]]
    _check_distinct(outputs, hef)
    bound = {**bundle.io_map, "state": "bound", "hef": hef.path.name, "inputs": inputs, "outputs": outputs}
    add_file(bundle, "io_map.json", (json.dumps(bound, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return bound


def _bound_inputs(entries: list[dict[str, Any]], streams: tuple[Stream, ...], hef: Hef) -> list[dict[str, Any]]:
    if len(entries) != len(streams):
        raise BundleError(
            f"{hef.path} has {len(streams)} inputs, the bundle's model {len(entries)}: it is of another model"
        )
    for entry, stream in zip(entries, streams, strict=True):
        wanted = entry["device"]["shape"]
        if wanted is not None and list(stream.shape) != wanted:
            raise BundleError(
                f"{hef.path}: input `{stream.name}` is {list(stream.shape)}, `{entry['name']}` of the bundle is "
                f"{wanted}: it is of another model"
            )
    return [_bound(entry, stream) for entry, stream in zip(entries, streams, strict=True)]


def _bound_output(entry: dict[str, Any], streams: tuple[Stream, ...], hef: Hef) -> dict[str, Any]:
    fitting = [stream for stream in streams if entry["node"] in stream.original_names]
    if len(fitting) == 1:
        return _bound(entry, fitting[0])
    if not fitting:
        known = "; ".join(f"{stream.name} from {', '.join(stream.original_names) or 'nowhere'}" for stream in streams)
        raise BundleError(
            f"{hef.path}: no output comes from the node `{entry['node']}`, which makes `{entry['name']}`: {known}"
        )
    names = ", ".join(stream.name for stream in fitting)
    raise BundleError(f"{hef.path}: several outputs come from the node `{entry['node']}`: {names}")


def _check_distinct(outputs: list[dict[str, Any]], hef: Hef) -> None:
    """Two outputs are not one of the HEF, unless HailoRT makes one of them by NMS."""
    seen: dict[str, str] = {}
    for entry in outputs:
        name = entry["device"]["name"]
        if entry["device"].get("nms"):
            continue
        if name in seen:
            raise BundleError(f"{hef.path}: `{entry['name']}` and `{seen[name]}` are one output of the HEF, `{name}`")
        seen[name] = entry["name"]


def _bound(entry: dict[str, Any], stream: Stream) -> dict[str, Any]:
    quantization = stream.quantization
    grid = None if quantization is None else {"scale": quantization.scale, "zero_point": quantization.zero_point}
    device = {
        "name": stream.name,
        "shape": list(stream.shape),
        "layout": entry["device"]["layout"],
        "order": stream.order,
        "dtype": stream.dtype,
        "quantization": grid,
        "nms": None if stream.nms is None else dict(vars(stream.nms)),
    }
    return {**entry, "device": device}


def add_file(bundle: BundleFolder, name: str, data: bytes) -> None:
    """Write a file into a bundle, and its digest into the manifest. Raises `OutputError` where that cannot be."""
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    bundle.manifest["files"] = {**bundle.manifest["files"], name: entry}
    manifest = json.dumps(bundle.manifest, indent=2, ensure_ascii=False) + "\n"
    try:
        for place, content in ((name, data), ("manifest.json", manifest.encode())):
            part = bundle.path / f".{place}.part"
            part.write_bytes(content)
            part.replace(bundle.path / place)
    except OSError as error:
        raise OutputError(f"cannot write into {bundle.path}: {error.strerror or error}") from error
