"""Write the models of this example, as PyTorch exports them, without PyTorch.

    python make_models.py [-o FOLDER]

`export.py` exports the same networks with PyTorch; a test holds the nodes of both against each other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import irkit

HARDSWISH = """
opset 17
producer "pytorch" "2.13.0"
graph(%x: float32[1,3,32,32]) -> (%y) {
  %w1: float32[16,3,3,3] = random(seed=1, low=-0.4, high=0.4)
  %w2: float32[16,16,3,3] = random(seed=2, low=-0.2, high=0.2)
  %fc: float32[10,16] = random(seed=3)
  %c1 = Conv(%x, %w1) {kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]} @/conv1/Conv
  %a1 = HardSwish(%c1) @/act1/HardSwish
  %c2 = Conv(%a1, %w2) {kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]} @/conv2/Conv
  %a2 = HardSwish(%c2) @/act2/HardSwish
  %p = GlobalAveragePool(%a2) @/pool/GlobalAveragePool
  %f = Flatten(%p) @/Flatten
  %y = Gemm(%f, %fc) {transB=1} @/fc/Gemm
}
"""

VOCABULARY = """
opset 17
producer "pytorch" "2.13.0"
graph(%states: float32[1,4,32]) -> (%logits) {
  %g: float32[32,32] = random(seed=1)
  %w: float32[32,1000] = random(seed=2)
  %h = MatMul(%states, %g) @/proj/MatMul
  %r = Relu(%h) @/Relu
  %logits = MatMul(%r, %w) @/lm_head/MatMul
}
"""


def unfold_text(height: int, width: int, channels: int = 1, block: int = 8) -> str:
    """What the TorchScript exporter makes of XFeat's unfold: three nodes for each row and each column of blocks."""
    rows, columns = height // block, width // block
    constants: dict[int, str] = {}
    nodes: list[str] = []

    def number(value: int) -> str:
        return constants.setdefault(value, f"%k{value}")

    def windows(source: str, axis: int, count: int, perm: list[int], name: str) -> str:
        made = []
        for index in range(count):
            begin, end = number(index * block), number((index + 1) * block)
            nodes.append(f"%{name}s{index} = Slice({source}, {begin}, {end}, {number(axis)}) @/{name}/Slice_{index}")
        for index in range(count):
            nodes.append(f"%{name}t{index} = Transpose(%{name}s{index}) {{perm={perm}}} @/{name}/Transpose_{index}")
            nodes.append(f"%{name}u{index} = Unsqueeze(%{name}t{index}, {number(axis)}) @/{name}/Unsqueeze_{index}")
            made.append(f"%{name}u{index}")
        nodes.append(f"%{name} = Concat({', '.join(made)}) {{axis={axis}}} @/{name}/Concat")
        return f"%{name}"

    cut = windows(windows("%n", 2, rows, [0, 1, 3, 2], "h"), 3, columns, [0, 1, 2, 4, 3], "w")
    shapes = [1, channels, rows, columns, block**2], [1, -1, rows, columns]
    nodes += [
        f"%r1 = Reshape({cut}, %shape1) @/Reshape",
        "%p = Transpose(%r1) {perm=[0,1,4,2,3]} @/Transpose",
        "%r2 = Reshape(%p, %shape2) @/Reshape_1",
        "%y = Conv(%r2, %conv) {kernel_shape=[1,1]} @/conv/Conv",
    ]
    stored = [f"{name}: int64[1] = [{value}]" for value, name in constants.items()]
    stored += [f"%shape{i}: int64[{len(shape)}] = {shape}" for i, shape in enumerate(shapes, 1)]
    stored += [f"%conv: float32[8,{channels * block**2},1,1] = random(seed=1)"]
    stored += [f"%one: float32[{channels}] = ones", f"%zero: float32[{channels}] = zeros"]
    norm = "%n = InstanceNormalization(%x, %one, %zero) @/norm/InstanceNormalization"
    body = "\n  ".join([*stored, norm, *nodes])
    return f"opset 17\ngraph(%x: float32[1,{channels},{height},{width}]) -> (%y) {{\n  {body}\n}}"


MODELS = {
    "hardswish": HARDSWISH,
    "xfeat_unfold": unfold_text(240, 320),
    "vocabulary": VOCABULARY,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("models"), help="the folder (default: models)")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in MODELS.items():
        model = irkit.parse_model(text)
        irkit.save(model, folder / f"{name}.onnx")
        print(f"{folder / name}.onnx: {sum(1 for _ in model.walk())} nodes")


if __name__ == "__main__":
    main()
