"""Writing the folder that `irkit optimize` leaves: whole, or not at all.

    model.onnx     what the compiler gets; the same bytes for the same input, options and version of irkit
    model.alls, script.json, compile.py, ...   what else compiler and Pi need: irkit.hailo.deployment
    report.json    every pass, the proof, the drift, what remains, what was not checked
    report.md      the same for people
    manifest.json  sha256 of every file, versions, options; `identity` is a hash of what no run varies

The folder is made beside its final place under another name and then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.compiler import OptimizeResult
from irkit.errors import ModelError, OutputError
from irkit.onnx.writer import save
from irkit.render import SCHEMA, optimize_json, report_markdown
from irkit.version import __version__

if TYPE_CHECKING:
    from irkit.diagnostics import Finding
    from irkit.hailo.deployment import Deployment
    from irkit.hailo.equipment import Equipment
    from irkit.model import Model
    from irkit.pipeline import Progress

MODEL, REPORT, PAGE, MANIFEST = "model.onnx", "report.json", "report.md", "manifest.json"

_OURS = re.compile(
    r"(model|pre|host)\.onnx|(model|pre|host)\.[0-9a-f]+\.data|report\.json|report\.md|manifest\.json|model\.alls|script\.json"
    r"|nms\.json|preprocess\.json|io_map\.json|calibration_data\.np[yz]|compile\.py|compile_for_\w+\.sh|selftest\.py"
    r"|DEPLOYMENT_README\.md|golden"
)
_CALIBRATION_RULES = ("HAI50", "HAI51", "HAI521", "HAI522")
_MEASURED_WITH = ("numpy", "onnx", "onnxruntime", "protobuf")


def default_folder(source: Path, target: str) -> Path:
    """Where the folder goes unless said: `./MODEL-hailo8/`."""
    return Path(f"{source.stem}-{target.replace('@', '-')}")


def check_folder(folder: Path, source: Path | None, *, force: bool = False) -> None:
    """Make sure that the folder may be written, before any work is done.

    Raises `OutputError`: it exists (without `force`), holds files irkit did not write, or holds the input.
    """
    if source is not None and folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise OutputError(f"{folder}: the model itself is in there; write to another folder (-o DIR)")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise OutputError(f"{folder} is the folder you are in, or one above it; name a folder to make (-o DIR)")
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise OutputError(f"{folder} exists and is no folder; write to another one (-o DIR)")
    names = sorted(item.name for item in folder.iterdir())
    if names and not force:
        raise OutputError(f"{folder} exists; --force replaces it, -o DIR writes elsewhere")
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if foreign:
        raise OutputError(f"{folder} holds {foreign[0]!r}, which irkit did not write, so it is not replaced (-o DIR)")


def write_bundle(
    result: OptimizeResult,
    folder: str | os.PathLike[str],
    *,
    target: str = "",
    force: bool = False,
    equipment: Equipment | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the result of `irkit.optimize` to a folder. Returns its path.

    Args:
        result: what `irkit.optimize` returned.
        folder: the folder to make.
        target: how the target is called in the report; its own name unless said.
        force: replace a folder that irkit wrote before.
        equipment: calibration data and the like.
        progress: is told of every step.

    Raises `OutputError` where it cannot be written, and another `InputError` where the equipment does not fit; then
    nothing is left behind, and what was there stays.
    """
    place = Path(folder)
    check_folder(place, result.source, force=force)
    with staged(place) as stage:
        save(result.model, stage / MODEL)
        for name, part in _host_parts(result, equipment):
            save(part, stage / name)
        _equip(result, stage, place, equipment, progress)
        _write_text(stage / REPORT, _dump(optimize_json(result)))
        _write_text(stage / PAGE, report_markdown(result, target or str(result.target)))
        _write_text(stage / MANIFEST, _dump(_manifest(result, stage)))
    return place


def _host_parts(result: OptimizeResult, equipment: Equipment | None) -> Iterator[tuple[str, Model]]:
    """What the host runs before and after the chip; after it nothing where HailoRT does that."""
    if result.parts is not None:
        by_runtime = equipment is not None and equipment.nms
        for name, part in (("pre.onnx", result.parts.pre), ("host.onnx", result.parts.host)):
            if part is not None and not (by_runtime and name == "host.onnx"):
                yield name, part


