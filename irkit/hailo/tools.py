"""The commands of Hailo's tools with their flags, as public scripts, logs and help texts show them.

Sources: `hailo -h` of a Dataflow Compiler 3.31 and of a software suite with HailoRT, as users pasted them; scripts of
users that ran through; hailo-ai/hailort on GitHub for `hailortcli` and `hailo_platform`. A flag that is missing here
may exist: what is not known is told as not known. Each tool prints its own flags with --help.
"""

from __future__ import annotations

from collections.abc import Mapping

BUILD_STEPS = frozenset({"parser", "optimize", "compiler", "analyze-noise", "profiler"})
"""Steps that only run where the compiler runs, on x86-64 Linux."""

RUNTIME_COMMANDS = frozenset({
    "fw-update", "ssb-update", "fw-config", "udp-rate-limiter", "fw-control", "fw-logger", "scan", "sensor-config",
    "run", "run2", "benchmark", "monitor", "parse-hef", "measure-power",
})  # fmt: skip
"""Subcommands of `hailortcli`; `hailo` has some of them only where HailoRT's Python package is installed."""

_COMMON = ("-h", "--help", "--hw-arch")

FLAGS: Mapping[str, frozenset[str]] = {
    "parser": frozenset({
        *_COMMON, "--net-name", "--har-path", "--start-node-names", "--end-node-names", "--tensor-shapes",
        "--input-format", "-y", "--augmented-path", "--parsing-report-path", "--disable-rt-metadata-extraction",
        "--compare",
    }),
    "optimize": frozenset({
        *_COMMON, "--calib-set-path", "--use-random-calib-set", "--model-script", "--output-har-path",
    }),
    "compiler": frozenset({*_COMMON, "--model-script", "--output-dir", "--output-har-path"}),
    "profiler": frozenset({*_COMMON, "--runtime-data", "--out-path"}),
    "analyze-noise": frozenset({*_COMMON, "--data-path", "--batch-size", "--data-count", "--analyze-mode"}),
}  # fmt: skip
"""Flags by subcommand of `hailo`; those of others are not looked at."""

_PRECISION = (
    "precision is set in the model script, as quantization_param(LAYERS, precision_mode=a8_w8); that weights are "
    "symmetric and activations are not is no choice"
)
_EFFORT = "the model script sets it: performance_param(compiler_optimization_level=max)"
_MEASURE = "on the device: hailortcli run FILE.hef --measure-latency --csv OUT.csv"
_POSITIONAL = "give the file without a flag"

INSTEAD: Mapping[tuple[str, str], str] = {
    ("parser", "--output-har-path"): "--har-path",
    ("parser", "--onnx-model"): _POSITIONAL,
    ("parser", "--ckpt"): _POSITIONAL,
    ("parser", "--check-compatibility"): "irkit lint MODEL says that",
    ("optimize", "--quantization-method"): _PRECISION,
    ("optimize", "--quantization-precision"): _PRECISION,
    (
        "optimize",
        "--calib-set-size",
    ): "the model script sets it: model_optimization_config(calibration, calibset_size=N)",
    ("optimize", "--batch-size"): "the model script sets it: model_optimization_config(calibration, batch_size=N)",
    ("optimize", "--har"): _POSITIONAL,
    ("optimize", "--onnx"): "it takes a HAR: run hailo parser onnx first",
    ("compiler", "--har"): _POSITIONAL,
    ("compiler", "--output-hef-path"): "--output-dir; the HEF is named after the network (--net-name of the parser)",
    ("compiler", "--output"): "--output-dir",
    ("compiler", "-o"): "--output-dir",
    ("compiler", "--performance-mode"): _EFFORT,
    ("compiler", "--optimization-level"): _EFFORT,
    ("compiler", "--batch-size"): "HailoRT batches frames by itself; the model script may say optimize_for_batch",
    ("compiler", "--onnx"): "it takes a HAR: run hailo parser onnx and hailo optimize first",
    ("profiler", "--measure-latency"): _MEASURE,
    ("profiler", "--measure-fps"): "on the device: hailortcli run FILE.hef, or hailortcli benchmark FILE.hef",
    ("profiler", "--measure-power"): "on the device: hailortcli run FILE.hef --measure-power",
    ("profiler", "--batch-size"): "on the device: hailortcli run FILE.hef --batch-size N",
    ("profiler", "--analyze-ops"): "irkit lint MODEL looks at each operator",
}
"""What does what someone seems to have hoped for from a flag, by subcommand and flag."""

COMMAND_INSTEAD: Mapping[str, str] = {
    "run": "hailortcli run FILE.hef --input-files INPUT.bin, on the device; inputs are raw bytes, no .npy",
    "run2": "hailortcli run2 set-net FILE.hef, on the device",
    "parse": "hailo parser onnx MODEL.onnx",
    "compile": "hailo compiler MODEL.har",
    "optimizer": "hailo optimize MODEL.har",
    "quantize": "hailo optimize MODEL.har",
    "profile": "hailo profiler MODEL.har",
    "convert": "hailo parser, hailo optimize, hailo compiler, one after the other",
    "infer": "hailortcli run FILE.hef, on the device",
    "benchmark": "hailortcli benchmark FILE.hef, on the device",
}
"""What does what someone seems to have hoped for from a subcommand of `hailo`."""

PLATFORM_NAMES = frozenset({
    "HEF", "ConfigureParams", "FormatType", "FormatOrder", "HailoPowerMode", "Endianness", "HailoStreamInterface",
    "InputVStreamParams", "OutputVStreamParams", "InputVStreams", "OutputVStreams", "InferVStreams",
    "HailoStreamDirection", "HailoFormatFlags", "HailoCpuId", "Device", "VDevice", "DvmTypes", "PowerMeasurementTypes",
    "SamplingPeriod", "AveragingFactor", "MeasurementBufferIndex", "HailoRTException", "HailoSchedulingAlgorithm",
    "HailoRTStreamAbortedByUser", "AsyncInferJob", "PcieDevice", "EthernetDevice", "pyhailort", "drivers", "tools",
    "__version__",
})  # fmt: skip
"""Names of the package `hailo_platform` (HailoRT 4.17 to 5.2; hailort/libhailort/bindings/python)."""
