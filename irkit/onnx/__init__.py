"""ONNX in and out: the only package that imports onnx."""
