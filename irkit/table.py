"""The format of a rule table: what may stand in a file of rules/, as dataclasses.

`rules/README.md` explains it to those who write one. `irkit.target` reads it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Scalar: TypeAlias = bool | int | float | str
Version: TypeAlias = tuple[int, ...]


class Status(str, enum.Enum):
    """What the compiler does with an operator, a form of it, or a pattern."""

    SUPPORTED = "supported"
    PARTIAL = "partial"
    """Some forms are taken, others refused."""
    PATTERN = "pattern"
    """Taken only as part of a recognised pattern."""
    CONSTANT_ONLY = "constant-only"
    """Taken only where it folds to a constant."""
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class Confidence(str, enum.Enum):
    """How sure a table is. Only what is high leads to an error."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class SourceKind(str, enum.Enum):
    """What kind of witness a source is."""

    OFFICIAL = "official"
    MAINTAINER = "maintainer"
    LOG = "log"
    MEASURED = "measured"
    NOTE = "note"
    DERIVED = "derived"
    CONVENTION = "convention"


@dataclass(frozen=True)
class VersionRange:
    """Compiler versions, written `>=3.30,<4`; the empty range text means every version."""

    text: str = ""
    bounds: tuple[tuple[str, Version], ...] = ()

    @classmethod
    def from_toml(cls, value: Any) -> VersionRange:
        """Parse the text form. Raises `ValueError`."""
        if not isinstance(value, str) or not value.strip():
            raise ValueError("must be a range of versions such as `>=3.30,<4`")
        return cls(value, tuple(_bound(part.strip()) for part in value.split(",")))

    def __contains__(self, version: Version) -> bool:
        return all(_COMPARE[operator](_order(version, bound)) for operator, bound in self.bounds)

    def __str__(self) -> str:
        return self.text


EVERY_VERSION = VersionRange()
_COMPARE: dict[str, Any] = {
    ">=": lambda order: order >= 0,
    "<=": lambda order: order <= 0,
    "==": lambda order: order == 0,
    ">": lambda order: order > 0,
    "<": lambda order: order < 0,
}


def _bound(text: str) -> tuple[str, Version]:
    operator = next((operator for operator in _COMPARE if text.startswith(operator)), None)
    if operator is None:
        raise ValueError("must be a range of versions such as `>=3.30,<4`")
    return operator, parse_version(text[len(operator) :].strip())


def _order(a: Version, b: Version) -> int:
    width = max(len(a), len(b))
    padded_a, padded_b = (version + (0,) * (width - len(version)) for version in (a, b))
    return (padded_a > padded_b) - (padded_a < padded_b)


