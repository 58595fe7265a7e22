"""A node with its neighbours as a model of its own: to try with the compiler, or to show somebody."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from irkit.errors import ModelError, OptionError, OutputError
from irkit.infer import Inference
from irkit.ir import Node
from irkit.library import get_pass
from irkit.model import Model
from irkit.onnx.writer import save
from irkit.pass_base import Context
from irkit.shrinking import Stuck, cut


def save_neighbourhood(model: Model, name: str, path: Path) -> int:
    """Write the node of that name, what makes what it reads, and what reads what it makes. Returns the number of nodes.

    Constants come along; other values that are read become inputs, with their types. Of a node in a nested graph, the
    node around it is written. The model is edited: calls of functions are replaced by their bodies, as lint does.

    Args:
        model: is consumed.
        name: of the node, or of a value it makes.
        path: of the file to write; must not be there.

    Raises:
        OptionError: there is no such node.
        ModelError: the type of a value that becomes an input is not known.
        OutputError: the file is there, or cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path}: is there already; name another file with -o")
    get_pass("inline-functions").run(model, Context())
    Inference.of(model).update()
    near = _near(model, _named(model, name))
    try:
        cut(model, [node for node in model.graph if node not in near])
    except Stuck as problem:
        raise ModelError(
            f"`{name}` cannot stand by itself: {problem}; bind the shapes first, see irkit optimize"
        ) from problem
    save(model, path)
    return len(model.graph)


def file_name(model: Path, node: str) -> Path:
    """The name of the file for a node, in the working directory: `net-head_Floor.onnx`."""
    plain = re.sub(r"[^\w.-]+", "_", node).strip("_.")
    return Path(f"{model.stem}-{plain or 'node'}.onnx")


def _named(model: Model, name: str) -> Node:
    """The node of the main graph that has that name or makes that value, or around the one that does."""
    names: dict[str, Node] = {}
    for node in model.walk():
        for text in (node.name, *(value.name for value in node.outputs)):
            names.setdefault(text, node)
    found = names.get(name) if name else None
    if found is None:
        close = get_close_matches(name, names, 1)
        raise OptionError(f"there is no node `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""))
    while found.graph is not model.graph and found.graph is not None and found.graph.owner is not None:
        found = found.graph.owner
    return found


def _near(model: Model, node: Node) -> set[Node]:
    """The node and its neighbours in the main graph, with the Constant nodes that any of them reads."""
    makers = [value.producer for value in node.reads() if value.producer is not None]
    near = {node, *makers, *node.successors}
    near |= {
        value.producer
        for item in near
        for value in item.reads()
        if value.producer is not None and value.producer.op_id == "Constant"
    }
    return {item for item in near if item.graph is model.graph}
