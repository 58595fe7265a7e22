"""The error tree of irkit.

    IrkitError
    ├── InputError              what a user's file or flag can cause (the command line exits with 2)
    │   ├── ModelError          a model that cannot be read or is not a valid graph
    │   ├── SourceChangedError  a file was rewritten while a model still reads from it
    │   ├── OptionError         a wrong flag, option or pipeline string
    │   ├── OutputError         the result cannot be written
    │   ├── LibraryError        a pass file, folder or plug-in that cannot be loaded
    │   ├── TargetError         an unknown target or a broken rule table
    │   └── MissingDependencyError   an optional package that the request needs
    ├── GraphError              an edit that would break the graph
    │   └── InvariantError      a graph that is broken already, found by the verifier
    ├── ExecutionError          a model that cannot be run here, so that nothing can be proven by numbers
    └── PassError               a pass that failed
        └── UserPassError       the same for a pass that is not irkit's own; an InputError too

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations


class IrkitError(Exception):
    """Base of all errors irkit raises on purpose."""


class InputError(IrkitError):
    """Something a user's file or flag caused."""


class ModelError(InputError):
    """The model cannot be read, or it is not a valid graph."""


class SourceChangedError(InputError):
    """A file that holds weights of an open model changed on disk."""


class OptionError(InputError):
    """A wrong flag, pass option or pipeline string."""


class OutputError(InputError):
    """The result cannot be written where it was asked for."""


class LibraryError(InputError):
    """A pass file, a folder of passes or a plug-in cannot be loaded."""


class TargetError(InputError):
    """The target is unknown or its rule table is broken."""


class MissingDependencyError(InputError):
    """An optional package is needed and not installed."""


class GraphError(IrkitError):
    """An edit that would leave the graph inconsistent."""


class InvariantError(GraphError):
    """The verifier found a broken invariant. `node`: the node it does not hold at, where there is one."""

    node: object = None


class ExecutionError(IrkitError):
    """The model cannot be run here. `lacks_kernel`: the runtime has no implementation of an operator."""

    lacks_kernel = False


class PassError(IrkitError):
    """A pass failed; the message names the pass. `place`: FILE:LINE of its author's code, where known, else ""."""

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class UserPassError(PassError, InputError):
    """A pass that is not irkit's own has a mistake; the message names the pass, its file and line, and the node."""
