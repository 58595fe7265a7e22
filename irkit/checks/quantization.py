"""HAI3xx: models that are quantized already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from irkit.diagnostics import Severity
from irkit.linter import Found, Subject, rule

QUANTIZED = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv",
    "QLinearMatMul",
    *(f"com.microsoft::{op}" for op in (
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
        "MatMulNBits", "QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearAveragePool",
        "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul",
        "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
    )),
})  # fmt: skip
"""Operators of quantized models: QDQ pairs, integer operators, and those of ONNX Runtime's quantizer."""


@rule("HAI301", "quantized-model", Severity.WARNING)
def quantized_model(subject: Subject) -> Iterator[Found]:
    """A model that is quantized already.

    Why: the compiler quantizes by itself, from a float model and calibration data; integer operators are refused, and
    scales of a foreign quantizer would be quantized again.
    Fix: export the float model, from before quantization.
    """
    counts = Counter(node.op_id for node in subject.model.walk() if node.op_id in QUANTIZED)
    if counts:
        listed = ", ".join(f"{count} {op}" for op, count in sorted(counts.items()))
        yield Found(f"the model is quantized already: {listed}", advice="give the compiler the float model")
