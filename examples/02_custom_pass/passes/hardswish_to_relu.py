import irkit


@irkit.define_pass("hardswish-to-relu", effect="retrain")
class HardswishToRelu(irkit.RewritePass):
    """Replace HardSwish by Relu."""

    rules = (irkit.rule(lambda op, x: op.HardSwish(x), lambda op, x: op.Relu(x)),)
