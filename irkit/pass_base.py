"""What a pass is: a named, typed transformation with a declared effect.

A pass is a frozen dataclass whose fields are its options. `define_pass` gives it a name and an effect; it registers
nothing: the library collects passes from the files it loads.

    @irkit.define_pass("remove-dead", effect="exact")
    class RemoveDead(irkit.Pass):
        \"\"\"Remove nodes whose outputs nothing reads.\"\"\"

        def run(self, model: irkit.Model, context: irkit.Context) -> None: ...
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, overload

from irkit.diagnostics import Finding, Location, Severity
from irkit.errors import InputError, OptionError
from irkit.foreign import LABEL, VIEWS, run_on_view

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    from irkit.infer import Inference
    from irkit.ir import Node
    from irkit.merging import Region
    from irkit.model import Model
    from irkit.target import Target
else:

    def dataclass_transform(**_: object) -> Callable[[Any], Any]:
        """Only type checkers need to be told."""
        return lambda decorator: decorator


class Effect(enum.Enum):
    """What a pass may do to the function of a model."""

    EXACT = "exact"
    """Nothing but float noise."""
    APPROXIMATE = "approximate"
    """A bounded, measured change."""
    RETRAIN = "retrain"
    """A change that wants fine-tuning, such as GELU to ReLU."""


@dataclass
class Context:
    """What a run gives to its passes, and what they give back.

    Attributes:
        target: the chip the model is prepared for, or None.
        findings: what passes have to tell the user; see `warn`.
        notes: facts for the report, by pass name.
        protected: names of values that no rewrite may remove or move over (a declared cut).
        samples: gives inputs of the user's for the model as it stands, (N, ...) by name; None where there are none.
        banned: (rule, root node name) of rewrites that were proven wrong and must not be made again.
        refusals: why rules refused, by root node name.
        moved: where a pass that changes the shape of interior values has put their elements, so that the proof can
            compare them: value name -> dimension -> new index of each old one. A value given an empty mapping changed
            its shape in another way, and is not compared.
        pass_name: the pass that runs.
        inference: types and known values of the model, where each rewrite is to be held against them.
        update_types: call it to bring the types of values up to date after edits; the pipeline does so between passes.
    """

    target: Target | None = None
    findings: list[Finding] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    samples: Callable[[Model], Mapping[str, Any] | None] | None = None
    banned: set[tuple[str, str]] = field(default_factory=set)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    moved: dict[str, Mapping[int, Sequence[int]]] = field(default_factory=dict)
    pass_name: str = ""
    inference: Inference | None = None
    update_types: Callable[[], None] = lambda: None

    def note(self, text: str) -> None:
        """A fact about what the running pass did, for the report."""
        self.notes.setdefault(self.pass_name, []).append(text)

    def find(
        self,
        code: str,
        rule: str,
        message: str,
        node: Node | None = None,
        severity: Severity = Severity.ERROR,
        advice: str = "",
    ) -> None:
        """Tell the user of something that the running pass could not do, or had to do, at a node."""
        place = (node.name, node.op_id, Location.of(node)) if node is not None else ("", "", Location())
        self.findings.append(Finding(code, rule, severity, message, place[0], place[1], False, place[2], advice))

    def refuse(self, rule: str, root: str, reason: str) -> None:
        """Record why a rule left a place alone."""
        reasons = self.refusals.setdefault(root, [])
        text = f"{rule}: {reason}"
        if text not in reasons:
            reasons.append(text)

    @contextmanager
    def rewriting(self, model: Model, rule: str, root: str = "") -> Iterator[bool]:
        """Group the edits made inside as one rewrite, which proof and bisection can name and take back.

        Yields False where this rewrite is banned; then the block must do nothing.
        """
        with model.journal.group(self.pass_name, rule, root):
            yield (rule, root) not in self.banned


class Pass:
    """Base of all passes; see the module's docstring. Subclasses are made by `define_pass` or `irkit.rewrite`."""

    name: ClassVar[str] = ""
    effect: ClassVar[Effect] = Effect.EXACT
    when: ClassVar[Any] = ""
    """The targets it is for; "" for all."""
    source: ClassVar[str] = ""
    """File the pass was loaded from; the library fills it in."""

    def run(self, model: Model, context: Context) -> None:
        """Transform the model in place, by edits of the IR only."""
        raise NotImplementedError(f"pass {self.name!r} has no run method")

    def place(self, rule: str = "") -> str:  # noqa: ARG002  # passes made of rules tell them apart
        """`FILE:LINE` where what it does is written; "" where that is not known."""
        code = getattr(inspect.unwrap(type(self).run), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""

    def repeated(self) -> Pass:
        """The pass as it runs when passes go round again: itself, unless an option was a wish that is met by now."""
        return self

    def explain(self, model: Model, context: Context, node: Node) -> str:  # noqa: ARG002  (for those that override it)
        """Why the pass left a node alone, for `irkit optimize --why`; "" where it has nothing to say of it.

        Passes of rules need not: their patterns and refusals tell. Nothing may be edited in here.
        """
        return ""

    @classmethod
    def summary(cls) -> str:
        """First line of its documentation."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def option_fields(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Its options: fields of the dataclass."""
        return dataclasses.fields(cls)  # type: ignore[arg-type]  # define_pass makes every pass a dataclass

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Pass:
        """An instance with these options. Raises `OptionError` that lists the valid ones."""
        known = {item.name for item in cls.option_fields()}
        for name in options:
            if name not in known:
                valid = ", ".join(sorted(known)) or "none"
                raise OptionError(f"pass {cls.name!r} has no option {name!r}; its options: {valid}")
        try:
            return cls(**options)
        except InputError:
            raise
        except Exception as error:  # its own `__post_init__`
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f":{frame.lineno}" for frame in reversed(frames) if frame.filename == cls.source), "")
            what = f"it does not take these options: {type(error).__name__}: {error}"
            raise OptionError(f"pass {cls.name!r} ({cls.source}{place}): {what}") from error

    @classmethod
    def definition_problem(cls) -> str:
        """What is wrong with how the class is written, or "". `define_pass` asks for it."""
        return ""

    def __str__(self) -> str:
        fields = [(item.name, getattr(self, item.name), item) for item in self.option_fields()]
        changed = [f"{name}={value}" for name, value, item in fields if value != _default(item)]
        return self.name + (f"{{{','.join(changed)}}}" if changed else "")


