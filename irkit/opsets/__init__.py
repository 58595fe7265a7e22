"""Rewriting nodes from one version of ONNX's operator set to another.

`converter.py` leads a node from change to change of its operator; `raising.py` and `lowering.py` hold the rules of
those changes that mean something else; `signature.py` handles all others by comparing schemas.
"""
