"""The lines of the deployment checklist: each passes, fails, or says why it was not checked."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from irkit.diagnostics import Severity
from irkit.errors import ExecutionError, MissingDependencyError
from irkit.gates.confidence import accuracy, calibration_error, coverage_floor, covered, softmax
from irkit.gates.measured import Measured
from irkit.hailo.alls import ModelScriptError, parse
from irkit.hailo.alls_check import problems
from irkit.hailo.hef.check import MEGABYTE, check_hef
from irkit.runtime.timing import Latency
from irkit.verdict import Outlook, verdict_of

BEFORE, AFTER, DEPLOYMENT = "before export", "after export", "deployment"
_NO_DEVICE = "no Hailo device"
_ON_THE_PI = "selftest.py on the Pi, then irkit check --device-results device_results.json"
_SENSITIVE = "16 bits for the layers it names, calibration data as the sensor gives them, more of them"


class State(enum.Enum):
    """What became of a line."""

    PASS = "pass"
    FAIL = "fail"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Line:
    """One line of the checklist.

    Attributes: `phase` it belongs to; `name`; `state`; `found`: what was measured, or why nothing was; `limit`, in
    words; `advice`: what to do about it; `value`: the number that was measured, where there is one.
    """

    phase: str
    name: str
    state: State
    found: str
    limit: str = ""
    advice: str = ""
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "state": self.state.value}


def checklist(measured: Measured) -> Iterator[Line]:
    """All lines, in order. Raises a subclass of `InputError` where something that is given cannot be used."""
    yield from _before(measured)
    yield from _after(measured)
    yield from _files(measured)
    yield from _speed(measured)
    yield from _quality(measured)


def _line(
    phase: str, name: str, ok: bool, found: str, limit: str = "", advice: str = "", value: float | None = None
) -> Line:
    return Line(phase, name, State.PASS if ok else State.FAIL, found, limit, "" if ok else advice, value)


def _not_checked(phase: str, name: str, why: str, advice: str = "", limit: str = "") -> Line:
    return Line(phase, name, State.NOT_CHECKED, why, limit, advice)


def _findings(measured: Measured, *codes: str) -> list[str]:
    return [finding.message for finding in measured.report.findings if finding.code.startswith(codes)]


# --- before and after export -----------------------------------------------------------------------------------------


def _before(measured: Measured) -> Iterator[Line]:
    training = _findings(measured, "IRK006")
    advice = "call model.eval() before torch.onnx.export"
    yield _line(
        BEFORE, "eval mode", not training, training[0] if training else "no operator in training mode", "", advice
    )
    norms = measured.operators.get("BatchNormalization", 0)
    yield _line(
        BEFORE,
        "batch norms folded",
        not norms,
        f"{norms} left",
        "0",
        "irkit optimize folds them; report.md says why not",
    )
    drops = measured.operators.get("Dropout", 0)
    yield _line(BEFORE, "no dropout", not drops, f"{drops} left", "0", "irkit optimize removes it")
    dynamic = _findings(measured, "IRK001", "IRK002")
    found = dynamic[0] if dynamic else "all shapes are numbers"
    yield _line(BEFORE, "no dynamic shapes", not dynamic, found, "", "irkit optimize --bind NAME=NUMBER")
    errors = [finding for finding in measured.report.findings if finding.severity is Severity.ERROR]
    refused = [finding for finding in errors if finding.code.startswith("HAI1") or finding.code.startswith("HAI2")]
    found = refused[0].message if refused else "none that is known to be refused"
    advice = f"irkit explain {refused[0].code}" if refused else ""
    yield _line(BEFORE, "no unsupported operations", not refused, found, "", advice)
    untrained = _findings(measured, "IRK060")
    found = untrained[0] if untrained else "they do not look drawn by an initializer"
    yield _line(BEFORE, "weights are trained", not untrained, found, "", "load the checkpoint before exporting")


def _after(measured: Measured) -> Iterator[Line]:
    found = measured.invalid or "onnx.checker and irkit's verifier find nothing; every file has its digest"
    yield _line(AFTER, "validated", not measured.invalid, found, "", "write the bundle again with irkit optimize")
    yield _line(
        AFTER, "drift accepted", measured.bundle.drift != "unaccepted", measured.bundle.drift, "none or accepted",
        "irkit optimize --exact, or --accept-drift PASS",
    )  # fmt: skip
    settled = measured.is_settled()
    yield _line(
        AFTER,
        "simplified",
        settled,
        "the passes have nothing left to do" if settled else "not settled",
        "",
        "irkit optimize",
    )
    size = measured.model_path.stat().st_size / MEGABYTE
    limit = measured.limits.onnx_mb
    yield _line(AFTER, "ONNX size", size <= limit, f"{size:.2f} MB", f"at most {limit:g} MB", "a smaller network", size)
    verdict = verdict_of(measured.report)
    ok = verdict.outlook is Outlook.LIKELY
    yield _line(AFTER, "compatibility", ok, verdict.sentence, "", f"irkit lint {measured.model_path}")
    yield from _calibration(measured)
    yield _script(measured)
    yield _baseline(measured)


def _calibration(measured: Measured) -> Iterator[Line]:
    calibration = measured.bundle.script.get("calibration")
    advice = "irkit optimize MODEL --calib PATH"
    limit = f"at least {measured.limits.calibration_samples} samples of real data"
    if not calibration:
        yield _line(AFTER, "calibration set", False, "there is none", limit, advice)
        return
    count, is_random = int(calibration["count"]), bool(calibration["random"])
    wrong = [f.message for f in measured.report.findings if f.code.startswith("HAI5") and f.severity is Severity.ERROR]
    found = wrong[0] if wrong else f"{count} samples{', drawn at random' if is_random else ''}"
    ok = count >= measured.limits.calibration_samples and not is_random and not wrong
    yield _line(AFTER, "calibration set", ok, found, limit, advice, float(count))


def _script(measured: Measured) -> Line:
    path = measured.bundle.path / "model.alls"
    try:
        wrong = [str(problem) for problem in problems(parse(path.read_text(encoding="utf-8"), str(path)))]
    except ModelScriptError as error:
        wrong = [str(error)]
    return _line(
        AFTER, "compile script", not wrong, wrong[0] if wrong else "every command is known", "", "irkit optimize"
    )


# --- the compiled file -----------------------------------------------------------------------------------------------


def _files(measured: Measured) -> Iterator[Line]:
    limit = f"at most {measured.limits.hef_mb:g} MB"
    hef = measured.hef
    if hef is None:
        why = f"no HEF: irkit compile {measured.bundle.path}, or --hef FILE"
        yield _not_checked(DEPLOYMENT, "HEF size", why, limit=limit)
        yield _not_checked(DEPLOYMENT, "HEF is for the chip", why, limit=measured.bundle.hw_arch)
        return
    size = hef.size / MEGABYTE
    advice = "irkit optimize --compression 2, or a smaller network"
    yield _line(DEPLOYMENT, "HEF size", size <= measured.limits.hef_mb, f"{size:.2f} MB", limit, advice, size)
    errors = [f for f in check_hef(hef, measured.bundle.hw_arch) if f.severity is Severity.ERROR]
    found = errors[0].message if errors else f"compiled for {hef.target}"
    yield _line(
        DEPLOYMENT,
        "HEF is for the chip",
        not errors,
        found,
        measured.bundle.hw_arch,
        errors[0].advice if errors else "",
    )


# --- speed -----------------------------------------------------------------------------------------------------------


def _baseline(measured: Measured) -> Line:
    """A measurement to compare with: it has no limit, since the CPU is not what will run the network."""
    name = "CPU latency baseline"
    try:
        latency = measured.latency("cpu")
    except (ExecutionError, MissingDependencyError) as error:
        return _not_checked(AFTER, name, str(error))
    return Line(AFTER, name, State.PASS, f"measured: {_points(latency)}", value=latency.percentile(95))


def _points(latency: Latency) -> str:
    points = ", ".join(f"P{share} {latency.percentile(share):.3f}" for share in (50, 95, 99))
    return f"{points} ms on {latency.device} ({len(latency.samples)} frames)"


def _speed(measured: Measured) -> Iterator[Line]:
    yield _end_to_end(measured)
    yield _core(measured)


def _end_to_end(measured: Measured) -> Line:
    name, frames = "end-to-end latency", measured.limits.frames
    limit = f"P95 at most {measured.limits.p95_ms:g} ms over {frames} frames"
    advice = "a smaller network, or one that stays in one context"
    device = measured.device
    if device is not None:
        found = f"P95 {device.p95_ms:.3f} ms over {device.frames} frames on {device.architecture}"
        if device.frames < frames:
            return _not_checked(DEPLOYMENT, name, found, f"python3 selftest.py --frames {frames} on the Pi", limit)
        return _line(DEPLOYMENT, name, device.p95_ms <= measured.limits.p95_ms, found, limit, advice, device.p95_ms)
    if measured.on_device:
        latency = measured.latency("hailo")
        p95 = latency.percentile(95)
        return _line(DEPLOYMENT, name, p95 <= measured.limits.p95_ms, _points(latency), limit, advice, p95)
    return _not_checked(DEPLOYMENT, name, _NO_DEVICE, _ON_THE_PI, limit)


def _core(measured: Measured) -> Line:
    """Time within the chip: only hailortcli tells it."""
    limit = f"mean at most {measured.limits.core_ms:g} ms"
    value = measured.core_ms
    if value is None:
        why = _NO_DEVICE if measured.device is None else "hailortcli's table was not given to selftest.py"
        how = "hailortcli run model.hef --measure-latency --csv latency.csv on the Pi, then selftest.py --latency-csv"
        return _not_checked(DEPLOYMENT, "core latency", why, how, limit)
    ok = value <= measured.limits.core_ms
    return _line(DEPLOYMENT, "core latency", ok, f"{value:.3f} ms within the chip", limit, "a smaller network", value)


# --- quality ---------------------------------------------------------------------------------------------------------


def _quality(measured: Measured) -> Iterator[Line]:
    yield _on_device(measured)
    if measured.data is None:
        for name, limit in (
            ("accuracy", f"at least {measured.limits.accuracy:.0%}"),
            ("calibration error", f"at most {measured.limits.ece:.1%}"),
            ("conformal coverage", f"{measured.limits.coverage:.0%}"),
            ("accuracy in 8 bits", f"at most {measured.limits.int8_drop:.1%} lost"),
        ):
            yield _not_checked(DEPLOYMENT, name, "no test data: --data test.npz", limit=limit)
        return
    labels, logits = measured.data.labels, measured.test_logits
    share = accuracy(logits, labels)
    limit = f"at least {measured.limits.accuracy:.0%}"
    found = f"{share:.2%} of {len(labels)} samples, in float"
    yield _line(
        DEPLOYMENT,
        "accuracy",
        share >= measured.limits.accuracy,
        found,
        limit,
        "train longer, or another network",
        share,
    )
    yield from _confidence_lines(measured)
    yield _int8(measured, share)


def _on_device(measured: Measured) -> Line:
    name, device = "right on the device", measured.device
    if device is None:
        return _not_checked(DEPLOYMENT, name, _NO_DEVICE, _ON_THE_PI)
    wanted = measured.bundle.hw_arch
    wrong = [f"failed: {check}" for check in device.failed]
    if device.architecture.lower() != wanted.lower():
        wrong.append(f"it ran on {device.architecture}, the bundle is for {wanted}")
    if device.hef_sha256 and measured.hef_path is not None and device.hef_sha256 != measured.hef_sha256:
        wrong.append(f"it ran another file than {measured.hef_path}")
    found = "; ".join(wrong) or f"{device.checks} checks on {device.architecture}"
    return _line(DEPLOYMENT, name, not wrong, found, "", "irkit compare, irkit quantize")


def _confidence_lines(measured: Measured) -> Iterator[Line]:
    assert measured.data is not None
    labels, logits = measured.data.labels, measured.test_logits
    confidence = measured.confidence
    probabilities = softmax(logits) if confidence is None else confidence.probabilities(logits)
    error = calibration_error(probabilities, labels)
    kind = "without temperature" if confidence is None else f"at temperature {confidence.temperature:.3f}"
    limit = f"at most {measured.limits.ece:.1%}"
    advice = "--validation val.npz fits a temperature" if confidence is None else "more validation data"
    yield _line(
        DEPLOYMENT, "calibration error", error <= measured.limits.ece, f"{error:.2%} {kind}", limit, advice, error
    )
    goal = measured.limits.coverage
    if confidence is None or confidence.coverage != goal:
        why = "no conformal threshold" if confidence is None else f"the threshold is for {confidence.coverage:.0%}"
        why += ": --validation val.npz fits one"
        yield _not_checked(DEPLOYMENT, "conformal coverage", why, limit=f"{goal:.0%}")
        return
    sets = confidence.prediction_sets(logits)
    share = covered(sets, labels)
    floor = coverage_floor(len(labels), goal)
    found = f"{share:.2%}, sets of {sets.sum(1).mean():.2f} classes on average"
    limit = f"{goal:.0%}, on {len(labels)} samples at least {floor:.1%}"
    advice = "validation data of the same kind as the test data"
    yield _line(DEPLOYMENT, "conformal coverage", share >= floor, found, limit, advice, share)


def _int8(measured: Measured, share: float) -> Line:
    """What 8 bits cost: an emulation, so never more than that is said."""
    name, limit = "accuracy in 8 bits", f"at most {measured.limits.int8_drop:.1%} lost"
    found = measured.emulated_accuracy
    if isinstance(found, str):
        return _not_checked(DEPLOYMENT, name, found, limit=limit)
    drop = share - min(found)
    text = f"{min(found):.2%} emulated, {drop:.2%} less than in float (an emulation, no measurement of the chip)"
    advice = f"irkit quantize {measured.bundle.path}; {_SENSITIVE}"
    return _line(DEPLOYMENT, name, drop <= measured.limits.int8_drop, text, limit, advice, drop)
