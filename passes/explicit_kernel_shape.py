"""Write down the kernel shape of convolutions that leave it to their weights.

    Conv(x, w: float32[24,3,5,5])    becomes    Conv(x, w) {kernel_shape=[5,5]}

ONNX lets an exporter leave the attribute out, and PyTorch's newer one does; a log of the Dataflow Compiler suggests
that its parser wants it. The function is the same.
"""

import irkit


@irkit.define_pass("explicit-kernel-shape", effect="exact")
class ExplicitKernelShape(irkit.Pass):
    """Write down the kernel shape of convolutions that leave it to their weights."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        """Look at every Conv and ConvTranspose whose weights have a known shape."""
        for graph in model.walk_graphs():
            for node in graph:
                if node.op not in ("Conv", "ConvTranspose") or node.domain or "kernel_shape" in node.attrs:
                    continue
                weights = node.input(1)
                shape = (weights.shape or ())[2:] if weights is not None else ()
                sizes = [dim for dim in shape if isinstance(dim, int)]
                if not sizes or len(sizes) != len(shape):
                    continue
                with context.rewriting(model, "kernel-shape", node.name) as allowed:
                    if allowed:
                        node.set_attr("kernel_shape", sizes)
