"""Lint the networks of Hailo's Model Zoo, rebuilt from public packages, and write the figures as docs/zoo_lint.md.

A lint is worth as much as what it says of networks whose fate is known. Hailo compiles the networks below: the first
group whole, the second up to the end nodes that the Model Zoo names. They are rebuilt with random weights by timm,
torchvision, ultralytics and yolox, exported by both exporters of torch, and linted:

- of a network that is compiled whole, nothing may be an error, and at most 5 % of the nodes may be unknown
- of one that is cut, errors may stand behind the end nodes only, and at least one must

    pip install torch onnx onnxscript timm torchvision
    pip install --no-deps ultralytics pixeltable-yolox
    python scripts/zoo_lint.py [NETWORK ...] [--write docs/zoo_lint.md] [--keep FOLDER]

Exits with 1 where a network breaks a rule, with 2 where a package is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import io
import logging
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import irkit
from irkit.checks.judge import verdicts
from irkit.checks.reading import users
from irkit.diagnostics import Location, Severity
from irkit.subject import Subject
from irkit.table import Confidence, Status

IMAGE = (1, 3, 224, 224)
MOST_UNKNOWN = 0.05
"""Share of the nodes of a network that is compiled whole of which the lint may say that it does not know."""

EXPORTERS = ("torchscript 17", "torchscript 11", "dynamo 18")
"""Exporters of torch and opsets."""

HEAD_EXPORTERS = ("torchscript 17", "dynamo 18")


@dataclass(frozen=True)
class Network:
    """A network of the Model Zoo and how to rebuild it.

    Attributes:
        zoo: its name in the Model Zoo. package: what rebuilds it. build: makes the module.
        shape: of its input.
        ends: where the zoo cuts it: the modules whose last convolution is an end node, `module:Op` where that is an
            activation behind it.
    """

    zoo: str
    package: str
    build: Callable[[], Any]
    shape: tuple[int, ...] = IMAGE
    ends: tuple[str, ...] = ()
    exporters: tuple[str, ...] = EXPORTERS


def _timm(zoo: str, name: str, **options: Any) -> Network:
    def build() -> Any:
        _torchvision_models()
        import timm

        module = timm.create_model(name, pretrained=False, exportable=True, **options)
        for part in module.modules():  # the fused operator hides the attention that Hailo's files spell out
            if hasattr(part, "fused_attn"):
                part.fused_attn = False
        return module

    return Network(zoo, "timm", build)


def _torchvision(zoo: str, name: str, shape: tuple[int, ...] = IMAGE, **options: Any) -> Network:
    def build() -> Any:
        models = _torchvision_models()
        return getattr(models.video if name == "r3d_18" else models, name)(weights=None, **options)

    return Network(zoo, "torchvision", build, shape)


def _torchvision_models() -> Any:
    """torchvision.models, also where its compiled operators do not fit the torch that is there: they are not used."""
    import torch

    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import torchvision.models

    return torchvision.models


def _ultralytics(zoo: str, config: str, ends: tuple[str, ...], size: int = 640) -> Network:
    def build() -> Any:
        _torchvision_models()
        from ultralytics import YOLO

        module = YOLO(config).model
        head = module.model[-1]
        if getattr(head, "one2one_cv2", None) is not None:
            module.end2end = True  # keeps the head that Hailo compiles
        module = module.fuse(verbose=False)
        head.export, head.format, head.dynamic = True, "onnx", False
        return module

    return Network(zoo, "ultralytics", build, (1, 3, size, size), ends, HEAD_EXPORTERS)


def _yolox(zoo: str, depth: float, width: float, act: str, size: int) -> Network:
    def build() -> Any:
        _torchvision_models()
        from yolox.models import YoloPafpn, YoloxHead, YoloxModule

        channels = (256, 512, 1024)
        head = YoloxHead(80, width, in_channels=channels, act=act)
        head.decode_in_inference = False
        return YoloxModule(YoloPafpn(depth, width, in_channels=channels, act=act), head)

    ends = (
        *(f"head.reg_preds.{scale}" for scale in range(3)),
        *(f"head.{part}_preds.{scale}:Sigmoid" for part in ("obj", "cls") for scale in range(3)),
    )
    return Network(zoo, "pixeltable-yolox", build, (1, 3, size, size), ends, HEAD_EXPORTERS)


def _scales(prefix: str, parts: Iterable[str]) -> tuple[str, ...]:
    """`model.22.cv2.0.2` and so on: the last convolution of each branch on each of three scales."""
    return tuple(f"{prefix}.{part}.{scale}.2" for scale in range(3) for part in parts)


WHOLE = (
    _torchvision("resnet_v1_18", "resnet18"),
    _torchvision("resnet_v1_50", "resnet50"),
    _torchvision("mobilenet_v2_1.0", "mobilenet_v2"),
    _torchvision("mobilenet_v3", "mobilenet_v3_large"),
    _torchvision("squeezenet_v1.1", "squeezenet1_1"),
    _torchvision("inception_v1", "googlenet", aux_logits=False, init_weights=False),
    _torchvision("resnext50_32x4d", "resnext50_32x4d"),
    _torchvision("regnetx_800mf", "regnet_x_800mf"),
    _torchvision("regnetx_1.6gf", "regnet_x_1_6gf"),
    _torchvision("r3d_18", "r3d_18", (1, 3, 16, 112, 112)),
    _timm("mobilenet_v1", "mobilenetv1_100"),
    _timm("repvgg_a1", "repvgg_a1"),
    _timm("efficientnet_lite0", "tf_efficientnet_lite0"),
    _timm("efficientnet_lite4", "tf_efficientnet_lite4"),
    _timm("efficientnet_s", "efficientnet_es"),
    _timm("efficientnet_m", "efficientnet_em"),
    _timm("vit_tiny", "vit_tiny_patch16_224"),
    _timm("vit_small", "vit_small_patch16_224"),
    _timm("deit_tiny", "deit_tiny_patch16_224"),
    _timm("swin_tiny", "swin_tiny_patch4_window7_224"),
    _timm("davit_tiny", "davit_tiny"),
    _timm("levit128", "levit_128"),
    _timm("levit256", "levit_256"),
    _timm("efficientformer_l1", "efficientformer_l1"),
    _timm("fastvit_sa12", "fastvit_sa12"),
    _timm("repghost_1_0x", "repghostnet_100"),
    _timm("resmlp12_relu", "resmlp_12_224"),
    _timm("clip_vit_b_32_image_encoder", "vit_base_patch32_clip_quickgelu_224"),
    _timm("siglip_b_16_image_encoder", "vit_base_patch16_siglip_224"),
)
"""Networks of which Hailo compiles every node."""

CUT = (
    _ultralytics("yolov8n", "yolov8n.yaml", _scales("model.22", ("cv2", "cv3"))),
    _ultralytics("yolov8n_seg", "yolov8n-seg.yaml", _scales("model.22", ("cv2", "cv3", "cv4"))),  # proto: an output
    _ultralytics("yolov8s_pose", "yolov8s-pose.yaml", _scales("model.22", ("cv2", "cv3", "cv4"))),
    _ultralytics("yolov9c", "yolov9c.yaml", _scales("model.22", ("cv2", "cv3"))),
    _ultralytics("yolov10n", "yolov10n.yaml", _scales("model.23", ("one2one_cv2", "one2one_cv3"))),
    _ultralytics("yolov11n", "yolo11n.yaml", _scales("model.23", ("cv2", "cv3"))),
    _ultralytics("yolo26n", "yolo26n.yaml", _scales("model.23", ("one2one_cv2", "one2one_cv3"))),
    _yolox("yolox_tiny", 0.33, 0.375, "silu", 416),
    _yolox("yolox_s_leaky", 0.33, 0.5, "lrelu", 640),
)
"""Networks that Hailo cuts before a detection head's decoding."""


