"""Mistakes that people make in passes of their own, each as the file they would write.

The line at fault is marked `# here`; where irkit cannot know it, the mark stands where the function begins.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from textwrap import dedent, indent

MODEL = """
opset 17
graph(%x: float32[1,4], %k: int64[2]) -> (%y, %n) {
  %c: float32[4] = [1, 2, 3, 4]
  %h: float32[1,4] = HardSwish(%x) @act
  %m: float32[1,4] = Mul(%h, %c) @scale
  %y: float32[1,4] = Relu(%m) @last
  %n: int64[2] = Neg(%k) @count
}"""


@dataclass(frozen=True)
class Mistake:
    """A pass file with a mistake in it.

    Attributes: `says` is a part of what must be said; `node` the node that must be named, "" where no node is at fault;
    `names_pass` is false where the file cannot even tell the name.
    """

    name: str
    source: str
    says: str
    node: str = ""
    names_pass: bool = True

    @property
    def line(self) -> int:
        """The line at fault; 0 where none is marked. Python 3.10 takes what a decorator raises to the line below it."""
        lines = enumerate(self.source.splitlines(), 1)
        below = sys.version_info < (3, 11)
        return next((i + (below and text.startswith("@")) for i, text in lines if "# here" in text), 0)


def rule(replace: str, pattern: str = "op.HardSwish(x)", parameters: str = "op, x", more: str = "") -> str:
    """A pass of one rule."""
    head = 'import sys\nimport irkit\n\n@irkit.rewrite("mine")\nclass Mine:\n    """Mine."""\n'
    head += indent(dedent(more), "    ")
    head += f"    def pattern(self, {parameters}):\n        return {pattern}\n"
    return head + indent(dedent(replace), "    ") + "\n"


def built(expression: str) -> str:
    """A replacement that is wrong in its one line."""
    return f"def replace(self, op, x):\n    return {expression}  # here"


def described(pattern: str, parameters: str = "op, x") -> str:
    """A pattern that is wrong in its one line."""
    return rule("def replace(self, x):\n    return x", f"{pattern}  # here", parameters)


def run(body: str) -> str:
    """A pass that edits the graph."""
    head = 'import sys\nimport irkit\n\n@irkit.define_pass("mine")\nclass Mine(irkit.Pass):\n    """Mine."""\n'
    lines = "graph = model.graph\nnode = graph.node('act')\n" + dedent(body)
    return head + "    def run(self, model, context):\n" + indent(lines, " " * 8) + "\n"


REPLACED = (
    Mistake("too few inputs", rule(built("op.Conv(x)")), "Conv takes 2 to 3 inputs; found 1", "act"),
    Mistake("too many outputs", rule(built("op.Relu(x, _outputs=2)[0]")), "Relu takes 1 outputs; found 2", "act"),
    Mistake("an unknown operator", rule(built("op.Rulu(x)")), "no operator Rulu; did you mean Relu?", "act"),
    Mistake("an operator of a newer opset", rule(built("op.Gelu(x)")), "Gelu from opset 20 on; this model", "act"),
    Mistake("an operator that was taken out", rule(built("op.Upsample(x, x)")), "Upsample up to opset 9", "act"),
    Mistake(
        "an unknown attribute", rule(built("op.LeakyRelu(x, alhpa=0.1)")), "no attribute 'alhpa' (opset 16); did", "act"
    ),
    Mistake("an attribute of a wrong type", rule(built("op.Softmax(x, axis='1')")), "'axis' is of kind int", "act"),
    Mistake("an attribute that is a number for a list", rule(built("op.Transpose(x, perm=1)")), "of kind ints", "act"),
    Mistake("a missing attribute", rule(built("op.Concat(x, x)")), "attribute 'axis' is missing", "act"),
    Mistake("operands of two types", rule(built("op.Add(x, op.Cast(x, to=11))")), "Add 'act' is wrong", "act"),
    Mistake("a constant of another type", rule(built("op.Mul(x, op.constant([1, 2, 3, 4]))")), "of one type", "act"),
    Mistake("a replacement of another shape", rule(built("op.Transpose(x)")), "float32[4,1], but 'h' is", "act"),
    Mistake("a replacement of another dtype", rule(built("op.Cast(x, to=10)")), "is float16[1,4], but 'h' is", "act"),
    Mistake("shapes that do not fit", rule(built("op.MatMul(x, x)")), "MatMul", "act"),
    Mistake("reading what is replaced", rule(built("op.Relu(x.users[0].output)")), "which it replaces", "act"),
    Mistake("returning None", rule(built("None")), "returned nothing", "act"),
    Mistake("returning a node", rule(built("op.Relu(x).producer")), "returned a Node", "act"),
    Mistake("returning two values", rule(built("(op.Relu(x), x)")), "returned 2 values for 1 outputs", "act"),
    Mistake("a value of another model", rule(built("""irkit.parse_model("graph(%a: float32[1,4]) -> (%b) \
{ %b = Relu(%a) }").graph.values["a"]""")), "belongs to another model", "act"),
    Mistake("a number that is too large", rule(built("op.Add(op.Cast(x, to=3), 300)")), "300 is no int8", "act"),
    Mistake("a fraction for an integer", rule(built("op.Add(op.Cast(x, to=7), 0.5)")), "0.5 is no int64", "act"),
    Mistake("a list of values", rule(built("op.Concat([x, x], axis=0)")), "no constant can be made of a Value", "act"),
    Mistake("a node for a value", rule(built("op.Identity(x.users[0])")), "no constant can be made of a Node", "act"),
    Mistake("a name that is no text", rule(built("op.Relu(x, _name=3)")), "_name is a text", "act"),
    Mistake("a domain that is no text", rule(built("op.domain(3).Gelu(x)")), "a domain is a text", "act"),
    Mistake("an exception", rule(built("{}['oops']")), "KeyError: 'oops'", "act"),
    Mistake("sys.exit", rule(built("sys.exit(0)")), "it calls sys.exit(0)", "act"),
    Mistake("endless recursion", rule(built("self.replace(op, x)")), "RecursionError", "act"),
    Mistake("asking for what is not captured", rule("def replace(self, x, z):  # here\n    return x"),
            "asks for 'z', but the pattern captures x"),
    Mistake("a rule that never ends", rule(
        "def replace(self, op, x):  # here\n    return op.HardSwish(x)"), "it does not end: rule 'mine' at", "act"),
    Mistake("a check that returns True", rule(
        "def check(self, x):  # here\n    return True\ndef replace(self, x):\n    return x"), "returned True", "act"),
)  # fmt: skip

DESCRIBED = (
    Mistake("a pattern with an unknown operator", described("op.HardSwich(x)"), "did you mean HardSwish?"),
    Mistake("a pattern with a wrong arity", described("op.HardSwish(x, x)"), "HardSwish takes 1 inputs; found 2"),
    Mistake("a pattern with an unknown attribute", described("op.Conv(x, x, stride=2)"), "did you mean 'strides'?"),
    Mistake("a pattern with an attribute of a wrong type", described("op.Softmax(x, axis='1')"), "of kind int"),
    Mistake("a pattern with an unknown name", described("op.Relu(y)"), "NameError: name 'y'"),
    Mistake("a node named twice", described("op.Relu(x).named('a').named('b')"), "is named 'a' already"),
    Mistake("a pattern without an operator", described("x").replace(
        "op, x):", "op, x):  # here", 1).replace("x  # here", "x"), "a pattern returns operators"),
    Mistake("a parameter that is not used", described("op.Relu(x)", "op, x, y").replace(
        "x, y):", "x, y):  # here", 1).replace("(x)  # here", "(x)"), "does not use its parameter 'y'"),
    Mistake("capturing twice", described("op.Relu(x).named('x')").replace(
        "op, x):", "op, x):  # here", 1).replace("'x')  # here", "'x')"), "'x' captures a node and a value"),
    Mistake("two nodes of one name", described("op.Add(op.Relu(x).named('n'), op.Neg(x).named('n'))").replace(
        "op, x):", "op, x):  # here", 1).replace("'n'))  # here", "'n'))"), "two nodes of the pattern are named 'n'"),
    Mistake("and in a pattern", described("op.HardSwish(x) and op.Relu(x)"), "neither true nor false; alternatives"),
    Mistake("a rank that is no number", described("op.HardSwish(x.rank('2'))"), "rank takes numbers; found '2'"),
    Mistake("a type by its name", described("op.HardSwish(x.dtype('float32'))"), "such as irkit.DType.FLOAT32"),
    Mistake("a shape as a list", described("op.HardSwish(x.shape([1, 4]))"), "one by one; found [1, 4]"),
    Mistake("a predicate that is none", described("op.HardSwish(x.where('yes', 'no'))"), "where takes a function"),
    Mistake("a node's predicate that is none", described("op.HardSwish(x).such_that(True, 'no')"), "such_that takes a"),
    Mistake("a pattern of a domain that is no text", described("op.domain(3).Gelu(x)"), "a domain is a text"),
    Mistake("a predicate that fails", rule(
        "def replace(self, x):\n    return x",
        "op.HardSwish(x.where(lambda value: value.shape[7] == 1, 'is wrong'))  # here"), "IndexError", "act"),
)  # fmt: skip

EDITED = (
    Mistake("an exception in run", run("node.inputs[3]  # here"), "IndexError: tuple index out of range", "act"),
    Mistake("an assertion", run("assert node.op == 'Relu', 'not so'  # here"), "AssertionError: not so", "act"),
    Mistake("a node that is not there", run("graph.node('nobody')  # here"), "KeyError: 'nobody'"),
    Mistake("sys.exit in run", run("sys.exit('enough')  # here"), "it calls sys.exit('enough')", "act"),
    Mistake("removing a node that is read", run("graph.remove(node)  # here"), "cannot remove HardSwish 'act'", "act"),
    Mistake("removing a node twice", run("""
        last = graph.node('count')
        graph.set_outputs(graph.outputs[:1])
        graph.remove(last)
        graph.remove(last)  # here"""), "cannot remove Neg 'count'", "count"),
    Mistake("editing a removed node", run("""
        last = graph.node('last')
        graph.replace_value(last.output, node.output)
        graph.remove(last)
        last.set_attr('alpha', 1.0)  # here"""), "it edits Relu 'last' after having removed it", "last"),
    Mistake("a value used before it is made", run("""
        node.set_inputs([graph.values['m']])  # here"""), "act"),
    Mistake("a node put before what it reads", run("""
        new = irkit.Node('Neg', [graph.values['m']], name='early')
        graph.insert(new, before=node)  # here
        graph.node('last').set_inputs([new.output])"""), "graph.sort()", "early"),
    Mistake("a cycle", run("""
        late = irkit.Node('Add', [graph.values['h'], graph.values['m']], name='loop')
        graph.insert(late, before=graph.node('scale'))
        graph.node('scale').set_input(0, late.output)  # here"""), "the graph has a cycle", "loop"),
    Mistake("an input of another model", run("""
        other = irkit.parse_model("graph(%a: float32[1,4]) -> (%b) { %b = Relu(%a) }")
        node.set_inputs([other.graph.values['a']])  # here"""), "act", "act"),
    Mistake("a node of another shape", run("""
        irkit.replace_node(node, lambda op, x: op.Transpose(x))  # here"""), "declared as float32[1,4]", "last"),
    Mistake("a node of another type", run("""
        irkit.replace_node(node, lambda op, x: op.Cast(x, to=10))  # here"""), "types that do not fit", "last"),
    Mistake("a removed output", run("graph.set_outputs(graph.outputs[:1])  # here"), "['y', 'n'] became ['y']"),
    Mistake("outputs in another order", run("graph.set_outputs(graph.outputs[::-1])  # here"), "became ['n', 'y']"),
    Mistake("a renamed input", run("graph.values['x'].name = 'image'  # here"), "['x', 'k'] became ['image', 'k']"),
    Mistake("an output of another type", run("""
        graph.values['y'].type = irkit.TensorType(irkit.DType.FLOAT16, (1, 4))  # here"""), "'y', one of the outputs"),
    Mistake("a loop that never ends", run("""
        for node in graph:
            graph.insert(irkit.Node('Neg', [graph.values['x']]), after=node)  # here"""), "it does not end"),
    Mistake("returning a new model", run("return model  # here").replace("context):", "context):  # here").replace(
        "model  # here", "model"), "`run` returned a Model"),
    Mistake("an exception of two lines", run("raise ValueError('one\\ntwo')  # here"), "ValueError: one two", "act"),
    Mistake("an exception of no kind", run("raise GeneratorExit  # here"), "GeneratorExit", "act"),
    Mistake("another working folder", run("import os\nos.chdir('/')\nnode.inputs[3]  # here"), "IndexError", "act"),
    Mistake("an attribute that the operator has not", run("node.set_attr('alhpa', 1.0)  # here"),
            "it leaves HardSwish 'act' as it cannot be: there is no attribute 'alhpa'", "act"),
    Mistake("an input too many", run("node.set_inputs([*node.inputs, graph.values['x']])  # here"), "2 inputs", "act"),
    Mistake("attributes changed in place", run("node.attrs['alpha'] = 1.0  # here"), "by node.set_attr(", "act"),
    Mistake("a type by its name", run("node.output.type = 'float32'  # here"), "found 'float32'", "act"),
    Mistake("an input of another size", run("""
        graph.values['x'].type = irkit.TensorType(irkit.DType.FLOAT32, (2, 4))  # here"""),
            "types that do not fit", "last"),
    Mistake("a wrong file", run("irkit.load('nowhere.onnx')  # here"), "nowhere.onnx", "act"),
)  # fmt: skip


