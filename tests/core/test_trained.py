"""Networks that were trained are told from those that only were made, by the weights alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import irkit
from irkit import Finding, Graph, Model, Node, Tensor
from tests import corpus

Array = np.ndarray[Any, np.dtype[Any]]
RNG = np.random.default_rng(0)
TRAINED = {"aecmos_2", "basic_pitch_nmp", "dnsmos_bak_ovr", "dnsmos_sig", "gutenye_cls_op9", "oww_alexa", "oww_timer",
           "ppocrv2_cls", "romanizer_decoder", "romanizer_encoder", "silero_half", "silero_openvino_16k"}  # fmt: skip
MADE = {"bert_tiny__ts13", "imu__ts13-bn", "oddresnet__ts11-bn", "resnet18_w20__ts13-bn",
        "shufflenet_v2_x1_0__dyn18-bn", "squeezenet1_1__ts13", "wav2vec_conv__ts17", "edsr_tiny__ts13"}  # fmt: skip


def convolution(weight: Array, norm: dict[str, Array] | None = None) -> Model:
    graph = Graph("g")
    x = graph.add_input("x", irkit.TensorType(irkit.DType.FLOAT32, (1, weight.shape[1], 8, 8)))
    operands = [x, graph.add_initializer("weight", Tensor.of(weight.astype(np.float32)))]
    value = graph.append(Node("Conv", operands, {"kernel_shape": list(weight.shape[2:])}, name="conv")).output
    if norm is not None:
        given = [graph.add_initializer(name, Tensor.of(data.astype(np.float32))) for name, data in norm.items()]
        value = graph.append(Node("BatchNormalization", [value, *given], name="norm")).output
    graph.set_outputs([value])
    return Model(graph, opset_imports={"": 17})


def untrained(model: Model) -> list[Finding]:
    return [finding for finding in irkit.lint(model).findings if finding.rule == "untrained-weights"]


SHAPE = (64, 32, 3, 3)
FAN_IN, FAN_OUT = 32 * 9, 64 * 9
STARTS = {
    "PyTorch": lambda: RNG.uniform(-1, 1, SHAPE) / math.sqrt(FAN_IN),
    "He, uniform": lambda: RNG.uniform(-1, 1, SHAPE) * math.sqrt(6 / FAN_IN),
    "He, normal": lambda: RNG.standard_normal(SHAPE) * math.sqrt(2 / FAN_OUT),
    "Glorot, uniform": lambda: RNG.uniform(-1, 1, SHAPE) * math.sqrt(6 / (FAN_IN + FAN_OUT)),
    "transformers": lambda: RNG.standard_normal(SHAPE) * 0.02,
    "PyTorch, folded into a fresh batch norm": lambda: RNG.uniform(-1, 1, SHAPE) / math.sqrt(FAN_IN * (1 + 1e-5)),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_initializers_draw_is_known(name: str) -> None:
    [found] = untrained(convolution(STARTS[name]()))
    assert found.message.startswith("the weights look untrained: 1 of 1 layers")


OTHERS = {
    "even, within other bounds": lambda: RNG.uniform(-1, 1, SHAPE) * 0.9 / math.sqrt(FAN_IN),
    "one step of training": lambda: STARTS["PyTorch"]() + RNG.standard_normal(SHAPE) * 2e-3,
    "normal, of another deviation": lambda: RNG.standard_normal(SHAPE) * math.sqrt(2 / FAN_OUT) * 1.1,
    "heavy tails": lambda: RNG.laplace(size=SHAPE) * math.sqrt(1 / FAN_OUT),
    "within bounds, not even": lambda: np.tanh(RNG.standard_normal(SHAPE) * 3) / math.sqrt(FAN_IN),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_weights_are_left_alone(name: str) -> None:
    assert untrained(convolution(OTHERS[name]())) == []


def test_few_weights_tell_nothing() -> None:
    assert untrained(convolution(RNG.uniform(-1, 1, (4, 2, 1, 1)) / math.sqrt(2))) == []


def test_a_batch_norm_that_never_saw_data() -> None:
    ones, zeros = np.ones(64), np.zeros(64)
    fresh = {"gamma": ones * 0.7, "beta": zeros + 0.1, "mean": zeros, "var": ones}
    trained = OTHERS["heavy tails"]()
    [found] = untrained(convolution(trained, fresh))
    assert found.message == "1 batch norms have mean 0 and variance 1 in every channel: they never saw data"
    assert untrained(convolution(trained, {**fresh, "mean": zeros + RNG.standard_normal(64)})) == []
    [both] = untrained(convolution(STARTS["PyTorch"](), fresh))
    assert both.message.endswith("; 1 batch norms never saw data")


@corpus.each(lambda entry: entry["name"] in TRAINED)
def test_trained_networks_of_the_corpus(entry: dict[str, Any]) -> None:
    assert untrained(irkit.load(corpus.path_of(entry))) == []


@corpus.each(lambda entry: entry["name"] in MADE)
def test_networks_of_the_corpus_that_were_only_made(entry: dict[str, Any]) -> None:
    [found] = untrained(irkit.load(corpus.path_of(entry)))
    assert found.message.startswith("the weights look untrained")
