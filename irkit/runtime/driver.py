"""Driving the Dataflow Compiler: compile.py of a bundle, in a Python that has the compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from irkit.diagnostics import Finding
from irkit.errors import InputError, OptionError, OutputError
from irkit.hailo.dfc_log import DfcLogReader
from irkit.hailo.hef.check import check_hef
from irkit.hailo.hef.contents import Hef
from irkit.hailo.hef.reader import read_hef
from irkit.runtime.folder import COMPILED, BundleFolder, bind

LOG = Path("compiled") / "dfc.log"
STAGES = ("parse", "optimize", "compile")
_OURS = "[irkit] "


class CompilerError(InputError):
    """The compiler cannot be started here, or the bundle is not one to compile."""


@dataclass
class CompileResult:
    """What compiling gave.

    Attributes:
        ok: whether a HEF was made. exit_code: of compile.py.
        stopped: why compile.py stopped by itself; "" where it did not.
        findings: what the compiler's log says, and what is wrong with the HEF.
        hef: what was made. log: the whole log.
    """

    exit_code: int
    stopped: str = ""
    findings: list[Finding] = field(default_factory=list)
    hef: Hef | None = None
    log: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether a HEF was made that fits the bundle."""
        return self.exit_code == 0 and not self.stopped


def compile_bundle(
    bundle: BundleFolder,
    *,
    python: str = "",
    docker: str = "",
    fresh: bool = False,
    last: str = "compile",
    max_size: int | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> CompileResult:
    """Run the compiler on a bundle, read its log, check and bind the HEF.

    Args:
        bundle: what `irkit optimize` wrote.
        python: the interpreter that the compiler is installed in; this one unless said.
        docker: run in a container of this image instead.
        fresh: begin anew, whatever an earlier run left.
        last: the stage to stop after: parse, optimize or compile.
        max_size: that the HEF may have, in bytes.
        on_stage: is told of stages as they begin.
        on_line: is told of every line of the log.

    Raises `CompilerError` where it cannot be started, or the drift of the bundle was not accepted.
    """
    if bundle.drift == "unaccepted":
        raise CompilerError(
            f"{bundle.path}: the model's function was changed, and nobody accepted that (see report.md): "
            "irkit optimize --exact keeps it, --accept-drift PASS accepts it"
        )
    command = [*_command(bundle, python, docker), "--to", last, *(["--fresh"] if fresh else [])]
    reader = DfcLogReader("the compiler")
    lines: list[str] = []
    try:
        code, stopped = _run(command, bundle.path, reader, lines.append, on_stage, on_line)
    except OSError as error:
        raise CompilerError(f"cannot run {command[0]}: {error.strerror or error}") from error
    reader.close()
    if code == 2 and not stopped:
        stopped = "".join(lines[-1:]).strip() or "it could not be started"
    if stopped:
        return CompileResult(code, stopped)
    result = CompileResult(code, log=_kept_log(bundle, lines))
    result.findings += _log_findings(bundle, reader)
    if result.ok and last == "compile":
        result.hef = read_hef(bundle.path / COMPILED)
        result.findings += check_hef(result.hef, bundle.hw_arch, max_size)
        bind(bundle, result.hef.path)
    return result


def _kept_log(bundle: BundleFolder, lines: Sequence[str]) -> Path:
    log = bundle.path / LOG
    try:
        log.parent.mkdir(exist_ok=True)
        log.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {log}: {error.strerror or error}") from error
    return log


def _command(bundle: BundleFolder, python: str, docker: str) -> list[str]:
    if python and docker:
        raise OptionError("--python and --docker: give one of them")
    if docker:
        if shutil.which("docker") is None:
            raise CompilerError("docker is not installed, so the compiler cannot be run in a container")
        mount = f"{bundle.path.resolve()}:/bundle"
        user = [f"--user={os.getuid()}:{os.getgid()}"] if hasattr(os, "getuid") else []
        return ["docker", "run", "--rm", *user, "-v", mount, "-w", "/bundle", docker, "python3", "compile.py"]
    interpreter = python or sys.executable
    if shutil.which(interpreter) is None:
        raise CompilerError(f"there is no Python at {interpreter}")
    return [interpreter, str((bundle.path / "compile.py").resolve())]


def _run(
    command: Sequence[str],
    folder: Path,
    reader: DfcLogReader,
    write: Callable[[str], object],
    on_stage: Callable[[str], None] | None,
    on_line: Callable[[str], None] | None,
) -> tuple[int, str]:
    """Run, line by line. Returns the exit code, and why compile.py stopped by itself."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    stopped = ""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            write(line)
            if line.startswith(_OURS):
                word, _, text = line.removeprefix(_OURS).rstrip("\n").partition(": ")
                stopped = text if word == "stopped" else stopped
                if word == "stage" and on_stage is not None:
                    on_stage(text)
                continue
            reader.feed(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))
        return process.wait(), stopped


def _log_findings(bundle: BundleFolder, reader: DfcLogReader) -> list[Finding]:
    """What the log says of the model's nodes."""
    from irkit.linting import lint

    report = lint(bundle.path / "model.onnx", bundle.hw_arch, dfc_log=reader.log, select=["HAI6"])
    return list(report.findings)
