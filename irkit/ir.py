"""The graph IR: values, nodes and graphs. Import them from here.

A `Value` is an edge, a `Node` an operation, a `Graph` nodes in order; `irkit.model` has what a file holds around them.
"""

from irkit.graph import Graph as Graph
from irkit.node import Lazy as Lazy, Node as Node, NodeExtra as NodeExtra, Use as Use, Value as Value