AnyPass = TypeVar("AnyPass", bound=Pass)


class Decorator(Protocol):
    """What `define_pass` returns: makes a pass of a class or of a function."""

    @overload
    def __call__(self, item: type[AnyPass]) -> type[AnyPass]: ...
    @overload
    def __call__(self, item: Callable[..., Any]) -> type[Pass]: ...
    def __call__(self, item: Any) -> Any:
        """The pass."""


_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def is_pass_name(name: str) -> bool:
    """Whether a pass may be called that: words of small letters and digits, with hyphens between them."""
    return bool(_KEBAB.fullmatch(name))


@dataclass_transform(frozen_default=True)
def define_pass(
    name: str, *, effect: str | Effect = Effect.EXACT, model_as: str = "irkit", when: Any = ""
) -> Decorator:
    """Make a pass of a class with a method `run(self, model, context)`, or of a function of a model (and a context).

    The class becomes a frozen dataclass whose fields are the options of the pass; the options of a function are its
    keyword-only parameters.

    Args:
        name: in kebab case, such as "fold-batchnorm".
        effect: what it may do to what the model computes: exact, approximate or retrain.
        model_as: what it gets as the model: "irkit", or "onnx" (a ModelProto), "graphsurgeon" (an onnx_graphsurgeon
            Graph), "onnx_ir" (an onnx_ir Model) or "networkx" (see `irkit.to_networkx`). Of all but irkit's, it may
            return another one; what it changed is brought over, and each place that changed is proven by itself.
        when: the targets it is for; see `irkit.Rule`.

    Raises `OptionError` where a name, a docstring or an argument is not as it must be.
    """
    require_pass_name(name)
    if effect not in [item.value for item in Effect] and not isinstance(effect, Effect):
        raise OptionError(f"pass {name!r}: effect is one of exact, approximate, retrain; found {effect!r}")
    if model_as not in VIEWS:
        raise OptionError(f"pass {name!r}: model_as is one of {', '.join(VIEWS)}; found {model_as!r}")

    def decorate(item: Any) -> Any:
        if not item.__doc__:
            raise OptionError(f"pass {name!r} needs a docstring: its first line is shown by `irkit passes`")
        cls = item if isinstance(item, type) else _class_of(name, item)
        function = getattr(cls, "run", None)
        if function in (None, Pass.run) or not issubclass(cls, Pass):
            raise OptionError(
                f"pass {name!r}: a class derives from irkit.Pass and has a method `run(self, model, context)`"
            )
        written = inspect.unwrap(function)
        if inspect.isgeneratorfunction(written) or inspect.iscoroutinefunction(written):
            raise OptionError(f"pass {name!r}: `run` is an ordinary function, without yield and async")
        made = with_options(name, cls)
        if problem := made.definition_problem():
            raise OptionError(f"pass {name!r}: {problem}")
        made.name, made.effect, made.when = name, Effect(effect), when
        if model_as != "irkit":
            made.run = _on_view(model_as, function, written)  # type: ignore[method-assign]
        return made

    return decorate


