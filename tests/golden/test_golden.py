"""Each pass does to each golden case what the case says, by structure and by numbers, and nothing when run again."""

from __future__ import annotations

import pytest

from irkit import Effect, print_model
from irkit.testing import different, run_pass
from irkit.verifier import verify
from tests.golden.cases import FOLDER, Case

CASES = [Case.read(path) for path in sorted(FOLDER.glob("*/*.irkit"))]
RUNNABLE = [case for case in CASES if "not run" not in case.header]


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_structure(case: Case, update_golden: bool) -> None:
    model = case.model()
    verify(model)
    context = run_pass(case.make_pass(), model)
    verify(model)
    after = case.text(model, context)
    if update_golden:
        case.write(after)
    else:
        assert after == case.after


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_again_changes_nothing(case: Case) -> None:
    model = case.model()
    run_pass(case.make_pass(), model)
    once = print_model(model)
    run_pass(case.make_pass(), model)
    assert print_model(model) == once


@pytest.mark.parametrize("case", RUNNABLE, ids=names(RUNNABLE))
def test_numbers(case: Case) -> None:
    model, item = case.model(), case.make_pass()
    run_pass(item, model)
    is_exact = item.effect is Effect.EXACT  # else the function may change, but there must be one
    assert different(case.model(), model, numbers=is_exact) == ""
