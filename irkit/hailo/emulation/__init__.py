"""What 8 bits do to a model, emulated on any machine: `irkit quantize`.

    layers.py     where the compiler's network has the borders of its layers
    grids.py      weights and activations on their integer grids
    emulate.py    the model with its weights rounded and its activations quantized at the borders
    behind.py     what the host makes of the outputs, behind a cut
    measure.py    how far that moves layers, outputs and accuracy

What is emulated: weights are signed and symmetric, activations unsigned with a zero point, one scale a tensor, ranges
from the calibration data (Hailo's public lesson on quantization, https://hailo.ai, and answers of its staff). Not
emulated: bias correction, equalization, fine-tuning, and how the chip rounds inside of a layer. Whether weights have
one scale a layer or a channel is not public, so both are run.
"""