def parse_version(text: str) -> Version:
    """`3.33.1` as numbers. Raises `ValueError`."""
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"`{text}` is not a version such as 3.33")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class Source:
    """A public source that evidence refers to by its key.

    `where`: what it is and where to find it. `dfc`: the compiler version it speaks of, as text. `chips`: the chips it
    speaks of; empty where it does not say.
    """

    where: str
    kind: SourceKind
    dfc: str = ""
    chips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What a source says of the matter, in our words."""

    source: str
    says: str


@dataclass(frozen=True)
class NumberTest:
    """Tests of numbers; those given must all hold for each of them."""

    one_of: tuple[float, ...] = ()
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class AttributeTest:
    """Tests of one attribute; those given must all hold. Lists are tested element by element.

    An attribute that a node leaves out has the default of its operator's schema; where that has none, only `present`
    is tested. `equal`: whether all elements of a list are the same.
    """

    present: bool | None = None
    one_of: tuple[Scalar, ...] = ()
    min: float | None = None
    max: float | None = None
    equal: bool | None = None


@dataclass(frozen=True)
class Condition:
    """Tests of one node; those given must all hold. A test about a fact that is not known is neither true nor false.

    Axes count from 0, negative ones from the end, and mean axes of the ONNX tensor (input 0), so 0 is the batch.

    Attributes:
        rank: rank of input 0. out_rank: rank of output 0. ranks: input number -> ranks it may have, if it is there.
        same_rank: whether all inputs that are not constants have one rank.
        one_sided: whether of the first two inputs only one is stretched to the shape of the result.
        stretched: the axes along which a computed one of the first two inputs is stretched to the shape of the result,
            as one of these sets, axes of size 1 not counted; nothing need be stretched.
        same_heads: whether the axes before the last two of the first two inputs are the same.
        constant_fits: whether the constant one of the first two inputs is a number, one a channel, or as large as the
            other, in the chip's order of axes.
        channels_first: whether input 0 surely has its channels as axis 1, as maps of convolutions have.
        axis, axis_not: attribute `axis`.
        axes: the set of axes worked on (attribute or constant input), as one of these sets. axes_not: none of these.
        perm: attribute `perm` of a Transpose, one of these.
        steps: steps of a Slice along the axes it cuts, each one of these.
        space: how many positions input 0 has, all sizes behind axis 1 multiplied, one of these.
        growth: how many times as long the axes are that are longer or shorter than those of input 0.
        constant, variable: numbers of inputs that are (or are not) constants, if they are there at all.
        left_out: numbers of inputs that are not there.
        values: input number -> the values that each number of a constant there may have.
        attributes: attribute name -> tests.
        dtype, out_dtype: element type of input 0 and output 0: `float`, `integer`, or a name such as `bool`, `int64`.
        is_output: whether output 0 is an output of the graph.
    """

    rank: tuple[int, ...] = ()
    out_rank: tuple[int, ...] = ()
    ranks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    same_rank: bool | None = None
    one_sided: bool | None = None
    stretched: tuple[tuple[int, ...], ...] = ()
    same_heads: bool | None = None
    constant_fits: bool | None = None
    channels_first: bool | None = None
    axis: tuple[int, ...] = ()
    axis_not: tuple[int, ...] = ()
    axes: tuple[tuple[int, ...], ...] = ()
    axes_not: tuple[int, ...] = ()
    perm: tuple[tuple[int, ...], ...] = ()
    steps: tuple[int, ...] = ()
    space: tuple[int, ...] = ()
    growth: NumberTest | None = None
    constant: tuple[int, ...] = ()
    variable: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    attributes: Mapping[str, AttributeTest] = field(default_factory=dict)
    dtype: tuple[str, ...] = ()
    out_dtype: tuple[str, ...] = ()
    is_output: bool | None = None

    def __post_init__(self) -> None:
        for name, by_input in (("values", self.values), ("ranks", self.ranks)):
            for index in by_input:
                if not index.isdigit():
                    raise ValueError(f"`{name}` goes by the number of the input; found `{index}`")

    @functools.cached_property
    def given(self) -> tuple[tuple[str, Any], ...]:
        """The tests that are given, by name."""
        pairs = ((item.name, getattr(self, item.name)) for item in dataclasses.fields(self))
        return tuple((name, wanted) for name, wanted in pairs if wanted not in (None, ()) and wanted != {})


ALWAYS = Condition()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that is known of the target: how surely, where from, and what to do about it."""

    confidence: Confidence
    evidence: tuple[Evidence, ...]
    advice: str = ""


RULE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Judgement(Fact):
    """A fact that a lint rule reports.

    `rule`: the name of the rule that reports it, in place of the one that reports all facts of its kind. `repaired_by`:
    the pass that sees to it.
    """

    rule: str = ""
    repaired_by: str = ""

    def __post_init__(self) -> None:
        if self.rule and not RULE_NAME.fullmatch(self.rule):
            raise ValueError(f"`rule` is the name of a lint rule, such as wide-concat; found `{self.rule}`")


@dataclass(frozen=True)
class Need(Judgement):
    """A condition that nodes of an operator must meet, where `when` holds."""

    must: Condition
    when: Condition = ALWAYS
    dfc: VersionRange = EVERY_VERSION


@dataclass(frozen=True)
class Form(Judgement):
    """A way to use an operator that has a verdict of its own; the first form whose `when` holds decides.

    `silent`: it is accepted and computes something else.
    """

    name: str
    when: Condition
    status: Status
    silent: bool = False
    dfc: VersionRange = EVERY_VERSION


