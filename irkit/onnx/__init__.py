"""ONNX in and out: the only part of irkit that imports onnx.

    wire.py                the protobuf wire format
    typeinfo.py            types of values
    tensors.py, external.py    constant data, inside the file and beside it
    attrs.py               attributes
    nodes.py, graphs.py, reader.py   a file becomes a model
    extras.py              what is kept of a file beyond the IR; explain.py, what a file is that is no model
    encoder.py, storage.py, writer.py   a model becomes a file
    proto.py, interop.py   to and from the objects of other packages

Reader and writer do without the onnx package: they scan and write the wire format themselves, so that weights stay
in the mapped file, files may be larger than protobuf's 2 GB, and loading takes no import of onnx.
"""
