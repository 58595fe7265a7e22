"""What a file that is no ONNX model seems to be, and what to do with it."""

from __future__ import annotations

from pathlib import Path

_EXPORT = (
    "a PyTorch file, not an ONNX model; export the module in Python first: "
    "torch.onnx.export(module.eval(), (example_input,), 'model.onnx', opset_version=17, dynamo=False)"
)
_HEF = "a compiled Hailo program (HEF); give the ONNX model it was compiled from"

_SUFFIXES = {
    ".pt": _EXPORT,
    ".pth": _EXPORT,
    ".ckpt": _EXPORT,
    ".hef": _HEF,
    ".har": "a Hailo archive (HAR); give the ONNX model it was made from",
    ".tflite": "a TensorFlow Lite model; convert it to ONNX first (tf2onnx)",
    ".h5": "a Keras model; convert it to ONNX first (tf2onnx)",
    ".pb": "a TensorFlow graph; convert it to ONNX first (tf2onnx)",
    ".ort": "an ONNX Runtime format model; give the ONNX model it was made from",
}

_MAGIC = (
    (0, b"PK\x03\x04", "a zip archive: a PyTorch file, or a packed model to be unzipped first"),
    (0, b"\x80\x02", _EXPORT),
    (0, b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (4, b"ORTM", _SUFFIXES[".ort"]),
    (4, b"TFL3", _SUFFIXES[".tflite"]),
    (0, b"\x89HDF", _SUFFIXES[".h5"]),
    (1, b"HEF", _HEF),
    (0, b"version https://git-lfs", "a Git LFS pointer, the model itself was not fetched; run: git lfs pull"),
    (0, b"<!DOCTYPE", "a web page, not an ONNX model; the download went wrong"),
    (0, b"<html", "a web page, not an ONNX model; the download went wrong"),
)


def what_it_is(path: Path, head: bytes) -> str:
    """A sentence about a file that did not parse, from its first bytes and its suffix; "" where nothing is known.

    Args:
        path: of the file.
        head: its first bytes.
    """
    if not head:
        return "the file is empty"
    for offset, magic, meaning in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return f"this is {meaning}"
    meaning = _SUFFIXES.get(path.suffix.lower(), "")
    if meaning and head[0] != 0x08:  # what ONNX files begin with
        return f"this is {meaning}"
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else "\0"
    if all(char.isprintable() or char in "\r\n\t" for char in text):
        return "this is a text file, not an ONNX model"
    return ""