@dataclass(frozen=True)
class Operator(Judgement):
    """What is known of an operator. `layer`: the name of what it becomes in the compiler's own format."""

    status: Status
    layer: str = ""
    silent: bool = False
    patterns: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    forms: tuple[Form, ...] = ()
    dfc: VersionRange = EVERY_VERSION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.status is Status.PATTERN and not self.patterns:
            raise ValueError("status `pattern` needs `patterns`, the names of those it is taken in")


@dataclass(frozen=True)
class Family(Judgement):
    """Operators of which one thing is known, or presumed: it counts for those without an entry of their own."""

    status: Status
    operators: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.status is Status.PATTERN:
            raise ValueError("status `pattern` is for single operators, each with its `patterns`")

    def operator(self) -> Operator:
        """The entry of each of them."""
        return Operator(
            self.status,
            confidence=self.confidence,
            evidence=self.evidence,
            advice=self.advice,
            rule=self.rule,
            repaired_by=self.repaired_by,
        )


PATTERNS = frozenset({
    "attention", "attention-module", "attention-of-keras", "attention-of-one-head", "behind-recurrence",
    "behind-selection", "box-distribution", "channels-last-block", "classifier-flatten", "dense-norm", "dense-rows",
    "flattened-logits", "flattened-tail", "format-change", "gelu-erf", "gelu-erf-halved-first",
    "gelu-erf-reordered", "gelu-tanh", "group-norm", "hard-swish", "l2-normalize", "l2-normalize-rows",
    "layer-norm", "layer-norm-map", "map-dense", "map-of-tokens", "norm-rows", "one-hot", "quick-gelu",
    "recurrent-direction", "repeat-heads", "rms-norm", "rope", "sequence-first", "sequence-flatten", "shuffle",
    "silu", "softmax", "squeeze-excite", "token-mixing", "token-pooling", "tokens", "unfold", "unshuffle",
    "width-softmax", "window-partition", "yolo-head",
})  # fmt: skip
"""The groups of operators that irkit recognises in a graph (see `irkit.checks.patterns`), by name."""


@dataclass(frozen=True)
class Pattern(Judgement):
    """What is known of a group of operators that the compiler takes, or refuses, as one."""

    status: Status
    dfc: VersionRange = EVERY_VERSION


@dataclass(frozen=True)
class NumberFact(Fact):
    """A number that is known of the target."""

    value: int


@dataclass(frozen=True)
class NumbersFact(Fact):
    """A list of numbers that is known of the target."""

    value: tuple[int, ...]


@dataclass(frozen=True)
class TextsFact(Fact):
    """A list of words that is known of the target."""

    value: tuple[str, ...]


@dataclass(frozen=True)
class FlagFact(Fact):
    """A yes or no that is known of the target."""

    value: bool


