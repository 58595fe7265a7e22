"""Golden cases: a model before, and after a pass, as text. The format is described in docs/text_form.md."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit import Context, Inference, Model, Pass, parse_model, print_model
from irkit.library import get_pass

FOLDER = Path(__file__).parent / "passes"

_LINE = re.compile(r"^-{4,}[ \t]*\n?", re.MULTILINE)
_HEADER = re.compile(r"^#[ \t]*(options|print|not run):[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One file: the text before and after, and what its header says."""

    path: Path
    before: str
    after: str
    header: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Case:
        parts = _LINE.split(path.read_text(encoding="utf-8"))
        assert len(parts) <= 2, f"{path}: one line of dashes separates the model before from the model after"
        return cls(path, parts[0], parts[1] if len(parts) == 2 else "", dict(_HEADER.findall(parts[0])))

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def model(self) -> Model:
        """The model before, with the types of its values inferred."""
        model = parse_model(self.before, source=str(self.path))
        Inference.of(model).update()
        return model

    def make_pass(self) -> Pass:
        options: dict[str, Any] = json.loads(self.header.get("options", "{}"))
        return get_pass(self.path.parent.name, **options)

    def text(self, model: Model, context: Context) -> str:
        """What the part after the dashes should say: the model, and what the pass has to tell."""
        shown = self.header.get("print", "").split()
        told = [f"# finding {finding.rule} {finding.node}: {finding.message}" for finding in context.findings]
        told += [f"# refused {root}: {reason}" for root, reasons in context.refusals.items() for reason in reasons]
        text = print_model(model, weights="elide", types="types" in shown, origins="origins" in shown)
        return text + "".join(f"{line}\n" for line in sorted(told))

    def write(self, after: str) -> None:
        self.path.write_text(f"{self.before.rstrip()}\n\n----\n{after}", encoding="utf-8")