@dataclass(frozen=True)
class Row:
    """What the lint said of one export.

    Attributes:
        nodes: how many the chip would have to run, without those behind a cut.
        unknown, partial, weak: how many of them are of unknown fate, not known to be a form that is taken, taken on
            weak evidence.
        errors: findings at error level on those nodes, or on the whole model. cut: errors behind the cut.
        left: nodes behind the cut.
    """

    network: Network
    exporter: str
    nodes: int
    unknown: int
    partial: int
    weak: int
    errors: tuple[str, ...]
    cut: int
    left: int

    @property
    def problem(self) -> str:
        """What breaks the rules; "" where nothing does."""
        if self.errors:
            return f"{len(self.errors)} errors where Hailo compiles: {', '.join(self.errors[:3])}"
        if self.network.ends and not self.cut:
            return "nothing said of the part that Hailo cuts off"
        if self.unknown > MOST_UNKNOWN * self.nodes:
            return f"{self.unknown} of {self.nodes} nodes are unknown"
        return ""


def export(network: Network, exporter: str, module: Any, folder: Path) -> Path:
    """The network as ONNX; what is in the folder already is not made again."""
    import torch

    kind, opset = exporter.split()
    path = folder / f"{network.zoo}__{kind}{opset}.onnx"
    if not path.exists():
        inputs = torch.zeros(network.shape)
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            module(inputs)  # heads of ultralytics make their grid in the first run
            torch.onnx.export(
                module, (inputs,), str(path), opset_version=int(opset), dynamo=kind == "dynamo", input_names=["input"]
            )
    return path


def lint(network: Network, exporter: str, path: Path, target: str) -> Row:
    """What the lint says of an export."""
    chip = irkit.load_target(target)
    with irkit.load(path) as model:
        findings = [item for item in irkit.lint(model, chip).findings if item.severity is Severity.ERROR]
        with model.trial():
            subject = Subject(model, chip)
            left = _behind(subject, network.ends)
            kept = [(node, verdict) for node, verdict in verdicts(subject) if node not in left]
            names = {node.name for node in left}
    statuses = Counter(verdict.status for _, verdict in kept)
    weak = sum(verdict.status is Status.SUPPORTED and verdict.confidence is Confidence.LOW for _, verdict in kept)
    errors = tuple(f"{item.code} {item.node}" for item in findings if item.node not in names)
    in_cut = sum(item.node in names for item in findings)
    partial = statuses[Status.PARTIAL] + statuses[Status.PATTERN]
    unknown = statuses[Status.UNKNOWN]
    return Row(network, exporter, len(kept), unknown, partial, weak, errors, in_cut, len(left))


