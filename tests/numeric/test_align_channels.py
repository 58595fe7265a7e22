"""Padding channels keeps the function: over random networks, over real ones, and a wrong index map does not pass."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irkit import (
    Context,
    Inference,
    Model,
    Plan,
    apply_plan,
    dumps,
    get_pass,
    layer_costs,
    load,
    parse_model,
    plan_channels,
    print_model,
    run_passes,
    total_cost,
)
from irkit.channels import apply
from irkit.channels.operators import channel_axis
from irkit.channels.trace import PadConstant
from irkit.executor import open_session
from irkit.pipeline import run_pipeline
from irkit.proof import ProofVerdict
from irkit.target import load_target
from tests.numeric.channel_nets import random_net

BATCHES = 20
NETS = 2000
SEEDS = [range(start, start + NETS // BATCHES) for start in range(0, NETS, NETS // BATCHES)]

BEFORE = [
    "inline-functions", "static-shapes", "fold-constants", "remove-identity", "unpack-sequences", "merge-duplicates",
    "fold-batchnorm", "remove-dead",
]  # fmt: skip

CNNS = (
    "squeezenet1_1__ts13", "oddresnet__ts11-bn", "oddresnet_se__ts17-bn-db", "resnet18_w20__ts13-bn",
    "mobilenetv3_half__ts13-half-bn", "squeezenet_ext__dyn18-ext", "conv_ae__dyn18-bn", "dcgan__ts17-bn",
    "edsr_tiny__ts13", "edsr_tiny__dyn18-db", "imu__ts13-bn", "imu__dyn20-bn-db", "dscnn_kws_w36__ts17-bn",
    "gutenye_cls_op9", "ppocrv2_cls",
    "ch_attention__ts17-bn", "ch_concat_odd__dyn18-bn", "ch_layernorm__ts17-bn", "ch_pixelshuffle__dyn18-bn",
    "lcnet_050__ts17-bn-db", "shufflenet_v2_x1_0__dyn18-bn", "ssdlite320__ts13-bn", "bn_convtranspose_groups__dyn18-bn",
    "bn_shared_weight__ts13-bn",
)  # fmt: skip


def outputs(model: Model, feeds: dict[str, Any]) -> list[Any]:
    found = open_session(model).run(feeds)
    return [found[value.name] for value in model.graph.outputs]


def worst(before: list[Any], after: list[Any]) -> float:
    """Largest difference relative to the largest finite magnitude; infinite where NaN or Inf stand elsewhere."""
    found = 0.0
    for a, b in zip(before, after, strict=True):
        finite = np.isfinite(a)
        if a.shape != b.shape or not np.array_equal(finite, np.isfinite(b)):
            return np.inf
        if finite.any():
            scale = float(np.abs(a[finite]).max()) or 1.0
            found = max(found, float(np.abs(a[finite].astype(np.float64) - b[finite]).max()) / scale)
    return found


def image(seed: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).standard_normal((1, 3, 4, 5)).astype(np.float32)}


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"from{seeds.start}")
def test_random_networks_compute_the_same(seeds: range) -> None:
    grown = 0
    for seed in seeds:
        model = random_net(seed)
        before = outputs(model, image(seed))
        plan = plan_channels(model.graph, 8, opset=17)
        apply_plan(plan)
        assert worst(before, outputs(model, image(seed))) < 1e-5, f"seed {seed}"
        assert not plan_channels(model.graph, 8, opset=17).sizes, f"seed {seed}: a second run would change it"
        grown += bool(plan.sizes)
    assert grown > 0.7 * len(seeds), "too few networks were padded for the test to say much"


@pytest.mark.parametrize("multiple", [16, 32])
def test_other_multiples(multiple: int) -> None:
    for seed in range(60):
        model = random_net(seed)
        before = outputs(model, image(seed))
        plan = plan_channels(model.graph, multiple, opset=17)
        apply_plan(plan)
        assert worst(before, outputs(model, image(seed))) < 1e-5, f"seed {seed}"


def test_a_wrong_index_map_changes_the_result() -> None:
    """In each edit of weights in turn, two channels of the layout it follows are swapped."""
    tried = caught = 0
    for seed in range(40):
        for number in range(len(plan_channels(random_net(seed).graph, 8, opset=17).trace.edits)):
            model = random_net(seed)
            before = outputs(model, image(seed))
            plan = plan_channels(model.graph, 8, opset=17)
            if not with_swapped_lanes(plan, number):
                continue
            apply_plan(plan)
            tried += 1
            caught += worst(before, outputs(model, image(seed))) > 1e-5
    assert tried > 100
    assert caught > 0.9 * tried, f"{caught} of {tried}: more than dead channels explain"


def with_swapped_lanes(plan: Plan, number: int) -> bool:
    """Let one edit follow a wrong layout; whether it is an edit of weights that can be wrong."""
    edit = plan.trace.edits[number]
    layout = plan.layouts.get(edit.follows) if isinstance(edit, PadConstant) else None
    if not isinstance(edit, PadConstant) or edit.slot != 1 or layout is None or (layout >= 0).sum() < 2:
        return False
    wrong = layout.copy()
    first, last = np.flatnonzero(layout >= 0)[[0, -1]]
    wrong[first], wrong[last] = wrong[last], wrong[first]
    key = (edit.node, 99)
    plan.layouts[key] = wrong  # type: ignore[index]  # a plan's layouts are a dict that callers only read
    plan.trace.edits[number] = dataclasses.replace(edit, follows=key)
    return True


@functools.cache
def manifest(corpus: Path) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads((corpus / "manifest.json").read_text())["models"]}


def prepared(corpus: Path, name: str) -> tuple[Model, dict[str, Any], float]:
    """The corpus model as align-channels meets it, its inputs, and the tolerance."""
    if str(corpus) not in sys.path:
        sys.path.append(str(corpus))
    import corpus_io

    entry = manifest(corpus)[name]
    model = load(corpus / entry["file"])
    shapes = {item["name"]: tuple(item["run_shape"]) for item in entry["inputs"]}
    passes = [get_pass(item, **({"shapes": shapes} if item == "static-shapes" else {})) for item in BEFORE]
    run_passes(model, passes, verify="none")
    return model, corpus_io.make_inputs(entry), max(1e-4, 10 * (entry["ort_opt_rel_diff"] or 0.0))


def unaligned(model: Model, multiple: int) -> set[str]:
    """Outputs of layers whose channels are no multiple."""
    found = set()
    for node in model.graph:
        axis = channel_axis(node)
        size = (node.output.shape or ())[axis] if axis is not None else multiple
        if isinstance(size, int) and size % multiple:
            found.add(node.output.name)
    return found


@pytest.mark.parametrize("name", CNNS)
def test_networks_of_the_corpus(corpus: Path, name: str) -> None:
    model, feeds, tolerance = prepared(corpus, name)
    before = outputs(model, feeds)
    context = Context(pass_name="align-channels")
    get_pass("align-channels").run(model, context)
    assert worst(before, outputs(model, feeds)) < tolerance
    notes = context.notes.get("align-channels", [])
    named = {note.partition(":")[0] for note in notes if "channels stay as they are" in note}
    assert unaligned(model, 8) <= named, "a dimension is no multiple of 8, and nobody says why"
    again = dumps(model)
    get_pass("align-channels").run(model, Context(pass_name="align-channels"))
    assert dumps(model) == again


@pytest.mark.parametrize(
    "name",
    ["resnet18_w20__ts13-bn", "shufflenet_v2_x1_0__dyn18-bn", "oddresnet_se__ts17-bn-db", "ch_concat_odd__dyn18-bn"],
)
def test_nothing_is_left_but_the_outputs(corpus: Path, name: str) -> None:
    model, _, _ = prepared(corpus, name)
    assert unaligned(model, 8)
    get_pass("align-channels").run(model, Context(pass_name="align-channels"))
    left = unaligned(model, 8) - {value.name for value in model.graph.outputs}
    assert not left


def test_max_growth_leaves_out_exactly_what_exceeds_it(corpus: Path) -> None:
    model, _, _ = prepared(corpus, "oddresnet__ts11-bn")
    limit = 1.3
    context = Context(pass_name="align-channels")
    get_pass("align-channels", max_growth=limit).run(model, context)
    notes = context.notes["align-channels"]
    named = {note.partition(":")[0] for note in notes if "max_growth" in note}
    assert named
    for node in model.graph:
        axis = channel_axis(node)
        size = (node.output.shape or ())[axis] if axis is not None else None
        if isinstance(size, int) and size % 8 and not node.output.is_graph_output:
            assert node.output.name in named
    again = dumps(model)
    get_pass("align-channels", max_growth=limit).run(model, Context(pass_name="align-channels"))
    assert dumps(model) == again


def test_the_cost_is_told() -> None:
    model = random_net(3)
    before = total_cost(layer_costs(model.graph))
    context = Context(pass_name="align-channels")
    get_pass("align-channels").run(model, context)
    after = total_cost(layer_costs(model.graph))
    (line,) = [note for note in context.notes["align-channels"] if note.startswith("in total")]
    assert f"MACs {before.macs:,} -> {after.macs:,}" in line
    assert (after.macs > 1.3 * before.macs or after.weight_bytes > 1.3 * before.weight_bytes) == bool(context.findings)


def test_a_network_that_would_leave_the_single_context_stays_as_it_is() -> None:
    """25 million parameters, and a threshold that padding 4,998 channels to 5,000 would cross."""
    text = """
    graph(%x: float32[1,5000]) -> (%y) {
      %w: float32[5000,4998] = splat(0.01)
      %v: float32[4998,8] = splat(0.01)
      %a = MatMul(%x, %w) @wide
      %y = MatMul(%a, %v) @narrow
    }
    """
    target = load_target("hailo8")
    fact = target.facts.single_context_parameters
    assert fact is not None
    below = dataclasses.replace(
        target,
        facts=dataclasses.replace(target.facts, single_context_parameters=dataclasses.replace(fact, value=25_030_000)),
    )
    model = parse_model(text)
    Inference.of(model).update()
    before = print_model(model)
    context = Context(target=below, pass_name="align-channels")
    get_pass("align-channels").run(model, context)
    assert [finding.rule for finding in context.findings] == ["padding-leaves-single-context"]
    assert print_model(model) == before
    get_pass("align-channels", force=True).run(model, Context(target=below, pass_name="align-channels"))
    assert model.graph.node("wide").output.shape == (1, 5000)


def test_the_pipeline_proves_padded_values_at_their_own_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A padding that puts two channels in each other's place is caught, named and taken back; a right one is proven."""
    right = run_pipeline(random_net(3), [get_pass("align-channels")])
    assert right.passes[0].changed
    assert [proof.verdict for proof in right.proofs] == [ProofVerdict.PROVEN]

    real = apply.padded

    def swapped(data: Any, paddings: Any) -> Any:
        (axis, layout, fill), *others = paddings
        places = np.flatnonzero(layout >= 0)
        wrong = layout.copy()
        if data.rank == 4 and len(places) > 1:
            wrong[places[[0, -1]]] = layout[places[[-1, 0]]]
        return real(data, [(axis, wrong, fill), *others])

    monkeypatch.setattr(apply, "padded", swapped)
    wrong = run_pipeline(random_net(3), [get_pass("align-channels")])
    assert [taken.pass_name for taken in wrong.taken_back] == ["align-channels"]
    assert not wrong.passes[0].changed
