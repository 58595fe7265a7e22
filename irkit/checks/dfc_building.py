"""HAI610 to HAI624: what the compiler's log says of quantizing the network and placing it on the chip."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.checks.dfc_places import events, in_log, node_of, node_of_layer, told, where
from irkit.diagnostics import Severity
from irkit.hailo.dfc_events import DfcEvent, EventKind
from irkit.linter import Found, Subject, rule

RECOMMENDED_SAMPLES = 1024
"""Samples below which the optimizer lowers its level, by its own message."""

DEFAULT_SAMPLES = 64
"""Samples that calibration takes unless the model script says otherwise."""

LOW_NOISE_RATIO = 10.0
"""dB. Outputs of networks that work lie between 20 and 40 in public logs."""


def _at(subject: Subject, event: DfcEvent, text: str, advice: str = "", severity: Severity | None = None) -> Found:
    place = f"{text} ({where(subject, event)})"
    return Found(place, None, severity, advice=advice, origin=in_log(subject, event))


@rule("HAI610", "dfc-optimization-level", Severity.WARNING)
def dfc_optimization_level(subject: Subject) -> Iterator[Found]:
    """The compiler lowered its optimization level, in one line of its log.

    Why: below level 1 bias correction, AdaRound and fine-tuning are left out, biases stay at 16 bits, and accuracy
    drops without any error.
    Fix: calibrate with at least 1024 samples of your data on a machine with an NVIDIA GPU; or ask for level 1 by
    model_optimization_flavor(optimization_level=1) and wait.
    """
    for event in events(subject, EventKind.LEVEL):
        reason = event.values.get("reason", "").partition("because ")[2] or "it does not say why"
        needs = []
        if "data" in reason:
            needs.append(f"give {RECOMMENDED_SAMPLES} samples or more")
        if "GPU" in reason:
            needs.append("run it where there is an NVIDIA GPU with CUDA")
        advice = " and ".join(needs) or "see the line in the log"
        text = f"the optimization level was reduced to {event.values['level']}: {reason}"
        yield _at(subject, event, text, f"{advice}; model_optimization_flavor(optimization_level=1) forces it on a CPU")


@rule("HAI611", "dfc-calibration-samples", Severity.WARNING)
def dfc_calibration_samples(subject: Subject) -> Iterator[Found]:
    """Calibration with fewer samples than the compiler recommends, by its log.

    Why: the ranges of activations come from these samples alone. However many are given, 64 are used unless the model
    script says otherwise.
    Fix: model_optimization_config(calibration, calibset_size=1024) in the model script, and that many samples.
    """
    for event in events(subject, EventKind.CALIBRATION):
        count = int(event.values["count"])
        if count >= RECOMMENDED_SAMPLES:
            continue
        default = ", its default however many are given" if count == DEFAULT_SAMPLES else ""
        text = f"calibration should use {RECOMMENDED_SAMPLES} samples; it used {count}{default}"
        advice = f"model_optimization_config(calibration, calibset_size={RECOMMENDED_SAMPLES}) in the model script"
        yield _at(subject, event, text, advice)


@rule("HAI612", "dfc-calibration-range", Severity.WARNING)
def dfc_calibration_range(subject: Subject) -> Iterator[Found]:
    """Calibration data outside of the range 0 to 255 that images have, by the compiler's log.

    Why: data normalized before it reaches the chip is quantized on the host, frame by frame; and the application has to
    do exactly what was done for calibration.
    Fix: calibrate with the raw images, and let the chip normalize: normalization([mean...], [std...]) in the script.
    """
    for event in events(subject, EventKind.RANGE):
        found = event.values.get("range", "")
        text = "calibration data seems to be normalized already" + (f"; its values range over {found}" if found else "")
        yield _at(subject, event, text, "normalization([mean...], [std...]) in the model script, and raw images")


@rule("HAI613", "dfc-no-gpu", Severity.WARNING)
def dfc_no_gpu(subject: Subject) -> Iterator[Found]:
    """The compiler found no GPU and left algorithms out, by its log.

    Why: the optimizer's better algorithms run on CUDA only; without them biases stay at 16 bits, which keeps some heads
    off the chip.
    Fix: compile on a machine with an NVIDIA GPU, or ask for a level explicitly and wait.
    """
    for event in events(subject, EventKind.NO_GPU)[:1]:
        skipped = subject.dfc_log.skipped if subject.dfc_log is not None else []
        left = [name for name in skipped if name in ("Bias Correction", "Adaround", "Quantization-Aware Fine-Tuning")]
        text = "the compiler found no GPU" + (f" and left out {', '.join(dict.fromkeys(left))}" if left else "")
        yield _at(subject, event, text, "compile where there is an NVIDIA GPU; TensorFlow has to see it there")


@rule("HAI614", "dfc-onnx-metadata", Severity.WARNING)
def dfc_onnx_metadata(subject: Subject) -> Iterator[Found]:
    """The ONNX Runtime inside the compiler could not read the model, by its log.

    Why: parsing goes on, without shapes and without the part for the host that the compiler would have kept.
    Fix: irkit optimize writes the IR version and the opset that it reads.
    """
    for event in events(subject, EventKind.METADATA):
        if event.name == "ir-version":
            text = f"the IR version must be at most {event.values['most']}; found {event.values['found']}"
            fixable = subject.runs("lower-opset")
            found = _at(subject, event, text)
            yield Found(found.message, fixable=fixable, origin=found.origin)
        else:
            yield _at(subject, event, f"the compiler could not infer shapes: {event.text}")


@rule("HAI615", "dfc-simplified-model", Severity.INFO)
def dfc_simplified_model(subject: Subject) -> Iterator[Found]:
    """The compiler went on with a copy of the model that it simplified, by its log.

    Why: names in its messages are those of the copy, which it writes beside the model as `.sim.onnx`; and the error it
    shows is the second one, not always the one that counts.
    Fix: give it a model that needs no simplifying: irkit optimize folds and keeps names.
    """
    for event in events(subject, EventKind.RETRY)[:1]:
        advice = "irkit optimize folds and keeps the names, so that the first attempt is the one that counts"
        yield _at(subject, event, "the first attempt failed; the messages are about a simplified copy", advice)


@rule("HAI616", "dfc-quantization-failed", Severity.ERROR)
def dfc_quantization_failed(subject: Subject) -> Iterator[Found]:
    """Quantization failed for its numbers, by the compiler's log.

    Why: a range that 8 bits cannot span, weights that are no numbers, or an average over too large a map.
    Fix: calibrate with real samples in the range the network was trained on, and look at the layer it names.
    """
    for event in events(subject, EventKind.QUANTIZATION):
        advice = _quantization_advice(event.text)
        yield from told(subject, event, "quantization failed at {what}", advice, unnamed="a layer")


def _quantization_advice(text: str) -> str:
    if "Shift delta" in text:
        return "split the average: pre_quantization_optimization(global_avgpool_reduction, division_factors=[4, 4])"
    if "NaN" in text:
        return "look for weights that are NaN: irkit lint names them"
    if "slope" in text or "shift" in text:
        return "calibrate with real, normalized samples; keep BatchNormalization after convolutions"
    return "see whether SDK_FP_OPTIMIZED still gives the right results; check shapes and ranges of the calibration set"


@rule("HAI617", "dfc-model-script", Severity.ERROR)
def dfc_model_script(subject: Subject) -> Iterator[Found]:
    """A model script or NMS configuration that does not fit the network, by the compiler's log.

    Why: they name layers of the compiler's own (conv41), whose numbers shift with the size of the model, its classes
    and the exporter.
    Fix: give the six or nine head convolutions as end nodes, and take the layer names from the HAR of this model.
    """
    advice = "give the head convolutions as end nodes (--end-node-names) and write the layer names of this model's HAR"
    for event in events(subject, EventKind.SCRIPT):
        layers = ", ".join(f"`{layer}`" for layer in event.layers)
        text = f"the model script does not fit the network{f' at {layers}' if layers else ''}: {event.text}"
        yield _at(subject, event, text, advice)


_TRY: dict[str, str] = {
    "no-assignment": "give the branches of a wide concat out one by one, use a smaller input, and check --hw-arch",
    "agent": "give the branches of a wide concat out one by one, use a smaller input, and check --hw-arch",
    "kernel": "8-bit biases: run the optimizer at level 1 or above (GPU, 1024 samples); or end at the convolutions",
    "16-bit-biases": "8-bit biases: run the optimizer at level 1 or above (GPU, 1024 samples)",
    "one-context": "take context_switch_param(mode=disabled) out of the model script, or use a smaller network",
    "context-too-full": "resources_param(max_utilization=0.8) in the model script, a smaller input, or fewer outputs",
    "microcode": "do a large resize at the end on the host, or in two steps",
    "fps": "ask for less: performance_param(fps=...), or leave it out",
    "splitter": "split the widest layers into two whose results are joined",
    "time": "allocator_param(timeout=7200) in the model script, or a smaller network",
    "crash": "a smaller input, other end nodes, or a newer compiler",
    "mapping": "a smaller input, fewer outputs, other end nodes; check --hw-arch",
}
"""What helped others, by what the allocator said."""


@rule("HAI618", "dfc-allocation-failed", Severity.ERROR)
def dfc_allocation_failed(subject: Subject) -> Iterator[Found]:
    """The network was translated and quantized, and then found no place on the chip, by the compiler's log.

    Why: a layer, an output or a context asks for more than there is; the message names layers of the compiler's own.
    Fix: what helped others is in the advice; outputs one a scale in the place of one wide concat helps most often.
    """
    failed = events(subject, EventKind.ALLOCATION)
    specific = [event for event in failed if event.name not in ("mapping", "agent")] or failed[:1]
    seen = set()
    for event in specific:
        if (event.name, event.layers) not in seen:
            seen.add((event.name, event.layers))
            advice = _TRY.get(event.name, _TRY["mapping"])
            yield from told(subject, event, "{what} found no place on the chip", advice, unnamed="the network")


@rule("HAI619", "dfc-contexts", Severity.INFO)
def dfc_contexts(subject: Subject) -> Iterator[Found]:
    """The network was split into contexts that take turns on the chip, by the compiler's log.

    Why: the weights of each are loaded anew for every batch, which costs time.
    Fix: a smaller network or input; larger batches share the cost.
    """
    counted = [event for event in events(subject, EventKind.CONTEXTS) if "count" in event.values]
    for event in counted[-1:]:
        if int(event.values["count"]) > 1:
            yield _at(
                subject, event, f"the network runs in {event.values['count']} contexts", "larger batches share it"
            )


@rule("HAI620", "dfc-output-noise", Severity.WARNING)
def dfc_output_noise(subject: Subject) -> Iterator[Found]:
    """An output in which the noise of quantization drowns the signal, by the compiler's log.

    Why: the compiler measures it and goes on; outputs of networks that work have 20 to 40 dB.
    Fix: look at the calibration set first, then give the layers before that output 16 bits.
    """
    advice = "check normalization and calibration; then quantization_param({LAYERS}, precision_mode=a16_w16)"
    for event in events(subject, EventKind.NOISE):
        ratio = float(event.values["db"])
        if ratio < LOW_NOISE_RATIO:
            text = (
                f"signal-to-noise should be at least {LOW_NOISE_RATIO:.0f} dB at `{event.layers[0]}`; found {ratio:.2g}"
            )
            yield _at(subject, event, text, advice)


@rule("HAI621", "dfc-installation", Severity.WARNING)
def dfc_installation(subject: Subject) -> Iterator[Found]:
    """The compiler failed for its installation or the machine, not for the model, by its log.

    Why: missing libraries, wrong versions beside it, or too little memory.
    Fix: use Hailo's container, or the exact versions that its release names.
    """
    for event in events(subject, EventKind.ENVIRONMENT):
        yield _at(subject, event, f"the installation failed, not the model: {event.text}", "try Hailo's own container")


@rule("HAI622", "dfc-log-not-understood", Severity.WARNING)
def dfc_log_not_understood(subject: Subject) -> Iterator[Found]:
    """Errors and warnings of the compiler that irkit does not know, or a log that is not about this model.

    Why: what is not understood is told, with its line, so that nobody takes silence for success.
    Fix: read the line in the log; give the log that belongs to this model.
    """
    log = subject.dfc_log
    if log is None:
        return
    for event in events(subject, EventKind.OTHER):
        named = [layer for layer in event.layers if node_of_layer(subject, layer) is None]
        layers = f"; its layer {', '.join(named)}" if named else ""
        severity = Severity.INFO if event.name == "warning" else None
        yield _at(subject, event, f"not understood: {event.text}{layers}", severity=severity)
    named = list(dict.fromkeys(name for event in log.events for name in event.nodes))
    if named and all(node_of(subject, name) is None for name in named):
        shown = ", ".join(f"`{name}`" for name in named[:3])
        yield Found(f"none of the {len(named)} nodes that the log names are in this model ({shown}): is it its log?")
    if not log.events and not log.stages:
        yield Found(f"nothing in the log is known as a message of the compiler; lines read: {log.lines}")


@rule("HAI623", "dfc-other-target", Severity.WARNING)
def dfc_other_target(subject: Subject) -> Iterator[Found]:
    """A log of another chip or another line of the compiler than the target's.

    Why: compiler 3.x is for Hailo-8, 8L and 8R, 5.x for Hailo-10H and 15H; what one refuses the other may take.
    Fix: lint for the chip that the log is about (--target), or compile for the target.
    """
    log = subject.dfc_log
    if log is None:
        return
    if log.chip and log.chip != subject.target.name and log.chip.startswith("hailo"):
        text = f"the log is of a run for {log.chip}; this lint is for {subject.target.name}"
        yield Found(text, advice=f"--target {log.chip}")
    major = subject.target.version.partition(".")[0]
    if log.version and log.version.partition(".")[0] != major:
        yield Found(f"the log is of compiler {log.version}; {subject.target.name} is compiled with {major}.x")


@rule("HAI624", "dfc-shift", Severity.INFO)
def dfc_shift(subject: Subject) -> Iterator[Found]:
    """The compiler took the largest shift there is for a layer, by its log, and that was less than the sums ask for.

    Why: weights and activations of the layer span too wide a range for one scale; networks that work show it too.
    Fix: where the accuracy suffers, look at these layers first: equalization, or 16 bits for them.
    """
    last = {event.layers: event for event in events(subject, EventKind.SHIFT) if event.layers}
    for (layer, *_), event in last.items():
        text = f"no shift is large enough for the layer `{layer}`; found delta {float(event.values['delta']):.3g}"
        yield Found(f"{text} ({where(subject, event)})", node_of_layer(subject, layer), origin=in_log(subject, event))