def _behind(subject: Subject, ends: Iterable[str]) -> set[Any]:
    """The nodes behind the end nodes."""
    pending = [_end(subject, end) for end in ends]
    found: set[Any] = set()
    while pending:
        for user in (user for output in pending.pop().outputs for user in users(subject, output)):
            if user not in found:
                found.add(user)
                pending.append(user)
    return found


def _end(subject: Subject, end: str) -> Any:
    """The node of an end: the last convolution of a module, or the operator that follows it."""
    module, _, op = end.partition(":")
    inside = [node for node in subject.nodes if f"{Location.of(node).module}.".startswith(f"{module}.")]
    node = [node for node in inside if node.op == "Conv"][-1]
    while op and node.op != op:
        readers = users(subject, node.output)
        node = next((reader for reader in readers if reader.op == op), readers[0])
    return node


def page(rows: list[Row], target: str) -> str:
    """The figures as a page of Markdown."""
    packages = ("torch", "timm", "torchvision", "ultralytics", "pixeltable-yolox")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    lines = [
        "# What the lint says of networks whose fate is known",
        "",
        f"Networks that Hailo compiles, rebuilt with random weights and linted for {target}. Written by",
        "`scripts/zoo_lint.py --write docs/zoo_lint.md`; do not edit.",
        "",
        f"Made with {versions}.",
        "",
        *_summary(rows),
        "",
        "`unknown`: nodes of which no public source tells whether they are taken. `partial`: nodes that are taken in",
        "some forms, and not known to be among them. `weak`: taken, on weak evidence.",
        "",
        "## Compiled whole: no error, at most 5 % unknown",
        "",
        "| network | exporter, opset | nodes | errors | unknown | partial | weak |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *(_whole_line(row) for row in rows if not row.network.ends),
        "",
        "## Cut by Hailo before the decoding of detections: errors there, and only there",
        "",
        "| network | exporter, opset | nodes kept | errors | unknown | partial | weak | nodes cut off | errors there |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(f"{_whole_line(row)} {row.left} | {row.cut} |" for row in rows if row.network.ends),
    ]
    return "\n".join(lines) + "\n"


def _summary(rows: list[Row]) -> Iterator[str]:
    """The worst figures of each group."""
    whole, cut = ([row for row in rows if bool(row.network.ends) is has_ends] for has_ends in (False, True))
    for group, text in ((whole, "compiled whole"), (cut, "cut before a detection head's decoding")):
        networks = {row.network.zoo for row in group}
        most = max((row.unknown / row.nodes for row in group), default=0.0)
        errors = sum(len(row.errors) for row in group)
        yield f"- {len(networks)} networks {text}, {len(group)} exports: {errors} errors on nodes that Hailo compiles,"
        yield f"  at most {most:.1%} of a network unknown"
    missed = [row for row in cut if not row.cut]
    yield f"- of the parts that are cut off, {len(cut) - len(missed)} of {len(cut)} have errors"


def _whole_line(row: Row) -> str:
    shares = (f"{count / row.nodes:.1%}" for count in (row.unknown, row.partial, row.weak))
    return f"| {row.network.zoo} | {row.exporter} | {row.nodes} | {len(row.errors)} | {' | '.join(shares)} |"


def measure(networks: Iterable[Network], folder: Path, target: str) -> Iterator[Row]:
    """Build, export and lint one network after the other."""
    for network in networks:
        module = network.build().eval()
        for exporter in network.exporters:
            yield lint(network, exporter, export(network, exporter, module, folder), target)
        del module
        gc.collect()


def missing_packages(networks: Iterable[Network]) -> list[str]:
    """Packages that the networks need and that are not installed."""
    needed = {"torch", "onnxscript", *(network.package for network in networks)}
    present = {found.metadata["Name"] for found in importlib.metadata.distributions()}
    return sorted(needed - present)


def main() -> int:
    """Measure, print, and write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names of the Model Zoo (default: all)")
    parser.add_argument("--target", default="hailo8")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the exports, and take those that are there")
    options = parser.parse_args()
    wanted = [item for item in (*WHOLE, *CUT) if not options.networks or item.zoo in options.networks]
    missing = missing_packages(wanted)
    if missing or not wanted:
        sys.stderr.write(f"not installed: {', '.join(missing)}\n" if missing else "no such network\n")
        return 2
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows = []
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for row in measure(wanted, folder, options.target):
            rows.append(row)
            behind = f" cut off {row.left}, errors there {row.cut}" * bool(row.network.ends)
            sys.stdout.write(f"{_whole_line(row)}{behind} {row.problem}\n")
    if options.write is not None:
        options.write.write_text(page(rows, options.target), encoding="utf-8")
    return int(any(row.problem for row in rows))


if __name__ == "__main__":
    sys.exit(main())
