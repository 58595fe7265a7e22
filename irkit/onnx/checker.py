"""What ONNX's own checker says of a file."""

from __future__ import annotations

from pathlib import Path


def complaint(path: Path) -> str:
    """Why onnx.checker refuses a file, with its shapes inferred; "" where it does not."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # noqa: BLE001  (errors of protobuf, of the checker and of shape inference)
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return ""
