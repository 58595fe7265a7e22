"""Fixtures and options that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORPUS_VARIABLE = "IRKIT_CORPUS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the code produces into the golden files, for a review of their diff, instead of comparing",
    )


def find_corpus() -> Path | None:
    """The folder of real models: $IRKIT_CORPUS, else ../shared/corpus beside the repository, else None."""
    named = os.environ.get(CORPUS_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "corpus"
    if (folder / "manifest.json").is_file():
        return folder
    if named:
        raise pytest.UsageError(f"{CORPUS_VARIABLE}={named}: no manifest.json there")
    return None


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus folder (manifest.json, corpus_io.py, models/); skips where this machine has none."""
    folder = find_corpus()
    if folder is None:
        pytest.skip(f"no corpus of real models: set {CORPUS_VARIABLE}, or put it at ../shared/corpus")
    return folder


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))
