"""Write what irkit knows of ONNX's operators without the onnx package: irkit/signatures.py and irkit/typed_ops.pyi.

    python scripts/make_operators.py            write both files anew
    python scripts/make_operators.py --check    exit with 1 where they differ from what the installed onnx says

Run it with the newest onnx that irkit supports. The files cover every operator of ONNX's own domain and of ai.onnx.ml,
in all versions at once: what some version takes is taken.
"""

from __future__ import annotations

import argparse
import keyword
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx.defs  # noqa: TID251  # the only script that reads schemas

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "irkit" / "signatures.py"
STUB = ROOT / "irkit" / "typed_ops.pyi"
DOMAINS = ("", "ai.onnx.ml")
OLDEST = {"": 7, "ai.onnx.ml": 1}  # irkit reads older models, and raises them before its passes look at them
KINDS = {
    "INT": "i", "FLOAT": "f", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "x", "TYPE_PROTO": "y",
    "INTS": "ii", "FLOATS": "ff", "STRINGS": "ss", "TENSORS": "tt", "GRAPHS": "gg", "SPARSE_TENSORS": "xx",
    "TYPE_PROTOS": "yy",
}  # fmt: skip
TYPES = {
    "i": "int", "f": "float", "s": "str", "t": "TensorLike", "g": "Graph", "x": "SparseTensor", "y": "object",
    "ii": "Sequence[int]", "ff": "Sequence[float]", "ss": "Sequence[str]", "tt": "Sequence[TensorLike]",
    "gg": "Sequence[Graph]", "xx": "Sequence[SparseTensor]", "yy": "Sequence[object]",
}  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """An operator over all its versions. `until`: the version that took it out, or 0; `attrs`: kinds by name."""

    name: str
    since: int
    until: int
    inputs: tuple[str, ...]
    variadic: bool
    least: int
    outputs: tuple[str, ...]
    variadic_outputs: bool
    attrs: dict[str, tuple[str, ...]]
    required: frozenset[str]
    doc: str


