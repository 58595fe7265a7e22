"""Passes that work on an object of another package: lent out, changed, and brought back as edits of the model."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from irkit.errors import GraphError, InputError, ModelError, PassError

if TYPE_CHECKING:
    from irkit.merging import Grouping
    from irkit.model import Model

VIEWS = ("irkit", "onnx", "graphsurgeon", "onnx_ir", "networkx")
"""What a pass may get the model as."""

LABEL = "change"
"""The rule that the journal names for changes that came from outside."""


def run_on_view(
    model: Model, name: str, view: str, call: Callable[[Any], Any], function: Callable[..., Any], group: Grouping
) -> int:
    """Let a user's function change the model as an object of another package, and bring over what it changed.

    `name` is the pass's, and `call` calls the function. It returns the changed object, or None where it changed the one
    it got. Returns how many places were changed. Raises `PassError` that tells the function's line that failed, or what
    is wrong with what it gave back.
    """
    from irkit.merging import merge
    from irkit.onnx.interop import LOANS

    place = _definition(function)
    try:
        loan = LOANS[view](model)
    except Exception as error:
        if isinstance(error, InputError) and not isinstance(error, ModelError):
            raise
        raise _fault(name, place, f"{view} cannot take this model: {_root(error)}") from error
    try:
        returned = call(loan.given)
    except InputError:
        raise
    except Exception as error:
        raise _fault(name, _line_of(error, function), f"{type(error).__name__}: {error}") from error
    try:
        after = loan.read(loan.given if returned is None else returned)
    except Exception as error:
        raise _fault(name, place, f"what it gives back is no valid model: {_root(error)}") from error
    try:
        return merge(model, loan.before, after, group)
    except GraphError as error:
        raise _fault(name, place, str(error)) from error


def _fault(name: str, place: str, what: str) -> PassError:
    return PassError(f"pass {name!r} ({place}): {what}", place=place)


def _root(error: BaseException) -> str:
    """What was said first: packages wrap each other's errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"


def _line_of(error: BaseException, function: Callable[..., Any]) -> str:
    """`FILE:LINE` of the innermost line of the function's own file that an error came through."""
    file = inspect.unwrap(function).__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else _definition(function)


def _definition(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
