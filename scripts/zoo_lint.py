"""Lint the networks of Hailo's Model Zoo, rebuilt from public packages, and write the figures as docs/zoo_lint.md.

A lint is worth as much as what it says of networks whose fate is known. Hailo compiles the networks below: the first
group whole, the second up to the end nodes that the Model Zoo names. They are rebuilt with random weights by timm,
torchvision, ultralytics and yolox, exported by both exporters of torch, and linted:

- of a network that is compiled whole, nothing may be an error, and at most 5 % of the nodes may be unknown (HAI102)
- of one that is cut, errors may stand behind the end nodes only, and at least one must

    pip install torch onnx onnxscript timm torchvision
    pip install --no-deps ultralytics pixeltable-yolox
    python scripts/zoo_lint.py [NETWORK ...] [--write docs/zoo_lint.md] [--keep FOLDER]

Exits with 1 where a network breaks a rule, and names what is missing where a package is not installed.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import irkit
from irkit.diagnostics import Location, Severity
from irkit.ir import Node
from irkit.linter import Subject
from irkit.target import load_target

IMAGE = (1, 3, 224, 224)
MOST_UNKNOWN = 0.05
"""Share of the nodes of a network that is compiled whole of which the lint may say that it does not know."""

EXPORTERS = ("torchscript 17", "torchscript 11", "dynamo 18")
HEAD_EXPORTERS = ("torchscript 17", "dynamo 18")


@dataclass(frozen=True)
class Network:
    """A network of the Model Zoo and how to rebuild it.

    Attributes:
        zoo: its name in the Model Zoo. package: what rebuilds it. build: makes the module, in evaluation mode.
        shape: of its input. ends: modules whose last node is an end node, where the zoo cuts the network;
            `module:Op` where that is an activation behind the module.
    """

    zoo: str
    package: str
    build: Callable[[], Any]
    shape: tuple[int, ...] = IMAGE
    ends: tuple[str, ...] = ()
    exporters: tuple[str, ...] = EXPORTERS


def _timm(zoo: str, name: str, exporters: tuple[str, ...] = EXPORTERS, **options: Any) -> Network:
    def build() -> Any:
        import timm

        module = timm.create_model(name, pretrained=False, exportable=True, **options)
        for part in module.modules():  # the fused operator hides the attention that Hailo's files spell out
            if hasattr(part, "fused_attn"):
                part.fused_attn = False
        return module

    return Network(zoo, "timm", build, exporters=exporters)


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

        module = YOLO(config).model.fuse(verbose=False)
        head = module.model[-1]
        head.export, head.format, head.dynamic = True, "onnx", False
        if hasattr(head, "end2end"):
            head.max_det = 300
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

    ends = tuple(f"head.{part}.{scale}" for scale in range(3) for part in ("reg_preds", "obj_preds:Sigmoid"))
    ends += tuple(f"head.cls_preds.{scale}:Sigmoid" for scale in range(3))
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
    _ultralytics("yolov8n_seg", "yolov8n-seg.yaml", (*_scales("model.22", ("cv2", "cv3", "cv4")), "model.22.proto.cv3:Mul")),
    _ultralytics("yolov8s_pose", "yolov8s-pose.yaml", _scales("model.22", ("cv2", "cv3", "cv4"))),
    _ultralytics("yolov9c", "yolov9c.yaml", _scales("model.22", ("cv2", "cv3"))),
    _ultralytics("yolov10n", "yolov10n.yaml", _scales("model.23", ("one2one_cv2", "one2one_cv3"))),
    _ultralytics("yolov11n", "yolo11n.yaml", _scales("model.23", ("cv2", "cv3"))),
    _ultralytics("yolo26n", "yolo26n.yaml", _scales("model.23", ("one2one_cv2", "one2one_cv3"))),
    _yolox("yolox_tiny", 0.33, 0.375, "silu", 416),
    _yolox("yolox_s_leaky", 0.33, 0.5, "lrelu", 640),
)
"""Networks that Hailo cuts before a detection head's decoding."""
