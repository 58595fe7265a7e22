"""The commands of model scripts with their arguments, as public scripts and notes show them.

Sources: the 256 scripts of hailo-ai/hailo_model_zoo at tag v2.18, those of its tags v2.10, v2.16 and v5.2.0; the page
"Hailo Model Scripts" of RidgeRun's wiki; scripts that users published on GitHub and on community.hailo.ai. Hailo's own
guide is not public, so that an argument missing here may exist: what is not known is told as not known.

Placement commands come from the compiler, which prints them for a network it has placed; they are passed through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from irkit.hailo import alls_kinds as kinds
from irkit.hailo.alls_kinds import Kind


@dataclass(frozen=True)
class Signature:
    """One way to call a command: positional arguments by name, of which the first `required` must be there."""

    positional: tuple[tuple[str, Kind], ...] = ()
    required: int = 0
    keywords: Mapping[str, Kind] = field(default_factory=dict)
    at_least: tuple[str, ...] = ()
    """Keywords that must be there."""


@dataclass(frozen=True)
class Spec:
    """A command.

    Attributes:
        signatures: the ways to call it; where its first argument names an algorithm, none.
        algorithms: signatures by that first argument, which is not part of them.
        makes_layers: whether names may stand before `=`.
        placement: whether it comes from the compiler and is passed through: its keywords are known, its arguments free.
    """

    signatures: tuple[Signature, ...] = ()
    algorithms: Mapping[str, Signature] = field(default_factory=dict)
    makes_layers: bool = False
    placement: bool = False


def _plain(keywords: Mapping[str, Kind], *at_least: str) -> Signature:
    return Signature(keywords=keywords, at_least=at_least)


_ACTIVATIONS = kinds.word(
    "sigmoid", "tanh", "linear", "relu", "relu6", "leaky", "elu", "silu", "swish", "hardswish", "hardsigmoid", "gelu",
    "softplus", "exp", "mish", "prelu", "sqrt", "threshold", "delta", "inv_pos", "minus_inv_pos", "log", "hardtanh",
)  # fmt: skip
_PRECISION = kinds.word(
    "a8_w8", "a8_w4", "a16_w16", "a16_w8", "a16_w4", "a8_w4_a8", "a8_w8_a8", "a16_w16_a16", "a16_w8_a16"
)
_CONVERSION = kinds.word(
    "bgr_to_rgb", "yuv_to_rgb", "yuv_to_bgr", "yuy2_to_hailo_yuv", "yuy2_to_rgb", "nv12_to_hailo_yuv", "nv12_to_rgb",
    "nv21_to_hailo_yuv", "nv21_to_rgb", "i420_to_hailo_yuv", "i420_to_rgb", "tf_rgbx_to_hailo_rgb",
)  # fmt: skip
_META_ARCH = kinds.word(
    "yolov5", "yolov5_seg", "yolov6", "yolov7", "yolov8", "yolov8_seg", "yolox", "ssd", "centernet", "damoyolo",
    "nanodet",
)  # fmt: skip
_ENGINE = kinds.word("cpu", "nn_core", "auto")
_MAX = kinds.word("max")
_LOSS = kinds.word("l2", "l2rel", "ce", "cosine")

_NMS = {
    "engine": _ENGINE, "meta_arch": _META_ARCH, "bbox_decoding_only": kinds.FLAG, "nms_scores_th": kinds.number(0, 1),
    "nms_iou_th": kinds.number(0, 1), "image_dims": kinds.list_of(kinds.COUNT), "classes": kinds.COUNT,
    "max_proposals_per_class": kinds.COUNT, "config_path": kinds.CONFIG_FILE, "cross_classes": kinds.FLAG,
    "regression_length": kinds.COUNT, "background_removal": kinds.FLAG, "output_origin_coordinates": kinds.FLAG,
}  # fmt: skip

_CLIPPING = {
    "layers": kinds.LAYERS,
    "mode": kinds.word("disabled", "manual", "percentile", "percentile_force", "mmse", "mmse_if4b"),
    "clipping_values": kinds.RANGE, "recollect_stats": kinds.FLAG, "policy": kinds.POLICY,
}  # fmt: skip

_TRAINING = {
    "policy": kinds.POLICY, "dataset_size": kinds.COUNT, "batch_size": kinds.COUNT, "epochs": kinds.COUNT,
    "learning_rate": kinds.number(0), "warmup_epochs": kinds.whole(0), "loss_factors": kinds.NUMBERS,
    "loss_layer_names": kinds.LAYER_LIST, "loss_types": kinds.list_of(_LOSS), "def_loss_type": _LOSS,
    "train_scales": kinds.FLAG, "meta_arch": kinds.word("yolo"), "shuffle": kinds.FLAG, "val_images": kinds.COUNT,
    "val_batch_size": kinds.COUNT, "native_layers": kinds.LAYERS, "native_activations": kinds.POLICY,
    "stop_gradient_at_loss": kinds.FLAG, "force_pruning": kinds.FLAG, "layers": kinds.LAYERS,
}  # fmt: skip

_OPTIMIZATION_CONFIG = {
    "calibration": _plain({
        "batch_size": kinds.COUNT, "calibset_size": kinds.COUNT, "use_saitama": kinds.FLAG,
        "device": kinds.word("cuda", "cpu"),
    }),
    "globals": _plain({
        "multiproc_policy": kinds.POLICY, "output_encoding_vector": kinds.POLICY, "output_16bit": kinds.POLICY,
    }),
    "compression_params": _plain({
        "auto_4bit_weights_ratio": kinds.number(0, 1), "auto_16bit_weights_ratio": kinds.number(0, 1),
    }),
    "negative_exponent": _plain({"layers": kinds.LAYERS, "rank": kinds.whole()}),
    "checker_cfg": _plain({
        "policy": kinds.POLICY, "batch_norm_checker": kinds.FLAG, "analyze_mode": kinds.word("simple", "advanced"),
        "dataset_size": kinds.COUNT, "batch_size": kinds.COUNT,
    }),
}  # fmt: skip

_BEFORE = {
    "equalization": _plain({
        "policy": kinds.POLICY, "layers": kinds.LAYERS, "equalization_target": kinds.NAME,
    }),
    "ew_add_fusing": _plain({"policy": kinds.POLICY, "infusible_ew_add_type": kinds.NAME}),
    "activation_clipping": _plain(_CLIPPING),
    "weights_clipping": _plain(_CLIPPING),
    "matmul_correction": _plain({
        "layers": kinds.LAYERS, "policy": kinds.POLICY, "correction_type": kinds.word(
            "zp_comp_none", "zp_comp_block", "zp_comp_block_0", "zp_comp_block_1", "zp_comp_block_2", "zp_comp_block_3",
            "zp_comp_weights",
        ),
    }),
    "matmul_equalization": _plain({"layers": kinds.LAYERS, "policy": kinds.POLICY, "matmul_bias": kinds.POLICY}),
    "layer_norm_decomposition": _plain({
        "equalization": kinds.POLICY, "eq_consumer": kinds.FLAG, "layers": kinds.LAYERS, "policy": kinds.POLICY,
        "bit_decomposition_mode": kinds.word("uniform_precision", "split_precision", "two_layer"),
    }),
    "layer_decomposition": _plain({"layers": kinds.LAYERS, "policy": kinds.POLICY}),
    "decompose_conv_factor": _plain({"layers": kinds.LAYERS, "policy": kinds.POLICY}),
    "global_avgpool_reduction": _plain({
        "layers": kinds.LAYERS, "division_factors": kinds.list_of(kinds.COUNT, 2), "policy": kinds.POLICY,
    }),
    "se_optimization": _plain({
        "method": kinds.word("tse"), "mode": kinds.word("sequential", "custom"), "count": kinds.COUNT,
        "tile_height": kinds.COUNT, "layers": kinds.LAYERS, "policy": kinds.POLICY,
    }),
    "resolution_reduction": _plain({
        "shape": kinds.list_of(kinds.COUNT, 2), "interpolation": kinds.word("disabled", "bilinear"),
        "policy": kinds.POLICY, "layers": kinds.LAYERS,
    }),
}  # fmt: skip

_AFTER = {
    "finetune": _plain(_TRAINING),
    "train_encoding": _plain(_TRAINING),
    "bias_correction": _plain({
        "policy": kinds.POLICY, "layers": kinds.LAYERS, "batch_size": kinds.COUNT, "cache_compression": kinds.POLICY,
    }),
    "adaround": _plain({
        "policy": kinds.POLICY, "epochs": kinds.COUNT, "batch_size": kinds.COUNT, "dataset_size": kinds.COUNT,
        "learning_rate": kinds.number(0), "mode": kinds.word("train_all", "train_4bit"), "warmup": kinds.number(0, 1),
        "weight": kinds.number(0), "train_bias": kinds.FLAG, "shuffle": kinds.FLAG, "layers": kinds.LAYERS,
        "bias_correction_count": kinds.COUNT, "b_range": kinds.RANGE, "decay_start": kinds.number(0),
        "cache_compression": kinds.POLICY,
    }),
    "mix_precision_search": _plain({
        "policy": kinds.POLICY, "dataset_size": kinds.COUNT, "batch_size": kinds.COUNT, "snr_cap": kinds.number(),
        "comprecision_metric": kinds.word("bops", "macs"), "optimizer": kinds.word("linear", "pareto"),
    }),
}  # fmt: skip

_UTILIZATION = {f"max_{what}utilization": kinds.number(0) for what in (
    "", "compute_", "compute_16bit_", "control_", "memory_", "apu_", "input_aligner_",
)}  # fmt: skip

_ALLOCATOR: dict[str, Kind] = {
    **dict.fromkeys((
        "auto_split_const_inputs", "automatic_ddr", "automatic_l4_portals", "automatic_reshapes",
        "automatic_resize_reshapes", "calculate_power", "defuse_by_validator", "disable_row_per_cut",
        "enable_auto_spatial_collapse", "enable_auto_spatial_reshapes", "enable_automatic_features_chunks",
        "enable_automatic_join", "enable_automatic_offdevice_outputs", "enable_collapser", "enable_defuse_with_slack",
        "enable_hw_padding", "enable_lanes", "enable_lcu_ecc", "enable_muxer", "enable_partial_row_buffers",
        "enable_post_split_average_buffers", "enable_single_buffer_for_feasibility", "enable_swapper",
        "force_map_on_mirror", "optimize_pipeline_stoppage", "run_format_fixer", "spatial_defuse_legacy", "validate",
        "width_splitter_defuse",
    ), kinds.SWITCH),
    **dict.fromkeys((
        "automatic_ddr_l3_cuts_threshold", "automatic_l4_portals_l3_cuts_threshold", "input_layer_max_successors",
        "max_auto_defuse", "max_auto_merge_depth", "ppu_reshape_slack", "seed",
    ), kinds.whole(0)),
    **dict.fromkeys((
        "fps_ratio_impact", "merge_max_layer_utilization", "merge_max_memory_utilization",
        "merge_min_layer_utilization",
    ), kinds.number(0)),
    **dict.fromkeys(("timeout", "cluster_timeout", "splitter_timeout"), kinds.DURATION),
    "enable_axis_upsize": kinds.either(kinds.SWITCH, kinds.word("bottleneck_fps")),
    "enable_fixer": kinds.either(kinds.SWITCH, kinds.word("max_adjcents")),
    "strategy": kinds.word("blind_search", "greedy"),
}  # fmt: skip

_CONTEXT_SWITCH: dict[str, Kind] = {
    "mode": kinds.POLICY, "slotter_chances": kinds.whole(0), "toposort_mode": kinds.word("pushdown"),
    "share_buckets_partition": kinds.FLAG, "auto_partition_to_buckets": kinds.FLAG,
    "berkitizer_min_size": kinds.COUNT, "berkitizer_bucket_size": kinds.COUNT,
    **{f"goal_network_{what}_utilization": kinds.number(0) for what in ("compute", "control", "memory", "weights")},
    **_UTILIZATION,
}  # fmt: skip

_HEF = {
    **dict.fromkeys(("cfg_channel_count", "dma_engine_count"), kinds.COUNT),
    **dict.fromkeys((
        "enable_csm_crc", "enable_ko", "enable_lcu_from_sequencer", "enable_self_reset_optimization", "share_config",
        "should_run_full_validation", "strict_runtime_versioning",
    ), kinds.SWITCH),
}  # fmt: skip

_COMPILATION = dict.fromkeys((
    "no_contexts", "use_16x4_sc", "layer_output_buffers_format", "number_of_subclusters",
    "resources_allocation_strategy", "resize_bilinear_streaming", "balance_output_multisplit", "buffer_in_l4",
    "compress_l3_weights", "defuse_num_layers", "defuse_spatial_w", "enable_ew_add_optimization", "mixed_mem",
    "number_of_apus", "number_of_input_aligners", "parallel_activation", "hw_layer_type_list", "enable_nested_defuse",
), kinds.ANYTHING)  # fmt: skip


def _placed(*keywords: str, makes_layers: bool = True) -> Spec:
    return Spec((_plain(dict.fromkeys(keywords, kinds.ANYTHING)),), makes_layers=makes_layers, placement=True)


_INPUT_LAYER = ("layer", kinds.LAYER)
_STATISTICS = (("mean", kinds.NUMBERS), ("std", kinds.NUMBERS), _INPUT_LAYER)
_CONVERTED = ("kind", _CONVERSION)
_RESIZED = {
    "resize_shapes": kinds.list_of(kinds.COUNT, 2), "resize_method": kinds.word("bilinear", "nearest"),
    "engine": _ENGINE,
}  # fmt: skip
_EMULATED = {"emulator_support": kinds.FLAG}
_ACTIVATION = ("activation", _ACTIVATIONS)
_LOGITS = (_INPUT_LAYER, ("kind", kinds.word("softmax", "argmax")), ("axis", kinds.whole()), ("engine", _ENGINE))

COMMANDS: Mapping[str, Spec] = {
    # changes of the network
    "normalization": Spec((Signature(_STATISTICS, 2),), makes_layers=True),
    "input_conversion": Spec(
        (Signature((_CONVERTED,), 1, _EMULATED), Signature((_INPUT_LAYER, _CONVERTED), 2, _EMULATED)), makes_layers=True
    ),
    "resize": Spec((Signature((_INPUT_LAYER,), 0, _RESIZED, ("resize_shapes",)),), makes_layers=True),
    "transpose": Spec((Signature((_INPUT_LAYER,), 0),), makes_layers=True),
    "change_output_activation": Spec((Signature((_ACTIVATION,), 1), Signature((_INPUT_LAYER, _ACTIVATION), 2))),
    "logits_layer": Spec((Signature(_LOGITS, 2),), makes_layers=True),
    "nms_postprocess": Spec((Signature((("config_path", kinds.CONFIG_FILE), ("meta_arch", _META_ARCH)), 0, _NMS),)),
    "set_seed": Spec((Signature((("seed", kinds.whole(0)),), 0, {"seed": kinds.whole(0)}),)),
    "set_kv_cache_global_params": Spec((Signature((("prefill", kinds.COUNT), ("cache", kinds.COUNT)), 2),)),
    # optimization
    "model_optimization_flavor": Spec((
        _plain({
            "optimization_level": kinds.either(kinds.whole(-100), _MAX), "compression_level": kinds.whole(0),
            "batch_size": kinds.COUNT,
        }),
    )),
    "model_optimization_config": Spec(algorithms=_OPTIMIZATION_CONFIG),
    "pre_quantization_optimization": Spec(algorithms=_BEFORE),
    "post_quantization_optimization": Spec(algorithms=_AFTER),
    "quantization_param": Spec((
        Signature((("layers", kinds.LAYERS),), 1, {
            "precision_mode": _PRECISION, "force_range_in": kinds.RANGE, "force_range_out": kinds.RANGE,
            "force_range_index": kinds.whole(0), "activation_fit": kinds.POLICY, "quantization_groups": kinds.COUNT,
            "bias_mode": kinds.word(
                "single_scale_decomposition", "double_scale_initialization", "double_scale_decomposition",
            ),
            "max_elementwise_feed_repeat": kinds.COUNT, "max_bias_feed_repeat": kinds.COUNT,
            "weight_group_size": kinds.COUNT, "null_channels_cutoff_factor": kinds.number(0),
            "output_encoding_vector": kinds.POLICY,
        }),
    )),
    # compilation
    "performance_param": Spec((
        _plain({
            "compiler_optimization_level": kinds.either(kinds.whole(0), _MAX), "fps": kinds.number(0),
            "optimization_level": kinds.either(kinds.whole(0), _MAX), "optimize_for_batch": kinds.COUNT,
            "optimize_for_power": kinds.FLAG,
        }),
    )),
    "resources_param": Spec((_plain({**_UTILIZATION, "strategy": kinds.word("greedy")}),)),
    "allocator_param": Spec((_plain(_ALLOCATOR),)),
    "context_switch_param": Spec((_plain(_CONTEXT_SWITCH),)),
    "platform_param": Spec((
        _plain({
            "hef_version": kinds.whole(0), "targets": kinds.list_of(kinds.NAME), "hints": kinds.list_of(kinds.NAME),
        }),
    )),
    "hef_param": Spec((_plain(_HEF),)),
    # placement, as the compiler prints it
    "network_group": _placed(),
    "buffers": _placed(makes_layers=False),
    "compilation_param": Spec((_plain(_COMPILATION),), placement=True),
    "defuse": _placed("defuse_type", "axis", "splitter"),
    "defuse_block": _placed("defuse_count"),
    "concat": _placed(),
    "shortcut": _placed(),
    "format_conversion": _placed("input_windows", "output_windows", "collapse"),
    "shape_splitter": _placed(),
    "transpose_concat": _placed(),
    "mux_demux": _placed(),
    "merge": _placed(),
    "ddr": _placed(),
    "l4_portal": _placed(),
    "context": _placed(),
    "bucket": _placed(),
    "place": _placed(makes_layers=False),
    "join": _placed("join_type", makes_layers=False),
    "remove_node": _placed(makes_layers=False),
    "output_layer": _placed("offdevice_layer"),
    "buffer_calc_param": _placed(
        "buffer_calc_fps", "optimize_buffers", "split_aware_optimize_buffers", makes_layers=False
    ),
    "spatial_reshape_flow_params": _placed("buffer_size_factor", makes_layers=False),
}  # fmt: skip
"""By name."""
