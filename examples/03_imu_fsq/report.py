"""What the run came to: figures, tables and plots, all measured on the test subjects by running the bundles.

    python report.py --work build -o build/report

Needs no PyTorch. 8 bits are emulated (irkit quantize says how): no figure here was measured on a chip.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import data
import numpy as np
import onnxruntime
from smoother import smooth
from svg import bars

from irkit.gates import Confidence, accuracy, calibration_error, read_confidence, softmax
from irkit.runtime import EmulatedBackend, Pipeline, measure_latency, open_bundle

Array = np.ndarray[Any, np.dtype[Any]]
LEVELS = 8
VARIANTS = (
    ("codes", "the code rounded on the host (codes)"),
    ("logits", "rounding bypassed, all on the chip (logits)"),
    ("gelu", "GELU, as exported (--exact)"),
    ("gelu-to-relu", "GELU replaced by ReLU, not retrained"),
    ("tuned", "ReLU, fine-tuned for two epochs"),
)


PAGE = """# What the run came to

Synthetic data; {samples} samples of {subjects} subjects that no training saw. 8 bits are emulated, from one scale of
weights a layer to one a channel: no figure was measured on a chip.

| network | accuracy in float | in emulated 8 bits |
| --- | --- | --- |
{rows}

- Codes: of the numbers of z, 8 bits move {low:.2%} to {high:.2%} to another level; of the codes, {low_codes:.1%} to
  {high_codes:.1%} change in some number. Of 8 levels, {levels_used:.1f} are used on average.
- Bypass: accuracy changes by {bypass:+.2%} without rounding, and by {whole_bypass:+.2%} without tanh too.
- Confidence: temperature {temperature:.3f}; calibration error {ece_before:.2%} before, {ece:.2%} with it; sets for 90 %
  cover {coverage:.2%} with {set_size:.2f} classes.
- Smoothing (HSMM) on a made-up day: {windows:.2%} of windows right before, {smoothed:.2%} after.
- Latency on this CPU: {times}.

![reliability](reliability.svg)
![latency](latency.svg)
![signal over noise](snr.svg)
"""


def levels_of(z: Array) -> Array:
    """Which level each number of z (N, 8) is rounded to, 0 to 7: FSQ of model.py in NumPy."""
    reach = np.float32((LEVELS - 1) * (1 - 1e-3) / 2)
    bounded = np.tanh(z + np.arctanh(np.float32(0.5) / reach)) * reach - np.float32(0.5)
    return np.asarray(np.round(bounded) + LEVELS // 2, np.int64)


def outputs_of(bundle: Path, inputs: Array) -> list[dict[str, Array]]:
    """Of a bundle: in float, in emulated 8 bits with one scale of weights a layer, and one a channel."""
    with Pipeline(bundle, "cpu") as pipeline:
        found = [pipeline(inputs)]
    for per_channel in (False, True):
        backend = EmulatedBackend(open_bundle(bundle), per_channel=per_channel)
        with Pipeline(bundle, backend=backend) as pipeline:
            found.append(pipeline(inputs))
    return found


def of_file(path: Path, inputs: Array, labels: Array) -> float:
    """Accuracy of an ONNX file in float."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = [session.run(["behavior_logits"], {"imu_input": inputs[i : i + 1]})[0] for i in range(len(inputs))]
    return accuracy(np.concatenate(rows), labels)


def day(labels: Array, count: int = 1500) -> Array:
    """Samples in the order of a made-up day: behaviours last 3 to 15 windows."""
    rng = np.random.default_rng(7)
    order: list[int] = []
    while len(order) < count:
        rows = np.flatnonzero(labels == rng.integers(len(data.BEHAVIOURS)))
        order += rng.choice(rows, rng.integers(3, 16)).tolist()
    return np.array(order[:count])


def plot_reliability(path: Path, probabilities: Array, labels: Array) -> None:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * 10).astype(int), 9)
    values = [float(right[place == k].mean()) if (place == k).any() else 0.0 for k in range(10)]
    names = [f"{k / 10:.1f}" for k in range(10)]
    bars(path, "Reliability, test subjects", names, values, "confidence from", "accuracy", most=1.0, diagonal=True)


def plot_latency(path: Path, samples: Array, device: str) -> None:
    counts, edges = np.histogram(samples, 20, (samples.min(), np.percentile(samples, 99)))
    names = [f"{edge:.2f}" if k % 4 == 0 else "" for k, edge in enumerate(edges[:-1])]
    bars(path, f"One frame on {device}", names, counts.astype(float).tolist(), "milliseconds from", "frames")


