"""The generated documentation says what the code says, and every code that can be found has a page."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from irkit.linting import all_docs
from irkit.table import Facts
from irkit.target import load_target
from tests.whole.sources import ROOT, python_files

CODE = re.compile(r"(IRK|HAI)\d{3}")


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def codes_in(source: str) -> Iterator[str]:
    """The codes that a file makes findings under: texts that are a code and nothing else."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value


def test_every_code_in_the_code_has_a_page() -> None:
    known = {doc.code for doc in all_docs()}
    used: dict[str, set[str]] = {}
    for path in python_files("irkit", "passes"):
        for code in codes_in((ROOT / path).read_text(encoding="utf-8")):
            used.setdefault(code, set()).add(str(path))
    assert {code: files for code, files in used.items() if code not in known} == {}
    assert known - used.keys() == set()


def test_codes_are_seen() -> None:
    assert list(codes_in("find('IRK099', 'a-name')\nx = 'see IRK001'")) == ["IRK099"]


def test_codes_and_names_are_told_once() -> None:
    docs = all_docs()
    for attribute in ("code", "name"):
        told = [getattr(doc, attribute) for doc in docs]
        assert len(told) == len(set(told))


def test_every_fact_of_a_target_is_the_ground_of_a_rule() -> None:
    resting = {fact for doc in all_docs() for fact in getattr(doc, "facts", ())}
    assert set(Facts.__dataclass_fields__) - resting == set()


def test_entries_of_the_tables_name_rules_that_are_there() -> None:
    from irkit.evidence import entries

    names = {doc.name for doc in all_docs()}
    assert {name for name, _ in entries(load_target("hailo8")) if name and name not in names} == set()


def test_the_generated_pages_are_up_to_date(make_docs: ModuleType) -> None:
    """Where they are not: python scripts/make_docs.py."""
    assert make_docs.stale(make_docs.pages()) == []


def test_stale_pages_are_seen(make_docs: ModuleType) -> None:
    pages: dict[Path, str] = make_docs.pages()
    text = pages.pop(make_docs.RULES)
    assert make_docs.stale({make_docs.RULES: text + "changed", **pages}) == [make_docs.RULES]
    (first, *_) = (path for path in pages)
    del pages[first]
    assert first in make_docs.stale(pages)


def test_every_rule_has_a_section_with_its_doc(make_docs: ModuleType) -> None:
    page = make_docs.pages()[make_docs.RULES]
    for doc in all_docs():
        section = page.partition(f"\n### {doc.code} {doc.name}\n")[2].partition("\n### ")[0]
        assert doc.what in section
        assert "**Why.**" in section
        assert "**Fix.**" in section


def test_links_of_the_table_lead_to_sections(make_docs: ModuleType) -> None:
    page = make_docs.pages()[make_docs.RULES]
    anchors = {re.sub(r"[^a-z0-9 -]", "", line[4:].lower()).replace(" ", "-") for line in re.findall("### .*", page)}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links <= anchors
    assert len(links) == len(all_docs())
