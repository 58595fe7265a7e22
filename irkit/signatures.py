"""What ONNX's operators take, over all their versions at once: for checking what users write, without the onnx package.

`scripts/make_operators.py` writes the table. An entry reads `versions; least inputs; inputs; outputs; attributes`;
`*` marks what may be repeated, attributes have the letters of their kinds.
"""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from irkit.attributes import AttrKind

# fmt: off
# <generated>
NEWEST_OPSET = 28

_TABLE: dict[str, dict[str, str]] = {
    "": {
        "Abs": "1; 1; X; Y;",
        "Acos": "7; 1; input; output;",
        "Acosh": "9; 1; input; output;",
        "Add": "1; 2; A B; C;",
        "AffineGrid": "20; 2; theta size; grid; align_corners=i",
        "And": "1; 2; A B; C;",
        "ArgMax": "1; 1; data; reduced; axis=i keepdims=i select_last_index=i",
        "ArgMin": "1; 1; data; reduced; axis=i keepdims=i select_last_index=i",
        "Asin": "7; 1; input; output;",
        "Asinh": "9; 1; input; output;",
        "Atan": "7; 1; input; output;",
        "Atanh": "9; 1; input; output;",
        "Attention": "23; 3; Q K V attn_mask past_key past_value nonpad_kv_seqlen; Y present_key present_value qk_matmul_output; is_causal=i kv_num_heads=i left_window_size=i q_num_heads=i qk_matmul_output_mode=i right_window_size=i scale=f softcap=f softmax_precision=i",
        "AveragePool": "1; 1; X; Y; auto_pad=s ceil_mode=i count_include_pad=i dilations=ii kernel_shape=ii pads=ii strides=ii",
        "BatchNormalization": "1; 5; X scale B input_mean input_var; Y running_mean running_var saved_mean saved_var; epsilon=f momentum=f spatial=i training_mode=i",
        "Bernoulli": "15; 1; input; output; dtype=i seed=f",
        "BitCast": "26; 1; input; output; to=i",
        "BitShift": "11; 2; X Y; Z; direction=s",
        "BitwiseAnd": "18; 2; A B; C;",
        "BitwiseNot": "18; 1; X; Y;",
        "BitwiseOr": "18; 2; A B; C;",
        "BitwiseXor": "18; 2; A B; C;",
        "BlackmanWindow": "17; 1; size; output; output_datatype=i periodic=i",
        "Cast": "1; 1; input; output; round_mode=s saturate=i to=i",
        "CastLike": "15; 2; input target_type; output; round_mode=s saturate=i",
        "CausalConvWithState": "27; 2; input weight bias past_state; output present_state; activation=s",
        "Ceil": "1; 1; X; Y;",
        "Celu": "12; 1; X; Y; alpha=f",
        "CenterCropPad": "18; 2; input_data shape; output_data; axes=ii",
        "Clip": "1; 1; input min max; output; max=f min=f",
        "Col2Im": "18; 3; input image_shape block_shape; output; dilations=ii pads=ii strides=ii",
        "Compress": "9; 2; input condition; output; axis=i",
        "Concat": "1; 1; inputs*; concat_result; axis=i",
        "ConcatFromSequence": "11; 1; input_sequence; concat_result; axis=i new_axis=i",
        "Constant": "1; 0; ; output; sparse_value=x value=t value_float=f value_floats=ff value_int=i value_ints=ii value_string=s value_strings=ss",
        "ConstantOfShape": "9; 1; input; output; value=t",
        "Conv": "1; 2; X W B; Y; auto_pad=s dilations=ii group=i kernel_shape=ii pads=ii strides=ii",
        "ConvInteger": "10; 2; x w x_zero_point w_zero_point; y; auto_pad=s dilations=ii group=i kernel_shape=ii pads=ii strides=ii",
        "ConvTranspose": "1; 2; X W B; Y; auto_pad=s dilations=ii group=i kernel_shape=ii output_padding=ii output_shape=ii pads=ii strides=ii",
        "Cos": "7; 1; input; output;",
        "Cosh": "9; 1; input; output;",
        "CumProd": "26; 2; x axis; y; exclusive=i reverse=i",
        "CumSum": "11; 2; x axis; y; exclusive=i reverse=i",
        "DFT": "17; 1; input dft_length axis; output; axis=i inverse=i onesided=i",
        "DeformConv": "19; 3; X W offset B mask; Y; dilations=ii group=i kernel_shape=ii offset_group=i pads=ii strides=ii",
        "DepthToSpace": "1; 1; input; output; blocksize=i mode=s",
        "DequantizeLinear": "10; 2; x x_scale x_zero_point; y; axis=i block_size=i output_dtype=i",
        "Det": "11; 1; X; Y;",
        "Div": "1; 2; A B; C;",
        "Dropout": "1; 1; data ratio training_mode; output mask; ratio=f seed=i",
        "DynamicQuantizeLinear": "11; 1; x; y y_scale y_zero_point;",
        "Einsum": "12; 1; Inputs*; Output; equation=s",
        "Elu": "1; 1; X; Y; alpha=f",
        "Equal": "1; 2; A B; C;",
        "Erf": "9; 1; input; output;",
        "Exp": "1; 1; input; output;",
        "Expand": "8; 2; input shape; output;",
        "EyeLike": "9; 1; input; output; dtype=i k=i",
        "Flatten": "1; 1; input; output; axis=i",
        "Floor": "1; 1; X; Y;",
        "GRU": "1; 3; X W R B sequence_lens initial_h; Y Y_h; activation_alpha=ff activation_beta=ff activations=ss clip=f direction=s hidden_size=i layout=i linear_before_reset=i",
        "Gather": "1; 2; data indices; output; axis=i",
        "GatherElements": "11; 2; data indices; output; axis=i",
        "GatherND": "11; 2; data indices; output; batch_dims=i",
        "Gelu": "20; 1; X; Y; approximate=s",
        "Gemm": "1; 2; A B C; Y; alpha=f beta=f transA=i transB=i",
        "GlobalAveragePool": "1; 1; X; Y;",
        "GlobalLpPool": "1; 1; X; Y; p=i",
        "GlobalMaxPool": "1; 1; X; Y;",
        "Greater": "1; 2; A B; C;",
        "GreaterOrEqual": "12; 2; A B; C;",
        "GridSample": "16; 2; X grid; Y; align_corners=i mode=s padding_mode=s",
        "GroupNormalization": "18; 3; X scale bias; Y; epsilon=f num_groups=i stash_type=i",
        "HammingWindow": "17; 1; size; output; output_datatype=i periodic=i",
        "HannWindow": "17; 1; size; output; output_datatype=i periodic=i",
        "HardSigmoid": "1; 1; X; Y; alpha=f beta=f",
        "HardSwish": "14; 1; X; Y;",
        "Hardmax": "1; 1; input; output; axis=i",
        "Identity": "1; 1; input; output;",
        "If": "1; 1; cond; outputs*; else_branch=g then_branch=g",
        "ImageDecoder": "20; 1; encoded_stream; image; pixel_format=s",
        "InstanceNormalization": "1; 3; input scale B; output; epsilon=f",
        "IsInf": "10; 1; X; Y; detect_negative=i detect_positive=i",
        "IsNaN": "9; 1; X; Y;",
        "LRN": "1; 1; X; Y; alpha=f beta=f bias=f size=i",
        "LSTM": "1; 3; X W R B sequence_lens initial_h initial_c P; Y Y_h Y_c; activation_alpha=ff activation_beta=ff activations=ss clip=f direction=s hidden_size=i input_forget=i layout=i",
        "LayerNormalization": "17; 2; X Scale B; Y Mean InvStdDev; axis=i epsilon=f stash_type=i",
        "LeakyRelu": "1; 1; X; Y; alpha=f",
        "Less": "1; 2; A B; C;",
        "LessOrEqual": "12; 2; A B; C;",
        "LinearAttention": "27; 3; query key value past_state decay beta; output present_state; chunk_size=i kv_num_heads=i q_num_heads=i scale=f update_rule=s",
        "Log": "1; 1; input; output;",
        "LogSoftmax": "1; 1; input; output; axis=i",
        "Loop": "1; 2; M cond v_initial*; v_final_and_scan_outputs*; body=g",
        "LpNormalization": "1; 1; input; output; axis=i p=i",
        "LpPool": "1; 1; X; Y; auto_pad=s ceil_mode=i dilations=ii kernel_shape=ii p=i pads=ii strides=ii",
        "MatMul": "1; 2; A B; Y;",
        "MatMulInteger": "10; 2; A B a_zero_point b_zero_point; Y;",
        "Max": "1; 1; data_0*; max;",
        "MaxPool": "1; 1; X; Y Indices; auto_pad=s ceil_mode=i dilations=ii kernel_shape=ii pads=ii storage_order=i strides=ii",
        "MaxRoiPool": "1; 2; X rois; Y; pooled_shape=ii spatial_scale=f",
        "MaxUnpool": "9; 2; X I output_shape; output; kernel_shape=ii pads=ii strides=ii",
        "Mean": "1; 1; data_0*; mean;",
        "MeanVarianceNormalization": "9; 1; X; Y; axes=ii",
        "MelWeightMatrix": "17; 5; num_mel_bins dft_length sample_rate lower_edge_hertz upper_edge_hertz; output; output_datatype=i",
        "Min": "1; 1; data_0*; min;",
        "Mish": "18; 1; X; Y;",
        "Mod": "10; 2; A B; C; fmod=i",
        "Mul": "1; 2; A B; C;",
        "Multinomial": "7; 1; input; output; dtype=i sample_size=i seed=f",
        "Neg": "1; 1; X; Y;",
        "NegativeLogLikelihoodLoss": "12; 2; input target weight; loss; ignore_index=i reduction=s",
        "NonMaxSuppression": "10; 2; boxes scores max_output_boxes_per_class iou_threshold score_threshold; selected_indices; center_point_box=i",
        "NonZero": "9; 1; X; Y;",
        "Not": "1; 1; X; Y;",
        "OneHot": "9; 3; indices depth values; output; axis=i",
        "Optional": "15; 0; input; output; type=y",
        "OptionalGetElement": "15; 1; input; output;",
        "OptionalHasElement": "15; 0; input; output;",
        "Or": "1; 2; A B; C;",
        "PRelu": "1; 2; X slope; Y;",
        "Pad": "1; 1; data pads constant_value axes; output; mode=s pads=ii value=f",
        "Pow": "1; 2; X Y; Z;",
        "QLinearConv": "10; 8; x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B; y; auto_pad=s dilations=ii group=i kernel_shape=ii pads=ii strides=ii",
        "QLinearMatMul": "10; 8; a a_scale a_zero_point b b_scale b_zero_point y_scale y_zero_point; y;",
        "QuantizeLinear": "10; 2; x y_scale y_zero_point; y; axis=i block_size=i output_dtype=i precision=i saturate=i",
        "RMSNormalization": "23; 2; X scale; Y; axis=i epsilon=f stash_type=i",
        "RNN": "1; 3; X W R B sequence_lens initial_h; Y Y_h; activation_alpha=ff activation_beta=ff activations=ss clip=f direction=s hidden_size=i layout=i",
        "RandomNormal": "1; 0; ; output; dtype=i mean=f scale=f seed=f shape=ii",
        "RandomNormalLike": "1; 1; input; output; dtype=i mean=f scale=f seed=f",
        "RandomUniform": "1; 0; ; output; dtype=i high=f low=f seed=f shape=ii",
        "RandomUniformLike": "1; 1; input; output; dtype=i high=f low=f seed=f",
        "Range": "11; 3; start limit delta; output; stash_type=i",
        "Reciprocal": "1; 1; X; Y;",
        "ReduceL1": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceL2": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceLogSum": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceLogSumExp": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceMax": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceMean": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceMin": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceProd": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceSum": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "ReduceSumSquare": "1; 1; data axes; reduced; axes=ii keepdims=i noop_with_empty_axes=i",
        "RegexFullMatch": "20; 1; X; Y; pattern=s",
        "Relu": "1; 1; X; Y;",
        "Reshape": "1; 2; data shape; reshaped; allowzero=i",
        "Resize": "10; 1; X roi scales sizes; Y; antialias=i axes=ii coordinate_transformation_mode=s cubic_coeff_a=f exclude_outside=i extrapolation_value=f keep_aspect_ratio_policy=s mode=s nearest_mode=s",
        "ReverseSequence": "10; 2; input sequence_lens; Y; batch_axis=i time_axis=i",
        "RoiAlign": "10; 3; X rois batch_indices; Y; coordinate_transformation_mode=s mode=s output_height=i output_width=i sampling_ratio=i spatial_scale=f",
        "RotaryEmbedding": "23; 3; X cos_cache sin_cache position_ids; Y; interleaved=i num_heads=i rotary_embedding_dim=i",
        "Round": "11; 1; X; Y;",
        "STFT": "17; 2; signal frame_step window frame_length; output; onesided=i",
        "Scan": "8; 1; initial_state_and_scan_inputs*; final_state_and_scan_outputs*; body=g directions=ii num_scan_inputs=i scan_input_axes=ii scan_input_directions=ii scan_output_axes=ii scan_output_directions=ii",
        "Scatter": "9-10; 3; data indices updates; output; axis=i",
        "ScatterElements": "11; 3; data indices updates; output; axis=i reduction=s",
        "ScatterND": "11; 3; data indices updates; output; reduction=s",
        "Selu": "1; 1; X; Y; alpha=f gamma=f",
        "SequenceAt": "11; 2; input_sequence position; tensor;",
        "SequenceConstruct": "11; 1; inputs*; output_sequence;",
        "SequenceEmpty": "11; 0; ; output; dtype=i",
        "SequenceErase": "11; 1; input_sequence position; output_sequence;",
        "SequenceInsert": "11; 2; input_sequence tensor position; output_sequence;",
        "SequenceLength": "11; 1; input_sequence; length;",
        "SequenceMap": "17; 1; input_sequence additional_inputs*; out_sequence*; body=g",
        "Shape": "1; 1; data; shape; end=i start=i",
        "Shrink": "9; 1; input; output; bias=f lambd=f",
        "Sigmoid": "1; 1; X; Y;",
        "Sign": "9; 1; input; output;",
        "Sin": "7; 1; input; output;",
        "Sinh": "9; 1; input; output;",
        "Size": "1; 1; data; size;",
        "Slice": "1; 1; data starts ends axes steps; output; axes=ii ends=ii starts=ii",
        "Softmax": "1; 1; input; output; axis=i",
        "SoftmaxCrossEntropyLoss": "12; 2; scores labels weights; output log_prob; ignore_index=i reduction=s",
        "Softplus": "1; 1; X; Y;",
        "Softsign": "1; 1; input; output;",
        "SpaceToDepth": "1; 1; input; output; blocksize=i mode=s",
        "Split": "1; 1; input split; outputs*; axis=i num_outputs=i split=ii",
        "SplitToSequence": "11; 1; input split; output_sequence; axis=i keepdims=i",
        "Sqrt": "1; 1; X; Y;",
        "Squeeze": "1; 1; data axes; squeezed; axes=ii",
        "StringConcat": "20; 2; X Y; Z;",
        "StringNormalizer": "10; 1; X; Y; case_change_action=s is_case_sensitive=i locale=s stopwords=ss",
        "StringSplit": "20; 1; X; Y Z; delimiter=s maxsplit=i",
        "Sub": "1; 2; A B; C;",
        "Sum": "1; 1; data_0*; sum;",
        "SwiGLU": "28; 2; A B; Y; alpha=f",
        "Swish": "24; 1; X; Y; alpha=f",
        "Tan": "7; 1; input; output;",
        "Tanh": "1; 1; input; output;",
        "TensorScatter": "24; 2; past_cache update write_indices; present_cache; axis=i mode=s",
        "TfIdfVectorizer": "9; 1; X; Y; max_gram_length=i max_skip_count=i min_gram_length=i mode=s ngram_counts=ii ngram_indexes=ii pool_int64s=ii pool_strings=ss weights=ff",
        "ThresholdedRelu": "10; 1; X; Y; alpha=f",
        "Tile": "1; 2; input repeats; output;",
        "TopK": "1; 1; X K; Values Indices; axis=i k=i largest=i sorted=i",
        "Transpose": "1; 1; data; transposed; perm=ii",
        "Trilu": "14; 1; input k; output; upper=i",
        "Unique": "11; 1; X; Y indices inverse_indices counts; axis=i sorted=i",
        "Unsqueeze": "1; 1; data axes; expanded; axes=ii",
        "Upsample": "1-9; 1; X scales; Y; mode=s scales=ff",
        "Where": "9; 3; condition X Y; output;",
        "Xor": "1; 2; A B; C;",
    },
    "ai.onnx.ml": {
        "ArrayFeatureExtractor": "1; 2; X Y; Z;",
        "Binarizer": "1; 1; X; Y; threshold=f",
        "CastMap": "1; 1; X; Y; cast_to=s map_form=s max_map=i",
        "CategoryMapper": "1; 1; X; Y; cats_int64s=ii cats_strings=ss default_int64=i default_string=s",
        "DictVectorizer": "1; 1; X; Y; int64_vocabulary=ii string_vocabulary=ss",
        "FeatureVectorizer": "1; 1; X*; Y; inputdimensions=ii",
        "Imputer": "1; 1; X; Y; imputed_value_floats=ff imputed_value_int64s=ii replaced_value_float=f replaced_value_int64=i",
        "LabelEncoder": "1; 1; X; Y; classes_strings=ss default_float=f default_int64=i default_string=s default_tensor=t keys_floats=ff keys_int64s=ii keys_strings=ss keys_tensor=t values_floats=ff values_int64s=ii values_strings=ss values_tensor=t",
        "LinearClassifier": "1; 1; X; Y Z; classlabels_ints=ii classlabels_strings=ss coefficients=ff intercepts=ff multi_class=i post_transform=s",
        "LinearRegressor": "1; 1; X; Y; coefficients=ff intercepts=ff post_transform=s targets=i",
        "Normalizer": "1; 1; X; Y; norm=s",
        "OneHotEncoder": "1; 1; X; Y; cats_int64s=ii cats_strings=ss zeros=i",
        "SVMClassifier": "1; 1; X; Y Z; classlabels_ints=ii classlabels_strings=ss coefficients=ff kernel_params=ff kernel_type=s post_transform=s prob_a=ff prob_b=ff rho=ff support_vectors=ff vectors_per_class=ii",
        "SVMRegressor": "1; 1; X; Y; coefficients=ff kernel_params=ff kernel_type=s n_supports=i one_class=i post_transform=s rho=ff support_vectors=ff",
        "Scaler": "1; 1; X; Y; offset=ff scale=ff",
        "TreeEnsemble": "5; 1; X; Y; aggregate_function=i leaf_targetids=ii leaf_weights=t membership_values=t n_targets=i nodes_falseleafs=ii nodes_falsenodeids=ii nodes_featureids=ii nodes_hitrates=t nodes_missing_value_tracks_true=ii nodes_modes=t nodes_splits=t nodes_trueleafs=ii nodes_truenodeids=ii post_transform=i tree_roots=ii",
        "TreeEnsembleClassifier": "1-4; 1; X; Y Z; base_values=ff base_values_as_tensor=t class_ids=ii class_nodeids=ii class_treeids=ii class_weights=ff class_weights_as_tensor=t classlabels_int64s=ii classlabels_strings=ss nodes_falsenodeids=ii nodes_featureids=ii nodes_hitrates=ff nodes_hitrates_as_tensor=t nodes_missing_value_tracks_true=ii nodes_modes=ss nodes_nodeids=ii nodes_treeids=ii nodes_truenodeids=ii nodes_values=ff nodes_values_as_tensor=t post_transform=s",
        "TreeEnsembleRegressor": "1-4; 1; X; Y; aggregate_function=s base_values=ff base_values_as_tensor=t n_targets=i nodes_falsenodeids=ii nodes_featureids=ii nodes_hitrates=ff nodes_hitrates_as_tensor=t nodes_missing_value_tracks_true=ii nodes_modes=ss nodes_nodeids=ii nodes_treeids=ii nodes_truenodeids=ii nodes_values=ff nodes_values_as_tensor=t post_transform=s target_ids=ii target_nodeids=ii target_treeids=ii target_weights=ff target_weights_as_tensor=t",
        "ZipMap": "1; 1; X; Z; classlabels_int64s=ii classlabels_strings=ss",
    },
}  # fmt: skip
# </generated>
# fmt: on

