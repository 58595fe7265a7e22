"""Fixtures of tests of the whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.whole.bundles import DOUBLES
from tests.whole.sources import ROOT

_PACKAGES = ("hailo_sdk_client", "hailo_platform")


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hailo's packages are importable: their stand-ins, here and in processes that are started."""
    _forget()
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DOUBLES), str(ROOT)]))
    yield
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in _PACKAGES]:
        del sys.modules[name]
