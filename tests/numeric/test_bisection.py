"""Bisecting a pipeline: the first bad pass, the fewest of its rewrites, the smallest model, and what shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import irkit
from irkit import Context, Culprit, Model, OptionError, Pass, define_pass, load
from irkit.errors import OutputError
from irkit.executor import open_session
from irkit.structure import structural_hash
from tests.numeric.planting import Spoil
from tests.numeric.test_pipeline import chain

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

RIGHT = Spoil(also="Relu")


def culprit_of(model: Model, *passes: str | Pass, **options: object) -> Culprit:
    found = irkit.bisect(model, pipeline=passes, **options).culprit  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("place", [0, 3, 5])
def test_the_wrong_rewrite_of_many_is_found_and_a_model_of_one_node_shows_it(place: int) -> None:
    found = culprit_of(chain(), "name-nodes", RIGHT, Spoil(wrong=f"conv{place}", also="Conv"), "remove-dead")
    assert found.item.wrong == f"conv{place}"  # type: ignore[attr-defined]
    assert (found.problem.kind, found.rewrites, found.of) == ("wrong", (("copy", f"conv{place}"),), 6)
    assert [node.name for node in found.reduction.model.graph] == [f"conv{place}"]
    assert found.small.kind == "wrong"


def test_what_is_written_shows_the_difference(tmp_path: Path) -> None:
    found = culprit_of(chain(), Spoil(wrong="conv2", also="Conv"))
    folder = irkit.write_culprit(found, tmp_path / "culprit")
    feeds = dict(np.load(folder / "inputs.npz"))
    with load(folder / "before.onnx") as before, load(folder / "after.onnx") as after:
        results = [open_session(model).run(feeds) for model in (before, after)]
    assert set(feeds) == set(found.feeds)
    name = next(iter(results[0]))
    assert not np.allclose(results[0][name], results[1][name], rtol=1e-2)
    told = json.loads((folder / "culprit.json").read_text(encoding="utf-8"))
    assert told["rewrites"] == [{"rule": "copy", "node": "conv2"}]
    assert told["source"].startswith(str(Path(__file__).with_name("planting.py")))
    assert told["reduced"]["nodes"] == 1


def test_a_folder_is_replaced_only_when_it_is_ours_and_force_says_so(tmp_path: Path) -> None:
    found = culprit_of(chain(2), Spoil(wrong="conv0", also="Conv"))
    folder = irkit.write_culprit(found, tmp_path / "culprit")
    with pytest.raises(OutputError, match="--force replaces it"):
        irkit.write_culprit(found, folder)
    irkit.write_culprit(found, folder, force=True)
    (folder / "mine.txt").touch()
    with pytest.raises(OutputError, match="which irkit did not write"):
        irkit.write_culprit(found, folder, force=True)
    assert (folder / "mine.txt").exists()


@define_pass("in-concert", effect="exact")
class InConcert(Pass):
    """Wrong only where two of its rewrites were made: the one at `first` makes that at `second` go wrong."""

    first: str = "conv1"
    second: str = "conv4"

    def run(self, model: Model, context: Context) -> None:
        armed = False
        for node in model.graph:
            with context.rewriting(model, "touch", node.name) as allowed:
                if not allowed or node.op != "Conv":
                    continue
                armed = armed or node.name == self.first
                node.set_attr("pads", [0, 0, 0, 0])
                if armed and node.name == self.second:
                    node.set_attr("dilations", [1, 1])
                    Spoil(wrong=node.name).run(model, context)


def test_rewrites_that_are_wrong_only_together_are_both_told() -> None:
    found = culprit_of(chain(), InConcert())
    assert found.rewrites is not None
    assert {("touch", "conv1"), ("touch", "conv4")} <= set(found.rewrites)
    assert len(found.rewrites) < found.of


@define_pass("crash", effect="exact")
class Crash(Pass):
    """Fails where there is an operator."""

    op: str = "Relu"

    def run(self, model: Model, context: Context) -> None:
        for node in model.graph:
            if node.op == self.op:
                raise KeyError(node.name)


def test_a_pass_that_fails_is_bad_and_the_smallest_model_makes_it_fail() -> None:
    found = culprit_of(chain(), "name-nodes", Crash())
    assert (found.item.name, found.problem.kind, found.rewrites) == ("crash", "failed", None)
    assert "KeyError" in found.problem.text
    assert [node.op for node in found.reduction.model.graph] == ["Relu"]
    assert (found.feeds, found.after) == ({}, None)


@define_pass("ungrouped", effect="exact")
class Ungrouped(Pass):
    """Wrong, and its edits are in no rewrite."""

    def run(self, model: Model, context: Context) -> None:
        for node in model.graph:
            if node.op == "Relu":
                node.set_op("Abs")


def test_a_pass_that_tells_no_rewrites_is_found_as_a_whole() -> None:
    found = culprit_of(chain(), Ungrouped())
    assert (found.rewrites, found.of) == (None, 0)
    assert [node.op for node in found.reduction.model.graph] == ["Relu"]


@define_pass("rough", effect="approximate")
class Rough(Ungrouped):
    """The same, declared as what it is."""


def test_a_pass_that_may_change_the_function_is_not_blamed_for_it() -> None:
    found = irkit.bisect(chain(), pipeline=[Spoil(also="Conv"), Rough()])
    assert found.culprit is None
    assert found.passes == ("spoil",)
    assert found.unproven == (("rough", "it is declared approximate, so it may change the function"),)


def test_the_default_pipeline_is_right() -> None:
    found = irkit.bisect(chain(3))
    assert (found.culprit, found.unproven) == (None, ())


def test_a_check_of_the_users_own() -> None:
    def check(path: Path) -> str:
        with load(path) as model:
            return "has an Abs" if any(node.op == "Abs" for node in model.graph) else ""

    found = culprit_of(chain(), RIGHT, Rough(), check=check)
    assert (found.item.name, found.problem.kind, found.problem.text) == ("rough", "bad", "has an Abs")
    assert [node.op for node in found.reduction.model.graph] == ["Relu"]
    with pytest.raises(OptionError, match="before any pass ran: no pass is to blame"):
        irkit.bisect(chain(), pipeline=[RIGHT], check=lambda _: "always")


def test_reducing_a_model_while_a_pipeline_goes_wrong_on_it() -> None:
    found = irkit.reduce_pipeline(chain(), pipeline=["name-nodes", Spoil(wrong="conv2", also="Conv")])
    assert found.outcome == "spoil: wrong"
    assert [node.name for node in found.model.graph] == ["conv2"]
    with pytest.raises(OptionError, match="nothing wrong"):
        irkit.reduce_pipeline(chain(), pipeline=["name-nodes"])


def test_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    irkit.save(chain(2), path)
    before = path.read_bytes()
    assert irkit.bisect(path, pipeline=[Spoil(wrong="conv1")]).culprit is not None
    assert path.read_bytes() == before


def test_two_searches_find_the_same() -> None:
    first, second = (culprit_of(chain(), Spoil(wrong="conv1,conv4", also="Conv")) for _ in range(2))
    assert first.rewrites == second.rewrites
    assert structural_hash(first.reduction.model) == structural_hash(second.reduction.model)