_KINDS = {
    "i": AttrKind.INT, "f": AttrKind.FLOAT, "s": AttrKind.STRING, "t": AttrKind.TENSOR, "g": AttrKind.GRAPH,
    "x": AttrKind.SPARSE_TENSOR, "y": AttrKind.TYPE, "ii": AttrKind.INTS, "ff": AttrKind.FLOATS,
    "ss": AttrKind.STRINGS, "tt": AttrKind.TENSORS, "gg": AttrKind.GRAPHS, "xx": AttrKind.SPARSE_TENSORS,
    "yy": AttrKind.TYPES,
}  # fmt: skip

_SINGLE = {
    AttrKind.INTS: AttrKind.INT, AttrKind.FLOATS: AttrKind.FLOAT, AttrKind.STRINGS: AttrKind.STRING,
    AttrKind.TENSORS: AttrKind.TENSOR, AttrKind.GRAPHS: AttrKind.GRAPH,
}  # fmt: skip

_MANY = (1 << 31) - 1  # what onnx gives where there is no bound


@dataclass(frozen=True)
class Signature:
    """An operator over all versions of its domain.

    Attributes:
        since: the version that brought it. until: the last version that has it; 0 where the newest one does.
        min_inputs, max_inputs, max_outputs: bounds that hold in every version.
        attributes: the kinds that an attribute has in some version, by name.
    """

    since: int
    until: int
    min_inputs: int
    max_inputs: int
    max_outputs: int
    attributes: Mapping[str, tuple[AttrKind, ...]]