def operators(domain: str) -> Iterator[Operator]:
    """Every operator of a domain, by name."""
    versions: dict[str, list[onnx.defs.OpSchema]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == domain:
            versions[schema.name].append(schema)
    for name in sorted(versions):
        history = sorted(versions[name], key=lambda schema: schema.since_version)
        ends = [schema.since_version - 1 for schema in history[1:]] + [sys.maxsize]
        alive = [
            schema
            for schema, end in zip(history, ends, strict=True)
            if not schema.deprecated
            and end >= OLDEST[domain]
            and schema.support_level == onnx.defs.OpSchema.SupportType.COMMON
        ]
        if alive:
            yield merged(name, history, alive)


def merged(name: str, history: list[onnx.defs.OpSchema], alive: list[onnx.defs.OpSchema]) -> Operator:
    """All versions of an operator as one."""
    attrs: dict[str, dict[str, None]] = {}
    for schema in alive:
        for attr, item in schema.attributes.items():
            attrs.setdefault(attr, {})[KINDS[str(item.type).rpartition(".")[2]]] = None
    inputs, variadic = names_of([schema.inputs for schema in alive])
    outputs, variadic_outputs = names_of([schema.outputs for schema in alive])
    wanted = [{key for key, item in schema.attributes.items() if item.required} for schema in alive]
    return Operator(
        name,
        history[0].since_version,
        history[-1].since_version if history[-1].deprecated else 0,
        inputs,
        variadic,
        min(schema.min_input for schema in alive),
        outputs,
        variadic_outputs,
        {key: tuple(kinds) for key, kinds in sorted(attrs.items())},
        frozenset.intersection(*map(frozenset, wanted)),
        (alive[-1].doc or "").strip(),
    )


def names_of(versions: list[Sequence[Any]]) -> tuple[tuple[str, ...], bool]:
    """Names of inputs or outputs: the newest version's, and those only older ones had behind them."""
    names: list[str] = []
    for formals in reversed(versions):
        names += [formal.name for formal in formals[len(names) :] if formal.name not in names]
    variadic = any(formals and formals[-1].option.name == "Variadic" for formals in versions)
    return tuple(names), variadic


def table() -> str:
    """The text of irkit/signatures.py's generated part."""
    lines = []
    for domain in DOMAINS:
        lines.append(f"    {domain!r}: {{".replace("'", '"'))
        lines += [f'        "{item.name}": "{line(item)}",' for item in operators(domain)]
        lines.append("    },")
    return "\n".join(lines)


def line(item: Operator) -> str:
    """One operator as `versions; least inputs; inputs; outputs; attributes`."""
    versions = f"{item.since}-{item.until - 1}" if item.until else str(item.since)
    inputs = " ".join(item.inputs) + ("*" if item.variadic else "")
    outputs = " ".join(item.outputs) + ("*" if item.variadic_outputs else "")
    attrs = " ".join(f"{name}={'/'.join(kinds)}" for name, kinds in item.attrs.items())
    return f"{versions}; {item.least}; {inputs}; {outputs}; {attrs}".rstrip()


START, END = "# <generated>\n", "# </generated>\n"


def table_file() -> str:
    """irkit/signatures.py with its generated part as it should be."""
    head, _, rest = TABLE.read_text(encoding="utf-8").partition(START)
    tail = rest.partition(END)[2]
    body = f"_TABLE: dict[str, dict[str, str]] = {{\n{table()}\n}}  # fmt: skip\n"
    newest = onnx.defs.onnx_opset_version()
    return f"{head}{START}NEWEST_OPSET = {newest}\n\n{body}{END}{tail}"


STUB_HEAD = """\
# mypy: disable-error-code="overload-overlap"
# ruff: noqa: A002, E501, N802, N803
# fmt: off
# Made by scripts/make_operators.py; do not edit. The operators as methods, for editors and type checkers.
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, overload

from irkit.attributes import Attr
from irkit.builder import Operand
from irkit.ir import Graph, Value
from irkit.pattern import OpPattern, Pattern, PatternLike
from irkit.tensor import SparseTensor

TensorLike: TypeAlias = Any  # a Tensor, or what numpy.asarray takes
Test: TypeAlias = Pattern | Callable[[Any], bool] | None
"""


def stub() -> str:
    """The text of irkit/typed_ops.pyi."""
    parts = [STUB_HEAD]
    for domain, suffix in zip(DOMAINS, ("", "Ml"), strict=True):
        found = list(operators(domain))
        parts.append(class_text(f"Typed{suffix}Builder", found, "Operand", "Value", "Attr | None"))
        parts.append(class_text(f"Typed{suffix}Pattern", found, "PatternLike", "OpPattern", "Test"))
    return "\n".join(parts)


def class_text(name: str, found: list[Operator], operand: str, result: str, other: str) -> str:
    """One class with a method an operator; `other` is what an attribute may be besides its own type."""
    lines = [f"class {name}:"]
    for item in found:
        lines += method(item, operand, result, other)
    return "\n".join(lines) + "\n"


def method(item: Operator, operand: str, result: str, other: str) -> list[str]:
    """The method of an operator: overloads where it may have several outputs."""
    several = len(item.outputs) > 1 or item.variadic_outputs
    naming = ["_name: str = ..."] if result == "Value" else []
    if not several:
        return [signature(item, operand, naming, result, other)]
    return [
        "    @overload",
        signature(item, operand, ["_outputs: Literal[1] = ...", *naming], result, other),
        "    @overload",
        signature(item, operand, ["_outputs: int", *naming], f"tuple[{result}, ...]", other),
    ]


def signature(item: Operator, operand: str, own: list[str], result: str, other: str) -> str:
    """One `def` line."""
    parameters = ["self"]
    taken = {"self", *item.attrs}
    fixed = item.inputs[:-1] if item.variadic else item.inputs
    least = item.least if result.endswith(("Value", "Value, ...]")) else 1  # in a pattern, op.rest stands for several
    for index, name in enumerate(fixed):
        while name in taken or keyword.iskeyword(name):
            name += "_"
        taken.add(name)
        parameters.append(f"{name}: {operand}" + (" = ..." if index >= least else ""))
    parameters.append("/")
    if item.variadic:
        parameters.append(f"*{item.inputs[-1]}: {operand}")
    named = [*own]
    for name, kinds in item.attrs.items():
        kind = " | ".join(TYPES[letter] for letter in kinds)
        default = "" if name in item.required and result == "Value" and "tuple" not in result else " = ..."
        named.append(f"{name}: {kind} | {other}{default}")
    if named and not item.variadic:
        parameters.append("*")
    if len(parameters) == 2:  # only `self` and the slash
        parameters.pop()
    text = ", ".join([*parameters, *named])
    return f"    def {item.name}({text}) -> {result}: ..."


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    code = 0
    for path, text in ((TABLE, table_file()), (STUB, stub())):
        if options.check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                sys.stderr.write(f"{path.relative_to(ROOT)} is not what onnx {onnx.__version__} says\n")
                code = 1
        else:
            path.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