def own_option(line: str) -> str:
    """A pass that is at fault where it is made, by an option."""
    return rule(built("x"), more=line + "\n").replace("  # here", "").replace('("mine")', '("mine")  # here')


AS_IT_IS = rule("def replace(self, x):\n    return x")
TABLE = (
    'import irkit\n@irkit.define_pass("mine")  # here\nclass Mine(irkit.RewritePass):\n    """Mine."""\n    rules = '
)

LOADED = (
    Mistake("a syntax error", "import irkit\ndef broken(:  # here\n", "invalid syntax", names_pass=False),
    Mistake("a missing import", "import nosuchthing  # here\n", "No module named 'nosuchthing'", names_pass=False),
    Mistake("sys.exit at the top", "import sys\nsys.exit(0)  # here\n", "SystemExit", names_pass=False),
    Mistake("no pass in the file", "import irkit\n", "no pass", names_pass=False),
    Mistake("a wrong effect", rule("def replace(self, x):\n    return x").replace(
        '("mine")', '("mine", effect="exakt")'), "effect is one of exact, approximate, retrain"),
    Mistake("a name that is none", rule("def replace(self, x):\n    return x").replace(
        '("mine")', '("mine Pass")'), "kebab-case", names_pass=False),
    Mistake("no docstring", rule("def replace(self, x):\n    return x").replace('    """Mine."""\n', ""), "docstring"),
    Mistake("no replace", 'import irkit\n@irkit.rewrite("mine")\nclass Mine:\n    """Mine."""\n'
            "    def pattern(self, op, x):\n        return op.Relu(x)\n", "has no method `replace`"),
    Mistake("a default that can change", rule("def replace(self, x):\n    return x", more="sizes: list = []\n"),
            "default", names_pass=False),
    Mistake("a name that is taken", rule("def replace(self, x):\n    return x").replace('"mine"', '"remove-dead"'),
            "two passes are called `remove-dead`", names_pass=False),
    Mistake("a generator", run("yield node"), "without yield"),
    Mistake("an option without a default", own_option("most: int"), "'most' needs a default"),
    Mistake("an option called name", own_option("name: str = ''"), "no option can be called 'name'"),
    Mistake("a function's option without a default", 'import irkit\n@irkit.define_pass("mine")  # here\n'
            'def mine(model, *, most: int):\n    """Mine."""\n', "the option 'most' needs a default"),
    Mistake("a base that can change", run("pass").replace("import irkit\n", "import irkit\nfrom "
            "dataclasses import *\n@dataclass\nclass Base:\n    a: int = 1\n").replace("(irkit", "(Base, irkit"),
            "pass 'mine': its options: cannot inherit frozen"),
    Mistake("options that do not go together", run("pass").replace("    def run", "    most: int = 3\n"
            "    def __post_init__(self):\n        raise ValueError('odd')  # here\n    def run"), "ValueError: odd"),
    Mistake("functions for rules", TABLE + "(lambda op, x: op.Relu(x),)\n", "`rules` holds classes that derive from"),
    Mistake("one rule for a tuple", TABLE + "irkit.rule(lambda op, x: op.Relu(x), lambda x: x)\n", "a tuple of rules"),
    Mistake("texts for functions", TABLE.replace("  # here", "") + "(irkit.rule('a', 'b'),)  # here\n",
            "irkit.rule takes functions", names_pass=False),
    Mistake("a decorator without a name", AS_IT_IS.replace('("mine")', "  # here"), "give the pass a name in brackets",
            names_pass=False),
    Mistake("a rewrite of a function", 'import irkit\n@irkit.rewrite("mine")  # here\ndef mine(op, x):\n'
            '    """Mine."""\n', "irkit.rewrite takes a class"),
    Mistake("versions that are none", AS_IT_IS.replace('("mine"', '("mine", when="hailo8@>>3"'), "not a version"),
    Mistake("a condition that fails", AS_IT_IS.replace('("mine"', '("mine", when=\n    lambda target: target.nope'
            ).replace("target.nope)", "target.nope)  # here"), "AttributeError: 'Target' object has no"),
)  # fmt: skip
