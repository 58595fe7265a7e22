"""Grow channel dimensions to a multiple, such that the network computes the same.

    Conv 3 -> 20, Conv 20 -> 30    becomes    Conv 3 -> 24, Conv 24 -> 32

    y = W x + b  with rows of zeros added to W and b gives channels that are zero;
    the next layer gets columns of zeros for them, so what they hold never matters as long as it is finite.

What grows together is worked out by `irkit.channels`: branches that are added, parts of a Concat or Split, groups,
shuffles, flattened features. Inputs and outputs of the network keep their shapes. Where channels cannot be added (a
Softmax or a mean over them, attention heads, a result that would be Inf or NaN) they stay, and the reason is told.

That channels should be multiples of 8 is a convention of users and common advice; no gain on Hailo-8 is publicly known.
"""

import fnmatch
from collections.abc import Callable, Mapping

import irkit


@irkit.define_pass("align-channels", effect="exact")
class AlignChannels(irkit.Pass):
    """Pad interior channel dimensions to a multiple (8), with the function unchanged.

    Options:
        multiple: what channel counts become multiples of; 0 takes the target's (8 where it says nothing).
        max_growth: leave channels alone whose own count c would grow more than this: ceil(c/m)*m/c; 0: no limit.
        only, skip: names of layers (shell patterns) to pad, or to leave alone.
        force: also pad a network that padding pushes over the chip's single-context size.
    """

    multiple: int = 0
    max_growth: float = 0.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        if self.multiple < 0 or self.max_growth < 0:
            raise irkit.OptionError("align-channels: multiple and max_growth cannot be negative")

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        """Plan for the main graph, and carry it out unless the network would no longer fit."""
        multiple = self.multiple or _fact(context, "channel_multiple") or 8
        plan = irkit.plan_channels(
            model.graph, multiple, opset=model.opset, keep=context.protected, exclude=self._reason(multiple)
        )
        if plan.sizes:
            self._carry_out(plan, model, context)
        for (value, _), reason in plan.barriers.items():
            context.note(f"{value.name}: channels stay as they are: {reason}")

    def _carry_out(self, plan: irkit.Plan, model: irkit.Model, context: irkit.Context) -> None:
        graph = model.graph
        before = irkit.layer_costs(graph)
        mark = model.journal.position
        with context.rewriting(model, "align-channels") as allowed:
            if not allowed:
                return
            irkit.apply_plan(plan)
        after = irkit.layer_costs(graph)
        limit = _fact(context, "single_context_parameters")
        old, new = irkit.total_cost(before), irkit.total_cost(after)
        if limit and old.parameters <= limit < new.parameters and not self.force:
            model.journal.undo_to(mark)
            context.find(
                "IRK040", "padding-leaves-single-context",
                f"channels are not aligned: {old.parameters:,} parameters would become {new.parameters:,}, over the"
                f" {limit:,} that are known to fit one context, and several contexts cost several times the speed",
                severity=irkit.Severity.WARNING,
                advice="align it all the same with --pass 'align-channels{force=true}'",
            )  # fmt: skip
            return
        for value in plan.grown_values:
            context.moved[value.name] = plan.places(value)
        _tell(context, before, after)

    def _reason(self, multiple: int) -> Callable[[irkit.Node, int], str | None]:
        def reason(node: irkit.Node, channels: int) -> str | None:
            growth = -(-channels // multiple) * multiple / channels
            if self.max_growth and growth > self.max_growth:
                limit = f"over max_growth={self.max_growth:g}"
                return f"{channels} channels of {node.name} would grow {growth:.2f} times, {limit}"
            if self.only and not _matches(node, self.only):
                return f"{node.name} is not among the layers asked for"
            return f"{node.name} is to be skipped" if _matches(node, self.skip) else None

        return reason


def _matches(node: irkit.Node, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(node.name, pattern) for pattern in patterns)


def _fact(context: irkit.Context, name: str) -> int:
    fact = getattr(context.target.facts, name, None) if context.target is not None else None
    return int(fact.value) if fact is not None else 0


def _tell(context: irkit.Context, before: Mapping[str, irkit.Cost], after: Mapping[str, irkit.Cost]) -> None:
    """The cost, by layer and in total."""
    old, new = irkit.total_cost(before), irkit.total_cost(after)
    text = f"{_change('MACs', old.macs, new.macs)}, {_change('weight bytes', old.weight_bytes, new.weight_bytes)}"
    context.note(f"in total: {text}")
    context.note("multiples are a convention of users; no gain on Hailo-8 is publicly known")
    for name, cost in after.items():
        if cost != before[name]:
            context.note(f"{name}: {_change('MACs', before[name].macs, cost.macs)}, "
                         f"{_change('weight bytes', before[name].weight_bytes, cost.weight_bytes)}")  # fmt: skip
    if new.macs > 1.3 * old.macs or new.weight_bytes > 1.3 * old.weight_bytes:
        context.find(
            "IRK041", "padding-is-costly", f"aligning channels costs much: {text}",
            severity=irkit.Severity.WARNING,
            advice="limit it with --pass 'align-channels{max_growth=1.3}', or --skip align-channels",
        )  # fmt: skip


def _change(what: str, old: int, new: int) -> str:
    return f"{what} {old:,} -> {new:,} ({(new - old) / max(old, 1):+.1%})"