def _equip(
    result: OptimizeResult, stage: Path, place: Path, equipment: Equipment | None, progress: Progress | None
) -> None:
    """Write the files of the deployment, unless the model is not one that could be deployed: its shapes are open."""
    from irkit.hailo.equipment import Equipment, equip
    from irkit.hailo.ports import input_ports, output_ports

    given = equipment or Equipment()
    try:
        input_ports(result.model), output_ports(result.model)
    except ModelError as error:
        if given.calibration is not None:
            raise
        result.gaps.append(f"files for compiler and chip, which need static shapes: {error}")
        return
    name = result.source.stem if result.source is not None else place.name
    plan = equip(result.model, result.target, stage, name, given, parts=result.parts, progress=progress)
    result.deployment = plan
    if plan.calibration is not None and not plan.calibration.is_random:
        result.report.findings += _calibration_findings(result, plan, stage / plan.calibration.file)


def _calibration_findings(result: OptimizeResult, plan: Deployment, data: Path) -> list[Finding]:
    """What the rules have to say of the calibration set that was written, with the model script that goes with it."""
    from irkit.hailo.calibration import open_calibration
    from irkit.hailo.deployment import ALLS, script_text
    from irkit.hailo.scripts import MODEL_SCRIPT, ScriptFile
    from irkit.linting import all_docs, lint_model
    from irkit.selection import chosen

    settings = result.settings
    codes = chosen(all_docs(), settings.select, settings.ignore) & chosen(all_docs(), _CALIBRATION_RULES)
    if not codes:
        return []
    told = {(finding.code, finding.node) for finding in result.report.findings}
    asked = settings.changed(select=tuple(sorted(codes)), ignore=())
    script = ScriptFile(ALLS, MODEL_SCRIPT, script_text(plan))
    report = lint_model(
        result.model, result.target, result.report.model, asked,
        calibration=open_calibration(data), scripts=[script],
    )  # fmt: skip
    return [finding for finding in report.findings if (finding.code, finding.node) not in told]


@contextlib.contextmanager
def staged(place: Path) -> Iterator[Path]:
    """A folder beside `place` that takes its name when all went well, and goes where not. Raises `OutputError`."""
    made = _make_parents(place.parent)
    try:
        stage = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        _remove(made)
        raise _cannot_write(place, error) from error
    try:
        mask = os.umask(0)
        os.umask(mask)
        stage.chmod(0o777 & ~mask)
        yield stage
        _swap(stage, place)
    except BaseException as error:
        _remove(stage)
        _remove(made)
        if isinstance(error, OSError):
            raise _cannot_write(place, error) from error
        raise


def _make_parents(folder: Path) -> Path | None:
    """Make a folder and those above it. Returns the topmost that was not there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove(missing[-1] if missing else None)
        raise _cannot_write(folder, error) from error
    return missing[-1] if missing else None


def _swap(stage: Path, place: Path) -> None:
    """Put the finished folder in its place; an old one is moved aside first, and back if that fails."""
    if not place.exists():
        stage.rename(place)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{place.name}-old-", dir=place.parent)) / place.name
    try:
        place.rename(old)
        try:
            stage.rename(place)
        except OSError:
            old.rename(place)
            raise
    finally:
        _remove(old.parent)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _cannot_write(place: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {place}: {error.strerror or error}")


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _dump(plain: Any) -> str:
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _manifest(result: OptimizeResult, stage: Path) -> dict[str, Any]:
    paths = {path.relative_to(stage).as_posix(): path for path in sorted(stage.rglob("*")) if path.is_file()}
    files = {name: _entry(path) for name, path in paths.items()}
    stable = {
        "irkit": __version__,
        "target": str(result.target),
        "compiler": result.target.version,
        "options": dict(result.options),
        "files": {name: entry for name, entry in files.items() if name not in (REPORT, PAGE, "golden/outputs.npz")},
    }
    return {
        "schema": SCHEMA,
        **{key: value for key, value in stable.items() if key != "files"},
        "source": _source_entry(result.source),
        "drift": result.drift,
        "calibration": _calibration_kind(result),
        "identity": hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest(),
        "files": files,
        "measured_with": {"python": platform.python_version(), **_versions()},
    }


def _calibration_kind(result: OptimizeResult) -> str:
    """`data`, `random` or `none`."""
    written = result.deployment.calibration if result.deployment is not None else None
    return "none" if written is None else "random" if written.is_random else "data"


def _entry(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def _source_entry(source: Path | None) -> dict[str, Any] | None:
    return None if source is None else {"file": source.name, **_entry(source)}


def _versions() -> dict[str, str]:
    found = {}
    for name in _MEASURED_WITH:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
