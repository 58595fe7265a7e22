"""Print a model as text: every node with its types and attributes, weights left out.

With --node, only that node and its neighbours.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from irkit.cli import arguments, console
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.ir import Node
    from irkit.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    parser.add_argument("--node", metavar="NAME", help="only this node, what feeds it and what reads it")


def run(options: argparse.Namespace) -> int:
    """Print the model or the node."""
    path = arguments.checked_model(options.model)
    from irkit.infer import Inference
    from irkit.onnx.reader import load
    from irkit.text import print_model

    with load(path) as model:
        Inference.of(model).update()
        if options.node is None:
            console.result(print_model(model, weights="elide", origins=False).rstrip("\n"))
        else:
            for line in _neighbourhood(_named(model, options.node)):
                console.result(line)
        count = sum(1 for _ in model.walk())
        console.message(f"{path}: {count} nodes, opset {model.opset}, IR version {model.ir_version}")
    console.message(f"next: {arguments.command_line('irkit', 'lint', str(path))}")
    return 0


def _named(model: Model, name: str) -> Node:
    names: dict[str, Node] = {}
    for node in model.walk():
        names.setdefault(node.name, node)
        for value in node.outputs:
            names.setdefault(value.name, node)
    if name not in names:
        close = get_close_matches(name, names, 1)
        raise OptionError(f"there is no node `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""))
    return names[name]


def _neighbourhood(node: Node) -> Iterator[str]:
    from irkit.text import print_node

    producers = [value.producer for value in node.inputs if value is not None]
    for mark, nodes in (("  ", producers), ("> ", [node]), ("  ", node.successors)):
        for item in dict.fromkeys(nodes):
            if item is not None:
                yield mark + print_node(item)