def require_pass_name(name: object) -> None:
    """Raise `OptionError` for what is no name of a pass, such as the class itself under a bare `@irkit.rewrite`."""
    if not isinstance(name, str):
        raise OptionError(f"give the pass a name in brackets, as in ('fold-batchnorm'); found {name!r}")
    if not is_pass_name(name):
        raise OptionError(f"a pass name is kebab-case, such as 'fold-batchnorm'; found {name!r}")


def with_options(name: str, cls: type[AnyPass]) -> type[AnyPass]:
    """The class as a frozen dataclass. Raises `OptionError` where a field cannot be an option."""
    try:
        made = dataclass(frozen=True)(cls)
    except (TypeError, ValueError) as error:
        raise OptionError(f"pass {name!r}: its options: {error}") from error
    for item in dataclasses.fields(made):  # type: ignore[arg-type]  # just made one
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise OptionError(f"pass {name!r}: the option {item.name!r} needs a default")
        if hasattr(Pass, item.name):
            raise OptionError(f"pass {name!r}: no option can be called {item.name!r}, which means something for a pass")
    return made


def _class_of(name: str, function: Callable[..., Any]) -> type[Pass]:
    """A class whose `run` calls the function, with a field for each keyword-only parameter."""
    if not inspect.isfunction(function):
        raise OptionError(f"pass {name!r} is made of a class or a function; found {function!r}")
    parameters = list(inspect.signature(function).parameters.values())
    given = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    options = [item for item in parameters if item.kind is item.KEYWORD_ONLY]
    if len(given) not in (1, 2) or len(given) + len(options) != len(parameters):
        raise OptionError(f"pass {name!r}: the function takes (model) or (model, context), and options behind a `*`")

    @functools.wraps(function)
    def run(self: Pass, model: Any, context: Context) -> Any:
        return function(*(model, context)[: len(given)], **{item.name: getattr(self, item.name) for item in options})

    body: dict[str, Any] = {item.name: _field(item.default) for item in options if item.default is not item.empty}
    annotations = {
        item.name: type(item.default) if item.annotation is item.empty else item.annotation for item in options
    }
    body.update(run=run, __doc__=function.__doc__, __module__=function.__module__, __annotations__=annotations)
    return type(function.__name__, (Pass,), body)


def _field(default: Any) -> Any:
    """What a class says of an option with this default; each pass gets a list of its own."""
    return field(default_factory=lambda: copy.copy(default)) if isinstance(default, (list, dict, set)) else default


def _on_view(view: str, call: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., None]:
    """A `run` that lends the model out."""

    @functools.wraps(call)
    def run(self: Pass, model: Model, context: Context) -> None:
        @contextmanager
        def group(region: Region) -> Iterator[bool]:
            lost = region.lost & context.protected
            if lost:
                context.refuse(LABEL, region.root, f"the value {min(lost)!r} is kept by the declared cut")
            with context.rewriting(model, LABEL, region.root) as allowed:
                yield allowed and not lost

        run_on_view(model, self.name, view, lambda lent: call(self, lent, context), function, group)

    return run


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
