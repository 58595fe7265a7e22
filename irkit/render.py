"""Findings and reports as text for people, Markdown for GitHub, and plain data for machines.

Nothing here prints: the command line does. Colour is the caller's choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from irkit.diagnostics import Finding, Severity
from irkit.formats.text import counts, findings_text, first_few, grouped
from irkit.style import PLAIN, Style, markdown_table, plural, share
from irkit.version import __version__

if TYPE_CHECKING:  # a lint shows none of these
    from irkit.compiler import OptimizeResult
    from irkit.cutting import Parts
    from irkit.drift import Drift
    from irkit.pipeline import PassRun, PipelineResult
    from irkit.proof import Proof

SCHEMA = 1
"""Version of the JSON that is written; it grows only by new keys."""

_NOTES_SHOWN = 4


# --- what optimize did -----------------------------------------------------------------------------------------------


def optimize_text(result: OptimizeResult, target: str, style: Style = PLAIN) -> str:
    """What the passes did, the proof, the drift, what remains, and the verdict."""
    title = f"{style.paint(result.report.model, 'bold')} for {target}"
    facts = [*_cut_facts(result), *_proof_facts(result.run), *map(_drift_fact, result.run.drifts)]
    facts += [("calibration", text.replace("**", "").replace("`", "")) for text in _calibration_texts(result)]
    facts += [("not checked", text) for text in not_checked(result)]
    sections = [title, _passes_text(result.run.passes, style)]
    if facts:
        sections.append("\n".join(_fact_line(name, text, style) for name, text in facts))
    if result.report.findings:
        sections.append(findings_text(result.report.findings, style, details="see report.md"))
    verdict = style.paint(optimize_verdict(result), "bold", "green" if result.ok else "red")
    sections.append(f"{counts(result.report)}\n{verdict}")
    return "\n\n".join(sections)


def _fact_line(name: str, text: str, style: Style) -> str:
    first = f"  {name:<11}  "
    wrapped = style.wrap(text, " " * len(first), first)
    return style.paint(wrapped[: len(first)], "bold") + wrapped[len(first) :]


def _passes_text(passes: Sequence[PassRun], style: Style) -> str:
    busy = [run for run in passes if run.changed or run.failed]
    idle = len({run.name for run in passes} - {run.name for run in busy})
    lines = []
    name_width = max((len(run.name) for run in busy), default=0)
    spans = {id(run): node_span(run) for run in busy}
    span_width = max((len(span) for span in spans.values()), default=0)
    for run in busy:
        first = f"  {run.name:<{name_width}}  {spans[id(run)]:>{span_width}}  "
        head, *notes = what_it_did(run) or ["done"]
        lines.append(style.wrap(head, " " * len(first), first))
        lines += [_cut(" " * len(first) + note, style.width) for note in notes[:_NOTES_SHOWN]]
        if notes[_NOTES_SHOWN:]:
            lines.append(" " * len(first) + f"and {len(notes) - _NOTES_SHOWN} more in report.md")
    if idle:
        what = "none of the passes" if not busy else "1 other pass" if idle == 1 else f"{idle} other passes"
        lines.append(style.paint(f"  {what} had {'anything' if not busy else 'nothing'} to do", "dim"))
    return "\n".join(lines)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def node_span(run: PassRun) -> str:
    """`24 -> 21 nodes`."""
    before, after = run.nodes_before, run.nodes_after
    return f"{before} nodes" if before == after else f"{before} -> {after} nodes"


def what_it_did(run: PassRun) -> list[str]:
    """What a pass did, one thing an entry: its rewrites by number, then its notes."""
    if run.failed:
        return [run.failed]
    rewrites = rewrites_text(run)
    return [*([rewrites] if rewrites else []), *run.notes]


def rewrites_text(run: PassRun) -> str:
    """`3 x into-layer-before, 1 x dead data`."""
    return ", ".join(f"{count} x {rule}" for rule, count in run.rewrites.items())


def _cut_facts(result: OptimizeResult) -> Iterator[tuple[str, str]]:
    if result.parts is not None:
        yield "cut", cut_text(result.parts)


def _calibration_texts(result: OptimizeResult) -> Iterator[str]:
    """What the calibration set is, where files for the compiler were written."""
    from irkit.hailo.deployment import calibration_text

    if result.deployment is not None and result.deployment.calibration is not None:
        yield calibration_text(result.deployment.calibration)


def cut_text(parts: Parts) -> str:
    """Where a model was cut, and what shows that nothing was lost."""
    named = (("pre.onnx", parts.pre), ("host.onnx", parts.host))
    sizes = [f"{name} ({plural(len(part.graph), 'node')})" for name, part in named if part is not None]
    where = ", ".join([*(f"before {name}" for name in parts.starts), *(f"after {name}" for name in parts.ends)])
    proof = parts.proof
    shown = f"not verified: {proof.reason}"
    if not proof.reason:
        shown = f"equal to the whole in a row, on {plural(proof.inputs, 'seeded input')}"
        shown += f"; largest difference {share(proof.worst)}"
    return f"{where}: {' and '.join(sizes) or 'nothing'} for the host; {shown}"


def _proof_facts(run: PipelineResult) -> Iterator[tuple[str, str]]:
    for proof in run.proofs:
        of = f" ({', '.join(proof.passes)})" if len(run.proofs) > 1 else ""
        yield "proof", proof_text(proof) + of
    for taken in run.taken_back:
        what = f"{taken.rule} at {taken.root}" if taken.rule else "the whole pass"
        value = f" (value {taken.fault.value})" if taken.fault.value else ""
        yield "taken back", f"{taken.pass_name}: {what}: {taken.fault.reason}{value}"


def proof_text(proof: Proof) -> str:
    """What was proven, in a sentence."""
    if not proof.is_verified:
        return f"not verified: {proof.reason}"
    worst = f", at `{proof.worst_value}`" if proof.worst_value else ""
    text = (
        f"equal: {plural(proof.values, 'value')} on {plural(proof.inputs, 'seeded input')} in {proof.engine}; "
        f"largest difference {share(proof.worst)} of a value's scale{worst}"
    )
    return f"{text}; {proof.reason}" if proof.reason else text


def _drift_fact(drift: Drift) -> tuple[str, str]:
    return "drift", drift_text(drift)


def drift_text(drift: Drift) -> str:
    """How far a pass moved the outputs, in a sentence."""
    head = f"{drift.pass_name} ({drift.effect})"
    if drift.reason:
        return f"{head}: not measured: {drift.reason}"
    outputs = []
    for output in drift.outputs:
        top1 = "" if output.top1 is None else f", top-1 agreement {output.top1:.0%}"
        outputs.append(f"`{output.name}` cosine {output.cosine:.4f}, largest error {output.error:.1%}{top1}")
    kind = "random inputs" if drift.is_random else "inputs"
    state = {"none": "within the budget", "accepted": "accepted", "unaccepted": "not accepted"}[drift.state]
    return f"{head}: {'; '.join(outputs)} on {drift.inputs} {kind}: {state}"


def not_checked(result: OptimizeResult) -> list[str]:
    """What nobody looked at, so that nobody takes it for granted."""
    items = [f"not written: {gap}" for gap in result.gaps]
    written = result.deployment.calibration if result.deployment is not None else None
    if written is not None and written.is_random:
        items.append("accuracy on the chip: the calibration set is random")
    if result.options.get("verify") == "none":
        items.append("whether the function was kept: proof was switched off")
    for proof in result.run.proofs:
        if proof.proves_nothing:
            items.append(f"outputs that came out the same for all inputs: {', '.join(proof.proves_nothing)}")
        if proof.unstable:
            value, reason = next(iter(proof.unstable.items()))
            total = f"{len(proof.unstable)} of {plural(proof.values, 'value')}"
            items.append(f"{total}, where float noise drowns differences, such as `{value}`: {reason}")
    return items


def optimize_verdict(result: OptimizeResult, errors_are_told: bool = True) -> str:
    """What it all comes to, in one sentence."""
    if not result.ok:
        if result.drift == "unaccepted" and result.report.count(Severity.ERROR) == sum(
            drift.state == "unaccepted" for drift in result.run.drifts
        ):
            return "The model is as the compiler takes it, but its function changed: accept that, or keep it exact."
        errors = [finding for finding in result.report.findings if finding.severity is Severity.ERROR]
        if all(finding.rule in ("pass-failed", "wrong-rewrite") for finding in errors):
            what = "failed and was left out" if errors[0].rule == "pass-failed" else "was wrong and was taken back"
            return f"A pass {what}; nothing else that is known stands in the compiler's way."
        which = "errors above need" if errors_are_told else "errors that are told without --why need"
        return f"The compiler will refuse the model still; the {which} your hand."
    if result.options.get("verify") == "none" or not all(proof.is_verified for proof in result.run.proofs):
        return f"{_way(result)}; that the function was kept is not proven."
    kept = "its function is proven to be kept" if result.drift == "none" else "its changed function is accepted"
    if not result.run.changed:
        kept = "no pass had anything to change"
    return f"{_way(result)}; {kept}."


def _way(result: OptimizeResult) -> str:
    """What stands in the compiler's way, where no error does: operators and layouts it may refuse."""
    open_ = [finding for finding in result.report.findings if finding.code.startswith(("HAI1", "HAI2"))]
    doubts = {finding.node for finding in open_ if finding.severity is Severity.WARNING}
    if not doubts:
        return "Nothing that is known stands in the compiler's way"
    places = "1 place" if len(doubts) == 1 else f"{len(doubts)} places"
    return f"The compiler may refuse the model at {places}, which the warnings tell"


