"""An unfold into blocks, as exporters spell it, is one SpaceToDepth.

`x.unfold(2, 8, 8).unfold(3, 8, 8)` with the reshapes around it cuts an image into blocks of 8x8 and puts each block's
pixels into channels. The TorchScript exporter writes a Slice, Transpose and Unsqueeze for each row and column of
blocks (XFeat at 240x320: 213 nodes, most of rank 5 and 6), the dynamo exporter two Gathers. Neither is
recognised by name here: nodes that only move elements are run on the numbers of the elements, and where these come out
as SpaceToDepth puts them, that is what it is.

PyTorch orders the channels image channel first, ONNX block position first. With one channel that is the same; with
more, each channel is taken by itself:

    Concat(SpaceToDepth(x[0]), SpaceToDepth(x[1]), ...)
"""

import numpy as np

import irkit

MOVES = frozenset({
    "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


@irkit.define_pass("unfold-to-space-to-depth", effect="exact")
class UnfoldToSpaceToDepth(irkit.Pass):
    """Replace an unfold into blocks by SpaceToDepth."""

    most_channels: int = 4

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        for node in model.graph:
            if moves(node) and (node.output.is_graph_output or not all(map(moves, node.successors))):
                self.replace(model, context, node)

    def replace(self, model: irkit.Model, context: irkit.Context, last: irkit.Node) -> None:
        """Replace what ends in this node, where it is an unfold."""
        region, source = region_of(last)
        if len(region) < 3 or source is None or not is_static(source, 4) or not is_static(last.output, 4):
            return
        _, channels, height, width = source.shape
        block = height // max(last.output.shape[2], 1)
        if block < 2 or height % block or width % block:
            return
        if not np.array_equal(moved(region, source), blocks(numbers(source), block)):
            context.refuse("unfold", last.name, "elements go elsewhere than SpaceToDepth puts them")
        elif channels > self.most_channels:
            context.refuse("unfold", last.name, f"{channels} channels are more than {self.most_channels}")
        else:
            with context.rewriting(model, "unfold", last.name) as allowed:
                if allowed:
                    irkit.replace_subgraph(model, [source], [last.output], lambda op, x: unfold(op, x, channels, block))


def moves(node: irkit.Node) -> bool:
    """Whether a node only moves elements, to places that are constant."""
    constant = [value is None or value.constant is not None for value in node.inputs]
    return not node.domain and node.op in MOVES and (node.op == "Concat" or all(constant[1:])) and not constant[0]


def region_of(last: irkit.Node) -> tuple[list[irkit.Node], irkit.Value | None]:
    """The moving nodes that end in this one, readers last, and the value they all begin with, if it is one."""
    found: dict[irkit.Node, None] = {}
    begins: set[irkit.Value] = set()
    stack = [last]
    while stack:
        node = stack.pop()
        if node in found:
            continue
        found[node] = None
        for value in node.inputs if node.op == "Concat" else node.inputs[:1]:
            if value.producer is not None and moves(value.producer) and value.producer.graph is node.graph:
                stack.append(value.producer)
            else:
                begins.add(value)
    region = [node for node in last.graph if node in found]
    return region, begins.pop() if len(begins) == 1 else None


def is_static(value: irkit.Value, rank: int) -> bool:
    shape = value.shape
    return shape is not None and len(shape) == rank and all(isinstance(dim, int) for dim in shape)


def numbers(value: irkit.Value) -> np.ndarray:
    """The number of each element."""
    return np.arange(np.prod(value.shape)).reshape(value.shape)


def moved(region: list[irkit.Node], source: irkit.Value) -> np.ndarray | None:
    """Where the region takes the numbers of the elements; None where that cannot be computed."""
    data = {source: irkit.Tensor.of(numbers(source))}
    for node in region:
        inputs = [None if value is None else data.get(value, value.constant) for value in node.inputs]
        outputs = irkit.evaluate(node, inputs, [None] * len(node.outputs))
        if outputs is None:
            return None
        data.update(zip(node.outputs, outputs, strict=True))
    return data[region[-1].output].numpy()


def blocks(array: np.ndarray, block: int) -> np.ndarray:
    """The array with its blocks in channels, image channel first, as `torch.nn.PixelUnshuffle` has them."""
    batch, channels, height, width = array.shape
    rows, columns = height // block, width // block
    cut = array.reshape(batch, channels, rows, block, columns, block)
    return cut.transpose(0, 1, 3, 5, 2, 4).reshape(batch, channels * block * block, rows, columns)


def unfold(op: irkit.Builder, x: irkit.Value, channels: int, block: int) -> irkit.Value:
    """The unfold of a value of so many channels."""
    if channels == 1:
        return op.SpaceToDepth(x, blocksize=block)
    if op.opset < 13:
        parts = op.Split(x, axis=1, split=[1] * channels, _outputs=channels)
    else:
        parts = op.Split(x, [1] * channels, axis=1, _outputs=channels)
    return op.Concat(*(op.SpaceToDepth(part, blocksize=block) for part in parts), axis=1)
