"""int8 emulation: grids as they are defined, borders where layers end, and numbers that follow from both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irkit
from irkit.errors import ModelError, OptionError
from irkit.hailo.emulation.emulate import Precisions
from irkit.hailo.emulation.grids import Grid, round_weight
from irkit.hailo.emulation.layers import find_layers
from irkit.hailo.emulation.measure import Emulation, emulate
from tests.corpus import each, path_of

pytest.importorskip("onnxruntime", reason="the emulation runs in ONNX Runtime")

Array = np.ndarray[Any, np.dtype[Any]]


def test_a_grid_holds_zero_exactly() -> None:
    rng = np.random.default_rng(0)
    for low, high in rng.normal(0, 5, (200, 2)):
        grid = Grid.of_range(min(low, high), max(low, high), 8)
        assert 0 <= grid.zero_point <= 255
        assert grid.scale * (0 - grid.zero_point) <= min(low, high, 0) + grid.scale
        assert grid.scale * (255 - grid.zero_point) >= max(low, high, 0) - grid.scale
    assert Grid.of_range(0.0, 0.0, 8).scale == 1.0
    assert Grid.of_range(0.0, 2.55, 8).scale == pytest.approx(0.01)
    assert Grid.of_range(0.0, 2.55, 8).zero_point == 0


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_weights_lie_on_a_symmetric_grid(bits: int) -> None:
    weight = np.random.default_rng(1).normal(0, 1, (6, 4, 3, 3)).astype(np.float32)
    steps = 2 ** (bits - 1) - 1
    whole = round_weight(weight, bits)
    scale = np.abs(weight).max() / steps
    assert np.abs(whole - weight).max() <= scale / 2 * 1.001
    assert np.abs(whole / scale - np.rint(whole / scale)).max() < steps * 1e-6
    channels = round_weight(weight, bits, (0,))
    assert np.abs(channels).max(axis=(1, 2, 3)) == pytest.approx(np.abs(weight).max(axis=(1, 2, 3)), rel=1e-6)
    assert np.square(channels - weight).sum() <= np.square(whole - weight).sum()


def test_a_dead_channel_stays_zero() -> None:
    weight = np.zeros((2, 3), np.float32)
    weight[0] = 1, 2, -4
    assert np.array_equal(round_weight(weight, 8, (0,))[1], np.zeros(3))
    assert np.isfinite(round_weight(np.zeros((2, 2), np.float32), 8)).all()


CONV_BN_GELU = """
opset 17
graph(%x: float32[1,3,8,8]) -> (%y) {
  %w: float32[8,3,3,3] = random(seed=1)
  %s: float32[8] = random(seed=2, low=0.5, high=1.5)
  %b: float32[8] = random(seed=3)
  %m: float32[8] = random(seed=4)
  %v: float32[8] = random(seed=5, low=0.5, high=2)
  %root2: float32[] = 1.4142135
  %one: float32[] = 1.0
  %half: float32[] = 0.5
  %c = Conv(%x, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} @conv
  %n = BatchNormalization(%c, %s, %b, %m, %v) @bn
  %d = Div(%n, %root2) @gelu1
  %e = Erf(%d) @gelu2
  %f = Add(%e, %one) @gelu3
  %g = Mul(%n, %f) @gelu4
  %h = Mul(%g, %half) @gelu5
  %p = MaxPool(%h) {kernel_shape=[2,2], strides=[2,2]} @pool
  %p2 = AveragePool(%h) {kernel_shape=[2,2], strides=[2,2]} @mean
  %a = Add(%p, %p2) @add
  %r = Relu(%a) @relu
  %y = GlobalAveragePool(%r) @head
}
"""


def _parsed(text: str) -> irkit.Model:
    model = irkit.parse_model(text)
    irkit.Inference.of(model).update()
    return model


def test_layers_end_behind_batch_norm_and_activation() -> None:
    layers = find_layers(_parsed(CONV_BN_GELU))
    assert [(layer.name, layer.border.name) for layer in layers] == [
        ("conv", "h"),
        ("mean", "p2"),
        ("add", "r"),
        ("head", "y"),
    ]
    assert layers[2].read_borders({"h", "p2", "r", "y"}) == {"h", "p2"}


def test_a_value_that_is_read_elsewhere_is_a_border() -> None:
    text = """
