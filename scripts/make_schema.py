"""Write rules/schema.json, the JSON schema of rule tables for editors, from the dataclasses of irkit/table.py.

    python scripts/make_schema.py            write it
    python scripts/make_schema.py --check    exit with 1 where it is stale

Descriptions are taken from rules/README.md. A table names the schema in its first line (`#:schema ./schema.json`),
which editors with taplo (Even Better TOML) follow.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from irkit.table import PATTERNS, RULE_NAME, Condition, Judgement, Overlay, Table, VersionRange  # noqa: E402

SCHEMA = ROOT / "rules" / "schema.json"
README = ROOT / "rules" / "README.md"

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
_KINDS = "(?:numbers?|words|true/false)"
_VERSION_BOUND = r"\s*(>=|<=|==|>|<)\s*[0-9]+(\.[0-9]+)*\s*"
_FORMATS: dict[tuple[type, str], dict[str, Any]] = {
    (Judgement, "rule"): {"pattern": f"^{RULE_NAME.pattern}$"},
    (Overlay, "pattern"): {"propertyNames": {"enum": sorted(PATTERNS)}},
    (Condition, "values"): {"propertyNames": {"pattern": "^[0-9]+$"}},
}
"""What a field must be besides its type, as `__post_init__` checks it."""


def schema() -> dict[str, Any]:
    """The schema. A file of `--rules` has no `name`, so that none is asked for; what goes with a name is."""
    definitions: dict[str, Any] = {}
    root = _dataclass(Table, definitions)
    del root["required"]
    identity = ["name", "description"]
    needs_identity = ("name", "description", "inherits", "inherited_confidence", "dfc", "dfc_default")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "What is known of a target of irkit",
        **root,
        "dependencies": dict.fromkeys(needs_identity, identity),
        "definitions": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value of a type, as annotations say it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is VersionRange:
        return {"type": "string", "pattern": f"^{_VERSION_BOUND}(,{_VERSION_BOUND})*$"}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # a place, should it refer to itself
            definitions[kind.__name__] = _dataclass(kind, definitions)
        return {"$ref": f"#/definitions/{kind.__name__}"}
    if origin in (typing.Union, types.UnionType):
        members = [argument for argument in arguments if argument is not types.NoneType]
        if len(members) == 1:
            return _of(members[0], definitions)
        return {"type": [_SCALARS[member] for member in members]}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin in (Mapping, dict):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return {"type": _SCALARS[kind]}


def _dataclass(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            field.name: {**_description(field.name), **_of(hints[field.name], definitions), **_format(kind, field.name)}
            for field in fields
        },
        "required": [item.name for item in fields if item.default is missing and item.default_factory is missing],
    }


def _format(kind: type, name: str) -> dict[str, Any]:
    found = {}
    for (owner, field), more in _FORMATS.items():
        if field == name and issubclass(kind, owner):
            found.update(more)
    return found


def _description(name: str) -> dict[str, str]:
    """What the README says of a key, in its tables and in the example of a file."""
    words = README.read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}(?: = [^|]*)?` \|(?: {_KINDS} \|)?(?P<says>[^|\n]+)\|", words, re.M)
    comment = re.search(rf"^{name} = \S[^#\n]*# (?P<says>.+)$", words, re.M)
    found = row or comment
    return {"description": found["says"].strip()} if found else {}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="only tell whether the file is stale")
    options = parser.parse_args()
    wanted = text()
    is_current = SCHEMA.is_file() and SCHEMA.read_text(encoding="utf-8") == wanted
    if not options.check:
        SCHEMA.write_text(wanted, encoding="utf-8")
    elif not is_current:
        sys.stderr.write("rules/schema.json is stale: python scripts/make_schema.py\n")
    return int(options.check and not is_current)


if __name__ == "__main__":
    sys.exit(main())