@lru_cache(maxsize=1024)
def signature(op: str, domain: str = "") -> Signature | None:
    """The signature of an operator; None where there is no such operator."""
    text = _TABLE.get(domain, {}).get(op)
    if text is None:
        return None
    versions, least, inputs, outputs, attrs = (part.strip() for part in text.split(";"))
    since, _, until = versions.partition("-")
    return Signature(
        int(since),
        int(until or 0),
        int(least),
        _MANY if inputs.endswith("*") else len(inputs.split()),
        _MANY if outputs.endswith("*") else len(outputs.split()),
        {
            name: tuple(_KINDS[letters] for letters in kinds.split("/"))
            for name, _, kinds in (item.partition("=") for item in attrs.split())
        },
    )


def unknown_operator(op: str, domain: str = "") -> str:
    """What to say of an operator that there is not, with the name that may be meant; "" in a domain not known here."""
    if domain not in _TABLE:
        return ""
    folded = {name.casefold(): name for name in _TABLE[domain]}
    from difflib import get_close_matches

    close = get_close_matches(op.casefold(), folded, 1)
    hint = f"; did you mean {folded[close[0]]}?" if close else "; those of other domains: op.domain(NAME)"
    return f"{domain or 'ONNX'} has no operator {op}{hint}"


def unknown_attribute(op: str, name: str, known: Collection[str], version: str = "") -> str:
    """What to say of an attribute that an operator does not have."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; it has: {', '.join(sorted(known)) or 'none'}"
    return f"{op} has no attribute {name!r}{version}{hint}"


def wrong_count(op: str, what: str, least: int, most: int, found: int) -> str:
    """Why an operator cannot have so many inputs or outputs, or ""."""
    if least <= found <= most:
        return ""
    bounds = f"at least {least}" if most >= _MANY else f"{least}" if least == most else f"{least} to {most}"
    return f"{op} takes {bounds} {what}; found {found}"


def wrong_call(
    op: str, domain: str, inputs: int | None, outputs: int, names: Collection[str], given: Mapping[str, object]
) -> str:
    """Why no version of an operator can be called so, or "".

    Args:
        op: the operator; nothing is said of one that is not known.
        domain: its domain.
        inputs: how many; None where that is open.
        outputs: how many.
        names: of the attributes.
        given: values of some of them.
    """
    found = signature(op, domain)
    if found is None:
        return ""
    reason = wrong_count(op, "outputs", 1, found.max_outputs, outputs)
    if not reason and inputs is not None:
        reason = wrong_count(op, "inputs", found.min_inputs, found.max_inputs, inputs)
    for name in names:
        if not reason and name not in found.attributes:
            reason = unknown_attribute(op, name, found.attributes)
    for name, value in given.items():
        kinds = found.attributes.get(name, ())
        if not reason and not any(fits_kind(kind, value) for kind in kinds):
            labels = " or ".join(kind.name.lower() for kind in kinds)
            reason = f"{op}: attribute {name!r} is of kind {labels}; found {value!r}"
    return reason


def fits_kind(kind: AttrKind, value: object) -> bool:
    """Whether a plain Python value can be an attribute of that kind."""
    single = _SINGLE.get(kind)
    if single is not None:
        return isinstance(value, (list, tuple)) and all(fits_kind(single, item) for item in value)
    if kind is AttrKind.INT:
        return hasattr(value, "__index__")
    if kind is AttrKind.FLOAT:
        return hasattr(value, "__float__") and not isinstance(value, str)
    if kind is AttrKind.STRING:
        return isinstance(value, (str, bytes))
    return not isinstance(value, (bool, int, float, str))