opset 17
graph(%x: float32[1,4]) -> (%y, %c) {
  %w: float32[4,4] = random(seed=1)
  %a = MatMul(%x, %w) @first
  %r = Relu(%a) @relu
  %c = MatMul(%r, %w) @second
  %s = Sigmoid(%c) @sigmoid
  %y = Add(%s, %a) @add
}
"""
    borders = {layer.name: layer.border.name for layer in find_layers(_parsed(text))}
    assert borders == {"first": "a", "relu": "r", "second": "c", "sigmoid": "s", "add": "y"}


def _samples(model: irkit.Model, count: int = 24, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.standard_normal((count, *(int(dim) for dim in (value.shape or ())[1:]))).astype(np.float32)  # type: ignore[arg-type]
        for value in model.graph.inputs
    }


LINEAR = """
opset 17
graph(%x: float32[1,16]) -> (%y) {
  %w: float32[16,4] = random(seed=7)
  %y = MatMul(%x, %w) @fc
}
"""


def _by_hand(samples: Array, weight: Array, *, per_channel: bool) -> Array:
    """A linear layer in emulation, written out."""

    def grid(array: Array) -> tuple[float, int]:
        low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
        scale = (high - low) / 255
        return scale, round(-low / scale)

    def stored(array: Array, scale: float, zero: int) -> Array:
        return np.asarray((np.clip(np.rint(array / np.float32(scale)) + zero, 0, 255) - zero) * np.float32(scale))

    axis = 0 if per_channel else None
    steps = np.abs(weight).max(axis=axis, keepdims=True) / 127
    rounded = (np.rint(weight / steps) * steps).astype(np.float32)
    result = stored(samples, *grid(samples)) @ rounded
    return np.asarray(stored(result, *grid(samples @ weight)))


def test_numbers_are_those_of_the_definition() -> None:
    model = _parsed(LINEAR)
    samples = _samples(model)
    weight = model.graph.initializers["w"].constant
    assert weight is not None
    found = emulate(model, samples)
    for run, per_channel in zip(found.runs, (False, True), strict=True):
        plain = samples["x"] @ weight.numpy()
        noise = _by_hand(samples["x"], weight.numpy(), per_channel=per_channel) - plain
        snr = 10 * np.log10(np.square(plain).sum() / np.square(noise).sum())
        assert run.layers[0].snr == pytest.approx(snr, abs=0.1)
        assert run.outputs[0].error == pytest.approx(np.abs(noise).max() / np.abs(plain).max(), rel=0.02)


def test_the_model_is_as_before() -> None:
    model = _parsed(CONV_BN_GELU)
    before = irkit.structural_hash(model)
    emulate(model, _samples(model, 4))
    assert irkit.structural_hash(model) == before


def _snr(found: Emulation) -> float:
    return found.runs[0].layers[-1].snr


def test_more_bits_are_better_and_fewer_are_worse() -> None:
    model = _parsed(CONV_BN_GELU)
    samples = _samples(model)
    eight = _snr(emulate(model, samples))
    wide = _snr(emulate(model, samples, precisions=Precisions(by_pattern={"*": "a16_w16"})))
    narrow = _snr(emulate(model, samples, precisions=Precisions(by_pattern={"conv": "a8_w4"})))
    assert narrow < eight - 6 < wide - 30


def test_outliers_in_a_weight_show_and_a_scale_a_channel_mends_them() -> None:
    model = _parsed(LINEAR)
    weight = np.array(model.graph.initializers["w"].constant.numpy())  # type: ignore[union-attr]
    weight[:, 0] *= 300
    model.graph.initializers["w"].set_initializer(irkit.Tensor.of(weight))
    samples = _samples(model)
    layer, channel = emulate(model, samples, precisions=Precisions(by_pattern={"x": "a16_w16"})).runs
    faint = [np.abs(round_weight(weight, 8, axes) - weight)[:, 1:].max() for axes in ((), (1,))]
    assert faint[0] > 50 * faint[1]
    assert layer.layers[0].snr <= channel.layers[0].snr


def test_accuracy_with_labels() -> None:
    model = _parsed(LINEAR)
    samples = _samples(model, 64)
    weight = model.graph.initializers["w"].constant.numpy()  # type: ignore[union-attr]
    labels = (samples["x"] @ weight).argmax(1)
    labels[:16] = (labels[:16] + 1) % 4
    found = emulate(model, samples, labels=labels)
    assert found.accuracy == 0.75
    assert all(run.accuracy is not None and run.accuracy >= 0.7 for run in found.runs)


def test_suggested_layer_is_the_one_that_adds_the_noise() -> None:
    text = """
opset 17
graph(%x: float32[1,16]) -> (%y) {
  %w: float32[16,16] = random(seed=7)
  %huge: float32[16,16] = random(seed=8)
  %u: float32[16,4] = random(seed=9)
  %a = MatMul(%x, %w) @good
  %b = Relu(%a)
  %c = MatMul(%b, %huge) @wild
  %d = Tanh(%c)
  %y = MatMul(%d, %u) @last
}
"""
    model = _parsed(text)
    weight = np.array(model.graph.initializers["huge"].constant.numpy())  # type: ignore[union-attr]
    weight[0, :] *= 2000.0
    model.graph.initializers["huge"].set_initializer(irkit.Tensor.of(weight))
    samples = _samples(model)
    found = emulate(model, samples)
    assert found.suggestions() == ["quantization_param({wild}, precision_mode=a16_w16)"]
    mended = emulate(model, samples, precisions=Precisions(by_pattern={"wild": "a16_w16"}))
    assert mended.runs[0].outputs[0].cosine > found.runs[0].outputs[0].cosine


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda samples: {}, "samples must be given"),
        (lambda samples: {"x": samples["x"][:0]}, "number of samples"),
        (lambda samples: {"x": samples["x"][:, :9]}, "takes samples of shape"),
    ],
)
def test_samples_that_do_not_fit_are_refused(change: Any, told: str) -> None:
    model = _parsed(LINEAR)
    with pytest.raises(OptionError, match=told):
        emulate(model, change(_samples(model)))


def test_what_has_no_range_is_refused() -> None:
    model = _parsed(LINEAR)
    samples = _samples(model)
    samples["x"][3, 2] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        emulate(model, samples)
    with pytest.raises(OptionError, match="a8_w2"):
        Precisions(default="a8_w2")


@each(lambda entry: entry["name"] in ("resnet18_w20__ts13-bn", "squeezenet1_1__ts13", "dscnn_kws_w36__ts17-bn"))
def test_real_networks(entry: dict[str, Any]) -> None:
    result = irkit.optimize(path_of(entry), exact=True, verify="none")
    found = emulate(result.model, _samples(result.model, 6))
    for run in found.runs:
        assert len(run.layers) > 8
        assert all(output.cosine > 0.97 for output in run.outputs)