def plot_layers(path: Path, quantized: dict[str, Any]) -> None:
    layers = quantized["runs"][0]["layers"]
    names = [str(layer["op"]) for layer in layers]
    bars(path, "Signal over noise, emulated 8 bits", names, [layer["snr"] for layer in layers], "layers", "decibels")


def measure(work: Path, folder: Path) -> dict[str, Any]:
    """All figures; plots are written on the way."""
    with np.load(work / "data" / "test.npz", allow_pickle=False) as found:
        inputs, labels = found["imu_input"], found["labels"]
    figures: dict[str, Any] = {"samples": len(labels), "subjects": len(data.SUBJECTS["test"])}
    figures["untuned"] = of_file(work / "onnx" / "untuned.onnx", inputs, labels)
    figures["unbounded"] = of_file(work / "onnx" / "unbounded.onnx", inputs, labels)
    figures["dynamo"] = of_file(work / "onnx" / "codes-dynamo.onnx", inputs, labels)
    kept: dict[str, list[dict[str, Array]]] = {}
    for name, _ in VARIANTS:
        kept[name] = outputs_of(work / name, inputs)
        figures[name] = [accuracy(one["behavior_logits"], labels) for one in kept[name]]
    plain, coarse, fine = (levels_of(one["z"]) for one in kept["codes"])
    figures["flips"] = [float((plain != other).mean()) for other in (coarse, fine)]
    figures["codes changed"] = [float((plain != other).any(1).mean()) for other in (coarse, fine)]
    figures["levels used"] = float(np.mean([len(np.unique(plain[:, k])) for k in range(plain.shape[1])]))
    logits = kept["codes"][0]["behavior_logits"]
    confidence = read_confidence(work / "codes" / "confidence.json")
    figures.update(_sure(confidence, logits, labels))
    probabilities = confidence.probabilities(logits)
    order = day(labels)
    figures["windows"] = accuracy(probabilities[order], labels[order])
    figures["smoothed"] = float((smooth(probabilities[order]) == labels[order]).mean())
    plot_reliability(folder / "reliability.svg", probabilities, labels)
    with Pipeline(work / "codes", "cpu") as pipeline:
        latency = measure_latency(
            lambda k: pipeline.frame({"imu_input": inputs[k % len(inputs)][None]}), 1000, pipeline.device
        )
    figures["latency"] = {f"p{share}": latency.percentile(share) for share in (50, 95, 99)}
    plot_latency(folder / "latency.svg", np.array(latency.samples), latency.device)
    plot_layers(folder / "snr.svg", json.loads((work / "quantize.json").read_text(encoding="utf-8")))
    return figures


def _sure(confidence: Confidence, logits: Array, labels: Array) -> dict[str, float]:
    sets = confidence.prediction_sets(logits)
    return {
        "temperature": confidence.temperature,
        "ece before": calibration_error(softmax(logits), labels),
        "ece": calibration_error(confidence.probabilities(logits), labels),
        "coverage": float(sets[np.arange(len(labels)), labels].mean()),
        "set size": float(sets.sum(1).mean()),
    }


def markdown(found: dict[str, Any]) -> str:
    """The figures as a page."""
    rows = [f"| untuned: no augmentation, constant rate, 10 epochs | {found['untuned']:.2%} | |"]
    for name, title in VARIANTS:
        plain, *emulated = found[name]
        rows.append(f"| {title} | {plain:.2%} | {min(emulated):.2%} to {max(emulated):.2%} |")
        if name == "logits":
            rows.append(f"| rounding and tanh left out | {found['unbounded']:.2%} | |")
    flips, changed = found["flips"], found["codes changed"]
    latency = ", ".join(f"{key.upper()} {value:.3f} ms" for key, value in found["latency"].items())
    return PAGE.format(
        **{key.replace(" ", "_"): value for key, value in found.items()},
        rows="\n".join(rows),
        low=min(flips), high=max(flips), low_codes=min(changed), high_codes=max(changed),
        bypass=found["logits"][0] - found["codes"][0], whole_bypass=found["unbounded"] - found["codes"][0],
        times=latency,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build"), help="what run.py made")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/report"), help="the folder to write")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    figures = measure(options.work, options.output)
    (options.output / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    text = markdown(figures)
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