@dataclass(frozen=True)
class Facts:
    """What is known of the target as a whole.

    Attributes:
        opset: the opset to hand over. opset_min: the lowest that is known to work.
        ir_version: the newest ONNX IR version its tools read.
        batch: the batch size it takes. static_shapes: whether every shape must be a number.
        tensor_ranks: ranks that tensors within the graph may have, where something is computed of them.
        input_ranks: ranks that an input of the graph may have. input_types: its element types.
        channel_multiple: channel counts are wished to be a multiple of this.
        single_context_parameters: no network with more weights than this is known to run without reloading weights.
        layer_outputs: no layer with more output features is known to be compiled.
        layer_outputs_refused: a layer with as many output features, or more, is known to be too big.
        layer_inputs, layer_inputs_refused: the same of input features, of layers on tokens.
        layer_weights: no layer with more weights is known to be compiled.
        attention_sum: no product of two activations over more positions is known to be compiled.
        attention_scores, attention_scores_refused: the same of the scores of an attention.
        patches, patches_refused: the same of the patches that an image is taken apart into.
        row_size: no convolution on rows of more numbers (columns times channels) is known to be compiled.
        concat_inputs: no Concat of more tensors is known to be compiled.
        pool_area: over more pixels than this, official scripts split a global average.
        activation_size: no tensor of more elements is known in a network that is compiled.
        conv_kernels, conv_strides: sizes along one axis that are known of convolutions, patches not counted.
        conv_pad_differences: how much more padding is known behind an axis than before it.
        calibration_count: with fewer calibration samples the compiler lowers its optimization level.
        calibration_default: how many samples it uses where the model script does not say.
        calibration_types: element types of a calibration set.
        calibration_layout: what the axes of a calibration array are, in order.
        input_range_ratio: channels of an input whose ranges differ by more than this lose accuracy on one common scale.
        unsigned_activations: whether activations are quantized to unsigned numbers with a zero point.
        end_nodes_by_name: whether a cut is told by names of nodes, not of tensors.
        compiler_machines: machines that the compiler runs on.
        tool_commands: subcommands of its command-line tool.
    """

    opset: NumberFact | None = None
    opset_min: NumberFact | None = None
    ir_version: NumberFact | None = None
    batch: NumberFact | None = None
    static_shapes: FlagFact | None = None
    input_ranks: NumbersFact | None = None
    tensor_ranks: NumbersFact | None = None
    input_types: TextsFact | None = None
    channel_multiple: NumberFact | None = None
    single_context_parameters: NumberFact | None = None
    layer_outputs: NumberFact | None = None
    layer_outputs_refused: NumberFact | None = None
    attention_scores: NumberFact | None = None
    attention_scores_refused: NumberFact | None = None
    attention_sum: NumberFact | None = None
    layer_inputs: NumberFact | None = None
    layer_inputs_refused: NumberFact | None = None
    layer_weights: NumberFact | None = None
    patches: NumberFact | None = None
    patches_refused: NumberFact | None = None
    row_size: NumberFact | None = None
    concat_inputs: NumberFact | None = None
    pool_area: NumberFact | None = None
    activation_size: NumberFact | None = None
    conv_kernels: NumbersFact | None = None
    conv_strides: NumbersFact | None = None
    conv_pad_differences: NumbersFact | None = None
    calibration_count: NumberFact | None = None
    calibration_default: NumberFact | None = None
    calibration_types: TextsFact | None = None
    calibration_layout: TextsFact | None = None
    input_range_ratio: NumberFact | None = None
    unsigned_activations: FlagFact | None = None
    end_nodes_by_name: FlagFact | None = None
    compiler_machines: TextsFact | None = None
    tool_commands: TextsFact | None = None


@dataclass(frozen=True)
class Pipeline:
    """What `irkit optimize` runs for the target, in order. `retrain`: those of effect retrain that run unasked."""

    passes: tuple[str, ...] = ()
    retrain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.retrain:
            if name not in self.passes:
                raise ValueError(f"`retrain` names `{name}`, which is not among `passes`")
        if len(set(self.passes)) != len(self.passes):
            raise ValueError("`passes` names a pass twice")


@dataclass(frozen=True)
class Addition:
    """Forms and needs of an operator besides the inherited ones. These forms are tried before those."""

    forms: tuple[Form, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A file of facts that refines a target, entry by entry.

    Attributes: `add`: by operator, what comes to the entry there is. `without`: facts of the target that do not hold.
    """

    facts: Facts = Facts()
    pipeline: Pipeline = Pipeline()
    sources: Mapping[str, Source] = field(default_factory=dict)
    op: Mapping[str, Operator] = field(default_factory=dict)
    family: Mapping[str, Family] = field(default_factory=dict)
    add: Mapping[str, Addition] = field(default_factory=dict)
    pattern: Mapping[str, Pattern] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table(Overlay):
    """One file of rules/. `inherits` names the table that this one refines, as an overlay does.

    Attributes:
        name: the target, as the file is named.
        description: one line for listings.
        inherited_confidence: the most that inherited entries count, where they speak of another compiler line.
        dfc: the compiler versions the table speaks of. dfc_default: the one meant where a user names none.
    """

    name: str
    description: str
    inherits: str = ""
    inherited_confidence: Confidence = Confidence.HIGH
    dfc: VersionRange = EVERY_VERSION
    dfc_default: str = ""