# --- plain data ------------------------------------------------------------------------------------------------------


def number(value: float) -> float | str:
    """A float that JSON can hold: infinities and NaN become text."""
    return value if math.isfinite(value) else str(value)


def optimize_json(result: OptimizeResult) -> dict[str, Any]:
    """Everything `optimize` did, as plain data."""
    run = result.run
    report = result.report.to_json()
    return {
        "schema": SCHEMA,
        "irkit": __version__,
        "model": report["model"],
        "target": report["target"],
        "verdict": optimize_verdict(result),
        "ok": result.ok,
        "options": dict(result.options),
        "passes": [_pass_json(item) for item in run.passes],
        "proofs": [_proof_json(proof) for proof in run.proofs],
        "taken_back": [
            {"pass": item.pass_name, "rule": item.rule, "node": item.root, "fault": _fault_json(item.fault)}
            for item in run.taken_back
        ],
        "cut": None if result.parts is None else cut_text(result.parts),
        "calibration": _calibration_json(result),
        "drift": result.drift,
        "drifts": [_drift_json(drift) for drift in run.drifts],
        "not_checked": not_checked(result),
        "refusals": {node: list(reasons) for node, reasons in sorted(result.refusals.items())},
        "findings": report["findings"],
        "summary": report["summary"],
        "inputs": [{"name": value.name, "type": str(value.type)} for value in result.model.graph.inputs],
        "outputs": [{"name": value.name, "type": str(value.type)} for value in result.model.graph.outputs],
        "seconds": run.seconds,
        **({} if result.trace is None else {"trace": [step.to_json() for step in result.trace]}),
    }


