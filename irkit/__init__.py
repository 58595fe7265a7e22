"""irkit: rewrites exported ONNX models until the Hailo Dataflow Compiler can take them, and proves what it did.

    model = irkit.load("model.onnx")
    report = irkit.lint(model, target="hailo8")
    result = irkit.optimize(model, target="hailo8")
    irkit.save(model, "better.onnx")

The names below are the public API, and all that a pass may import; docs/api.md lists them by what they are for. They
are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from irkit.version import __version__ as __version__

if TYPE_CHECKING:
    from irkit.affine import (
        ARITHMETIC_OPS as ARITHMETIC_OPS,
        LINEAR_OPS as LINEAR_OPS,
        Affine as Affine,
        BatchNorm as BatchNorm,
        Linear as Linear,
        read_affine as read_affine,
        read_arithmetic as read_arithmetic,
        read_batchnorm as read_batchnorm,
        read_linear as read_linear,
    )
    from irkit.attributes import Attr as Attr, AttrKind as AttrKind
    from irkit.binding import (
        Bindings as Bindings,
        batch_obstacle as batch_obstacle,
        bind_inputs as bind_inputs,
        is_named_dim as is_named_dim,
        tensor_inputs as tensor_inputs,
    )
    from irkit.bisection import (
        Bisection as Bisection,
        Culprit as Culprit,
        bisect as bisect,
        reduce_pipeline as reduce_pipeline,
        write_culprit as write_culprit,
    )
    from irkit.builder import Builder as Builder
    from irkit.bundle import write_bundle as write_bundle
    from irkit.channels.apply import apply_plan as apply_plan
    from irkit.channels.cost import Cost as Cost, layer_costs as layer_costs, total_cost as total_cost
    from irkit.channels.plan import Plan as Plan, plan_channels as plan_channels
    from irkit.compiler import OptimizeResult as OptimizeResult, optimize as optimize
    from irkit.config import Settings as Settings, Suppression as Suppression, find_settings as find_settings
    from irkit.diagnostics import Finding as Finding, Location as Location, Report as Report, Severity as Severity
    from irkit.diffing import Change as Change, GraphDiff as GraphDiff, diff as diff
    from irkit.editing import (
        insert_after as insert_after,
        insert_before as insert_before,
        remove_node as remove_node,
        replace_node as replace_node,
        replace_subgraph as replace_subgraph,
    )
    from irkit.elementwise import Region as Region, is_elementwise as is_elementwise, regions as regions
    from irkit.errors import (
        GraphError as GraphError,
        InputError as InputError,
        IrkitError as IrkitError,
        ModelError as ModelError,
        OptionError as OptionError,
        PassError as PassError,
        UserPassError as UserPassError,
    )
    from irkit.extracting import extract as extract, extract_nodes as extract_nodes
    from irkit.fold import (
        can_evaluate as can_evaluate,
        data_slots as data_slots,
        evaluate as evaluate,
        is_exact as is_exact,
    )
    from irkit.folding import (
        fold_shape_arithmetic as fold_shape_arithmetic,
        replace_by_constants as replace_by_constants,
        take_known_branches as take_known_branches,
    )
    from irkit.hailo.dfc_events import DfcEvent as DfcEvent, DfcLog as DfcLog
    from irkit.hailo.dfc_log import DfcLogReader as DfcLogReader, read_dfc_log as read_dfc_log
    from irkit.hailo.emulation.emulate import Precisions as Precisions
    from irkit.hailo.emulation.measure import Emulation as Emulation, emulate as emulate
    from irkit.hailo.equipment import Equipment as Equipment
    from irkit.hailo.hef.contents import Hef as Hef
    from irkit.hailo.hef.reader import read_hef as read_hef
    from irkit.hailo.preprocessing import Preprocessing as Preprocessing
    from irkit.history import Entry as Entry, History as History
    from irkit.identities import (
        constant_integers as constant_integers,
        identity_source as identity_source,
        permutation as permutation,
    )
    from irkit.infer import (
        Inference as Inference,
    )
    from irkit.inlining import (
        called_function as called_function,
        called_functions as called_functions,
        inline_branch as inline_branch,
        inline_call as inline_call,
    )
    from irkit.ir import Graph as Graph, Node as Node, NodeExtra as NodeExtra, Use as Use, Value as Value
    from irkit.library import all_passes as all_passes, get_pass as get_pass
    from irkit.linting import lint as lint
    from irkit.matcher import Match as Match
    from irkit.model import Function as Function, Model as Model
    from irkit.onnx.interop import (
        from_graphsurgeon as from_graphsurgeon,
        from_networkx as from_networkx,
        from_onnx_ir as from_onnx_ir,
        from_proto as from_proto,
        to_graphsurgeon as to_graphsurgeon,
        to_networkx as to_networkx,
        to_onnx_ir as to_onnx_ir,
        to_proto as to_proto,
    )
    from irkit.onnx.reader import load as load, loads as loads
    from irkit.onnx.writer import dumps as dumps, save as save
    from irkit.ops import (
        attribute as attribute,
        is_commutative as is_commutative,
        is_deterministic as is_deterministic,
        is_random as is_random,
        parameter_slots as parameter_slots,
        schema as schema,
        schema_of as schema_of,
    )
    from irkit.opsets.converter import (
        OLDEST_OPSET as OLDEST_OPSET,
        convert_node as convert_node,
        needs_conversion as needs_conversion,
        newest_opset as newest_opset,
    )
    from irkit.opsets.step import ConversionError as ConversionError
    from irkit.outcome import command_check as command_check
    from irkit.pass_base import Context as Context, Effect as Effect, Pass as Pass, define_pass as define_pass
    from irkit.pattern import OpPattern as OpPattern, Pattern as Pattern, PatternOps as PatternOps
    from irkit.pipeline import run_passes as run_passes
    from irkit.reduction import Reduction as Reduction, reduce as reduce
    from irkit.refusal import Refusal as Refusal, refuse as refuse
    from irkit.rewrite_rule import Rule as Rule, rule as rule
    from irkit.rewriter import (
        RewritePass as RewritePass,
        apply_rules as apply_rules,
        find as find,
        rewrite as rewrite,
    )
    from irkit.structure import difference as difference, equal as equal, structural_hash as structural_hash
    from irkit.target import Target as Target, load_target as load_target, target_names as target_names
    from irkit.tensor import SparseTensor as SparseTensor, Tensor as Tensor
    from irkit.text import parse_model as parse_model, print_graph as print_graph, print_model as print_model
    from irkit.tracing import Step as Step
    from irkit.types import (
        DType as DType,
        MapType as MapType,
        OpaqueType as OpaqueType,
        OptionalType as OptionalType,
        SequenceType as SequenceType,
        SparseTensorType as SparseTensorType,
        TensorType as TensorType,
    )
    from irkit.verifier import verify as verify
    from irkit.why import NearMiss as NearMiss, near_misses as near_misses

_MODULES = {
    "affine": [
        "ARITHMETIC_OPS", "LINEAR_OPS", "Affine", "BatchNorm", "Linear", "read_affine", "read_arithmetic",
        "read_batchnorm", "read_linear",
    ],
    "attributes": ["Attr", "AttrKind"],
    "binding": ["Bindings", "batch_obstacle", "bind_inputs", "is_named_dim", "tensor_inputs"],
    "bisection": ["Bisection", "Culprit", "bisect", "reduce_pipeline", "write_culprit"],
    "builder": ["Builder"],
    "bundle": ["write_bundle"],
    "channels.apply": ["apply_plan"],
    "channels.cost": ["Cost", "layer_costs", "total_cost"],
    "channels.plan": ["Plan", "plan_channels"],
    "compiler": ["OptimizeResult", "optimize"],
    "config": ["Settings", "Suppression", "find_settings"],
    "diagnostics": ["Finding", "Location", "Report", "Severity"],
    "diffing": ["Change", "GraphDiff", "diff"],
    "editing": ["insert_after", "insert_before", "remove_node", "replace_node", "replace_subgraph"],
    "elementwise": ["Region", "is_elementwise", "regions"],
    "errors": ["GraphError", "InputError", "IrkitError", "ModelError", "OptionError", "PassError", "UserPassError"],
    "extracting": ["extract", "extract_nodes"],
    "fold": ["can_evaluate", "data_slots", "evaluate", "is_exact"],
    "folding": ["fold_shape_arithmetic", "replace_by_constants", "take_known_branches"],
    "history": ["Entry", "History"],
    "hailo.dfc_events": ["DfcEvent", "DfcLog"],
    "hailo.emulation.emulate": ["Precisions"],
    "hailo.emulation.measure": ["Emulation", "emulate"],
    "hailo.equipment": ["Equipment"],
    "hailo.hef.contents": ["Hef"],
    "hailo.hef.reader": ["read_hef"],
    "hailo.preprocessing": ["Preprocessing"],
    "hailo.dfc_log": ["DfcLogReader", "read_dfc_log"],
    "identities": ["constant_integers", "identity_source", "permutation"],
    "infer": ["Inference"],
    "inlining": ["called_function", "called_functions", "inline_branch", "inline_call"],
    "ir": ["Graph", "Node", "NodeExtra", "Use", "Value"],
    "library": ["all_passes", "get_pass"],
    "linting": ["lint"],
    "matcher": ["Match"],
    "model": ["Function", "Model"],
    "ops": ["attribute", "is_commutative", "is_deterministic", "is_random", "parameter_slots", "schema", "schema_of"],
    "onnx.interop": [
        "from_graphsurgeon", "from_networkx", "from_onnx_ir", "from_proto", "to_graphsurgeon", "to_networkx",
        "to_onnx_ir", "to_proto",
    ],
    "onnx.reader": ["load", "loads"],
    "onnx.writer": ["dumps", "save"],
    "opsets.converter": ["OLDEST_OPSET", "convert_node", "needs_conversion", "newest_opset"],
    "opsets.step": ["ConversionError"],
    "outcome": ["command_check"],
    "pass_base": ["Context", "Effect", "Pass", "define_pass"],
    "pattern": ["OpPattern", "Pattern", "PatternOps"],
    "pipeline": ["run_passes"],
    "refusal": ["Refusal", "refuse"],
    "rewrite_rule": ["Rule", "rule"],
    "reduction": ["Reduction", "reduce"],
    "rewriter": ["RewritePass", "apply_rules", "find", "rewrite"],
    "structure": ["difference", "equal", "structural_hash"],
    "target": ["Target", "load_target", "target_names"],
    "tensor": ["SparseTensor", "Tensor"],
    "text": ["parse_model", "print_graph", "print_model"],
    "tracing": ["Step"],
    "types": [
        "DType", "MapType", "OpaqueType", "OptionalType", "SequenceType", "SparseTensorType", "TensorType",
    ],
    "verifier": ["verify"],
    "why": ["NearMiss", "near_misses"],
}  # fmt: skip

_HOME = {name: f"irkit.{module}" for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'irkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