def _calibration_json(result: OptimizeResult) -> dict[str, Any] | None:
    written = result.deployment.calibration if result.deployment is not None else None
    return None if written is None else {**vars(written), "inputs": list(written.inputs)}


def _pass_json(run: PassRun) -> dict[str, Any]:
    return {**vars(run), "effect": run.effect.value}


def _proof_json(proof: Proof) -> dict[str, Any]:
    plain = {**vars(proof), "verdict": proof.verdict.value, "worst": number(proof.worst), "passes": list(proof.passes)}
    plain["proves_nothing"] = list(proof.proves_nothing)
    plain["unstable"] = dict(proof.unstable)
    plain["faults"] = [_fault_json(fault) for fault in proof.faults]
    return plain


def _fault_json(fault: Any) -> dict[str, Any]:
    return {**vars(fault), "error": number(fault.error)}


def _drift_json(drift: Drift) -> dict[str, Any]:
    outputs = [{**vars(one), "cosine": number(one.cosine), "error": number(one.error)} for one in drift.outputs]
    return {**vars(drift), "outputs": outputs, "state": drift.state}


# --- Markdown --------------------------------------------------------------------------------------------------------


def report_markdown(result: OptimizeResult, target: str) -> str:
    """The report of a bundle, as GitHub shows it."""
    run = result.run
    parts = [f"# {result.report.model} for {target}", f"**{optimize_verdict(result)}**"]
    parts.append("## What the passes did\n\n" + _passes_markdown(run.passes))
    facts = [*_cut_facts(result), *_proof_facts(run)]
    proofs = [f"- {text if name == 'proof' else f'{name}: {text}'}" for name, text in facts]
    parts.append("## Proof\n\n" + ("\n".join(proofs) or "Nothing was changed that would need one."))
    if run.drifts:
        parts.append("## Drift\n\n" + "\n".join(f"- {drift_text(drift)}" for drift in run.drifts))
    unchecked = not_checked(result)
    if unchecked:
        parts.append("## What was not checked\n\n" + "\n".join(f"- {item}" for item in unchecked))
    parts += [f"## Calibration\n\n{text}" for text in _calibration_texts(result)]
    parts.append("## What remains\n\n" + (_findings_markdown(result.report.findings) or "Nothing."))
    ends = [("input", value) for value in result.model.graph.inputs if not value.is_initializer]
    ends += [("output", value) for value in result.model.graph.outputs]
    rows_of_ends = [(kind, f"`{value.name}`", f"`{value.type}`") for kind, value in ends]
    parts.append("## Inputs and outputs\n\n" + markdown_table(("", "name", "type"), rows_of_ends))
    return "\n\n".join(parts) + "\n"


def _passes_markdown(passes: Sequence[PassRun]) -> str:
    """A table of what each did, and their notes to be unfolded. Later rounds are told where they found something."""
    firsts = {id(run) for run in {run.name: run for run in reversed(passes)}.values()}
    told = [run for run in passes if run.changed or id(run) in firsts]
    rows = []
    notes = []
    for run in told:
        what = run.failed or rewrites_text(run) or ("done" if run.changed else "nothing to do")
        rows.append((f"`{run.spec}`", run.effect.value, node_span(run), what))
        if run.notes:
            lines = "\n".join(f"- {note}" for note in run.notes)
            title = f"{plural(len(run.notes), 'note')} of {run.name}"
            notes.append(f"<details><summary>{title}</summary>\n\n{lines}\n\n</details>")
    return "\n\n".join([markdown_table(("pass", "effect", "nodes", "what"), rows), *notes])


def _findings_markdown(findings: Iterable[Finding]) -> str:
    rows = []
    for severity, groups in grouped(findings).items():
        for group in groups:
            where = first_few([f"`{finding.node}`" for finding in group if finding.node])
            message = group[0].message + (f" ({group[0].advice})" if group[0].advice else "")
            rows.append((severity.label, f"{group[0].code} {group[0].rule}", where, message))
    return markdown_table(("", "rule", "where", "what"), rows) if rows else ""
