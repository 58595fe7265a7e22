"""The reader of the Dataflow Compiler's logs: whatever people paste, and however a terminal left it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from irkit import DfcEvent, DfcLog, DfcLogReader, InputError, read_dfc_log
from irkit.hailo.dfc_events import EventKind

LOGS = Path(__file__).parent / "dfc_logs"
NAMES = sorted(path.name for path in LOGS.glob("*.log"))

PARSER_LOG = """\
[info] Translation started on ONNX model yolo26n
[error] Parsing failed. The errors found in the graph are:
UnsupportedOperationError in op /model.23/GatherElements: GatherElements operation is unsupported
UnsupportedReduceMaxLayerError in op /model.23/ReduceMax: Failed to create reduce max layer at vertex /model.23/ReduceMax. Reduce max is only supported on the features axis, and with keepdim=True
UnsupportedShuffleLayerError in op /model.23/Flatten: Failed to determine type of layer to create in node /model.23/Flatten
UnexpectedNodeError in op /model.23/Expand: Unexpected node /model.23/Expand (Expand)
Please try to parse the model again, using these end node names: /model.23/cv2.0/Conv, /model.23/cv3.0/Conv
"""  # noqa: E501

ERRORS = [
    (EventKind.OPERATOR, ("/model.23/GatherElements",)),
    (EventKind.FORM, ("/model.23/ReduceMax",)),
    (EventKind.SHUFFLE, ("/model.23/Flatten",)),
    (EventKind.PLACE, ("/model.23/Expand",)),
    (EventKind.END_NODES, ("/model.23/cv2.0/Conv", "/model.23/cv3.0/Conv")),
]


def read(text: str) -> DfcLog:
    return read_dfc_log(text if "\n" in text else text + "\n")


def brief(events: list[DfcEvent]) -> list[tuple[EventKind, tuple[str, ...]]]:
    return [(event.kind, event.nodes) for event in events]


def only(text: str) -> DfcEvent:
    (event,) = read(text).events
    return event


# --- decoration -------------------------------------------------------------------------------------------------------


def test_errors_and_end_nodes_with_their_lines() -> None:
    events = read(PARSER_LOG).events
    assert brief(events) == ERRORS
    assert [event.line for event in events] == [3, 4, 5, 6, 7]
    assert events[1].name == "UnsupportedReduceMaxLayerError"
    assert events[1].text.endswith("with keepdim=True")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\x1b[0;31m", "\x1b[0m"),
        ("[0;31m", "[0m"),
        ("2025-11-09 12:00:01,123 ", ""),
        ("2025-11-09T12:00:01.123Z ", "\r"),
        ("[12:00:01] ", ""),
        ("  311  ", ""),
        ("12:", ""),
        ("> ", ""),
        ("    # ", ""),
        ("│ ", "        │"),
        ("\ufeff", ""),
        ("\tprogress 50%\rprogress 100%\r", ""),
    ],
    ids=["colour", "colour-without-escape", "time", "iso-time", "clock", "cat-n", "grep-n", "quote", "comment", "box",
         "byte-order-mark", "progress-bar"],
)  # fmt: skip
def test_decoration_is_no_part_of_a_message(before: str, after: str) -> None:
    text = "".join(f"{before}{line}{after}\n" for line in PARSER_LOG.splitlines())
    assert brief(read(text).events) == ERRORS


@pytest.mark.parametrize("width", range(40, 160, 7))
def test_lines_that_a_terminal_wrapped(width: int) -> None:
    lines = PARSER_LOG.splitlines()
    cut = [line[start : start + width] for line in lines for start in range(0, len(line), width)]
    assert brief(read("\n".join(cut)).events) == ERRORS


def test_a_list_in_one_line() -> None:
    text = " ".join(line.strip() for line in PARSER_LOG.splitlines()[1:])
    assert brief(read(text).events) == ERRORS


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("last", range(8))
def test_a_log_may_begin_and_end_anywhere(first: int, last: int) -> None:
    lines = PARSER_LOG.splitlines()[first:last]
    expected = [error for index, error in enumerate(ERRORS, 2) if first <= index < last]
    assert brief(read("\n".join([*lines, ""])).events) == expected


@pytest.mark.parametrize("name", NAMES)
def test_reading_by_pieces_is_reading_at_once(name: str) -> None:
    text = (LOGS / name).read_text(encoding="utf-8")
    at_once = read(text)
    for size in (1, 7, 64):
        reader = DfcLogReader()
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        told = [event for piece in pieces for event in reader.feed(piece)]
        assert [*told, *reader.close()] == at_once.events
        assert reader.log.stages == at_once.stages


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    reader = DfcLogReader()
    reader.feed(text)
    reader.close()


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "nodes", "layers"),
    [
        ("UnexpectedNodeError: Unexpected node /Where (Where)", EventKind.PLACE, ("/Where",), ()),
        ("MisspellNodeError: Unable to find end node names: ['output0', 'output1']", EventKind.NAME,
         ("output0", "output1"), ()),
        ("ValueError: 'onnx::Sub_640' is not in list", EventKind.NAME, ("onnx::Sub_640",), ()),
        ("ValueError: channels is not in list", EventKind.CRASH, (), ()),
        ("ValueError: Unspecified inputs: {'attention_mask'}", EventKind.INPUT, ("attention_mask",), ()),
        ("TypeError: object of type 'NoneType' has no len()", EventKind.CRASH, (), ()),
        ("InvalidHNError: The original node name Y in end_node_names is missing in the HN", EventKind.NAME, ("Y",), ()),
        (("hailo_sdk_common.hailo_nn.exceptions.UnsupportedModelError: ew mult layer ew_mult1 (translated from "
         "/blocks/blocks.0/attn/Mul) expects 2 inputs but found 1"), EventKind.STRUCTURE,
         ("/blocks/blocks.0/attn/Mul",), ("ew_mult1",)),
        ("Invalid kernel shape for base dw layer base_dw1 (translated from node_Conv_10). Kernel features: 8192",
         None, (), ()),
        ("UnsupportedModelError: Invalid kernel shape for base dw layer base_dw1 (translated from node_Conv_10).",
         EventKind.STRUCTURE, ("node_Conv_10",), ("base_dw1",)),
        ("KeyError: 'minilm_encoder/input_layer1'", EventKind.INPUT, (), ("minilm_encoder/input_layer1",)),
        (("BadInputsShape: Data shape (5, 1) for layer bilstm_model/input_layer1 doesn't match network's input shape "
         "(1, 5, 1)"), EventKind.INPUT, (), ("bilstm_model/input_layer1",)),
        (("NegativeSlopeExponentNonFixable: Quantization failed in layer net/ne_activation_fc50 due to unsupported "
         "required slope. Desired shift is 11.0, but op has only 8 data bits."), EventKind.QUANTIZATION, (),
         ("net/ne_activation_fc50",)),
        ("[error] Shift delta in net/avgpool1/avgpool_op is larger than 2", EventKind.QUANTIZATION, (),
         ("net/avgpool1/avgpool_op",)),
        ("NMSConfigPostprocessException: The layer yolov8n/conv41 doesn't have one output layer", EventKind.SCRIPT, (),
         ("yolov8n/conv41",)),
        ("HailoNNException: The layer named conv70 doesn't exist in the HN", EventKind.SCRIPT, (), ("conv70",)),
        ("[error] BackendAllocatorException: Compilation failed: No successful assignments: concat24 errors:",
         EventKind.ALLOCATION, (), ("concat24",)),
        ("No successful assignments: concat18 / concat20 / activation2 errors:", EventKind.ALLOCATION, (),
         ("concat18", "concat20", "activation2")),
        ("slice1 has 2 APUs but max allowed is 1", None, (), ()),
        ("slice1 failed on kernel validation: slice1 has 2 APUs but max allowed is 1", EventKind.ALLOCATION, (),
         ("slice1",)),
        ("microcode exceeded size for resize1_sd0 (cluster_index=0, layer_index=0)", EventKind.ALLOCATION, (),
         ("resize1_sd0",)),
        ("AccelerasResourceError: GPU memory has been exhausted.", EventKind.ENVIRONMENT, (), ()),
        ("[error] The frobnicator is out of tune", EventKind.OTHER, (), ()),
        ("[info] Saved HAR to: /srv/net.har", None, (), ()),
        ("[warning] Something mild", EventKind.OTHER, (), ()),
        ("[info] Something said", None, (), ()),
    ],
)  # fmt: skip
def test_what_a_message_is_about(
    text: str, kind: EventKind | None, nodes: tuple[str, ...], layers: tuple[str, ...]
) -> None:
    found = [(event.kind, event.nodes, event.layers) for event in read(text).events]
    assert found == ([(kind, nodes, layers)] if kind is not None else [])


def test_a_crash_is_told_with_the_function_it_happened_in() -> None:
    text = (LOGS / "crash.log").read_text(encoding="utf-8")
    event = read(text).events[0]
    assert (event.kind, event.name, event.values["in"]) == (EventKind.CRASH, "IndexError", "_convert_axes_to_nhwc")


def test_frames_of_one_traceback_are_none_of_the_next() -> None:
    text = (LOGS / "crash.log").read_text(encoding="utf-8")
    assert [event.values.get("in") for event in read(text).events[1:]] == [None] * (len(read(text).events) - 1)


def test_an_exception_of_other_code_is_no_crash_of_the_parser() -> None:
    text = 'Traceback (most recent call last):\n  File "/srv/me/export.py", line 3, in main\nIndexError: out of range\n'
    assert only(text).kind is EventKind.OTHER


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("Parsing failed with recommendations for end node names: ['/a/Conv', '/b/Mul'].", ("/a/Conv", "/b/Mul")),
        ("[info] According to recommendations, retrying parsing with end node names: ['/a/Conv'].", ("/a/Conv",)),
        ("[info] In order to use HailoRT post-processing capabilities, these end node names should be used: a b c.",
         ("a", "b", "c")),
        ("Please try to parse again, using these end node names: /a/Conv,\n/b/Conv\n", ("/a/Conv", "/b/Conv")),
    ],
)  # fmt: skip
def test_end_nodes_however_they_are_listed(text: str, nodes: tuple[str, ...]) -> None:
    assert (only(text).kind, only(text).nodes) == (EventKind.END_NODES, nodes)


def test_the_optimization_level_and_why() -> None:
    event = only((LOGS / "wrapped_colour.log").read_text(encoding="utf-8").split("[0;31m")[0].split("\n", 1)[1])
    assert (event.kind, event.values["level"]) == (EventKind.LEVEL, "0")
    assert "recommended amount (1024), and there's no available GPU" in event.values["reason"]


# --- the log as a whole -----------------------------------------------------------------------------------------------


def test_how_far_it_came() -> None:
    log = read_dfc_log(LOGS / "seg_compile.log")
    assert (log.chip, log.network, log.done) == ("hailo8", "yolov8n_seg", ["parse", "optimize"])
    assert [stage.name for stage in log.stages][-1] == "compile"
    assert log.stage is not None
    assert log.stage.detail == "Iteration #4 - 3 contexts"
    assert log.layers == {"yolov8n_seg/input_layer1": "images"}
    assert "Bias Correction" in log.skipped


def test_stages_show_as_they_begin() -> None:
    reader = DfcLogReader()
    seen = []
    for line in (LOGS / "seg_compile.log").read_text(encoding="utf-8").splitlines(keepends=True):
        reader.feed(line)
        if reader.log.stage is not None:
            seen.append(reader.log.stage.name)
    assert list(dict.fromkeys(seen)) == ["parse", "optimize", "compile"]


def test_an_error_is_moot_once_a_later_attempt_succeeds() -> None:
    text = PARSER_LOG + "[info] Translation started on ONNX model {}\n[info] Translation completed on ONNX model {}\n"
    same, other = read(text.replace("{}", "yolo26n")), read(text.replace("{}", "resnet"))
    assert [event.kind for event in same.of(*EventKind)] == [EventKind.END_NODES]
    assert len(other.of(*EventKind)) == len(ERRORS)


def test_versions() -> None:
    log = read_dfc_log(LOGS / "ocr_parser.log")
    assert (log.version, log.chip) == ("3.31.0", "hailo8l")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_of_shells(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "parser.log"
    path.write_bytes(PARSER_LOG.replace("\n", "\r\n").encode(encoding))
    log = read_dfc_log(path)
    assert brief(log.events) == ERRORS
    assert log.source == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\x08\x07\x12\x04\x00\x00model" * 9, "no text"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_log(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.log"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_dfc_log(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_dfc_log(tmp_path)


def test_a_string_is_a_path_unless_it_reads_like_a_message(tmp_path: Path) -> None:
    path = tmp_path / "my: parser.log"
    path.write_text(PARSER_LOG, encoding="utf-8")
    assert brief(read_dfc_log(str(path)).events) == ERRORS
    assert read_dfc_log("UnexpectedNodeError: Unexpected node /Where (Where)").events[0].nodes == ("/Where",)
    with pytest.raises(InputError, match=r"missing\.log"):
        read_dfc_log("missing.log")


def test_libraries_below_and_a_spinner_are_left_out() -> None:
    log = read_dfc_log(
        "[info] No GPU chosen and no suitable GPU found, falling back to CPU.\n"
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        "E0000 00:00:1759859330.731148 1701077 cuda_dnn.cc:8310] Unable to register cuDNN factory\n"
        "2024-10-14 16:41:23.572460: I tensorflow/core/executor.cc:1197] (DEBUG INFO) Executor start aborting\n"
        "[info] Single context flow failed: Recoverable single context error\n"
        "[.......................<==>.............] Duration: 00:01:03\n"
        "Found valid partition to 7 contexts\n"
    )
    assert [(event.kind, event.line) for event in log.events] == [
        (EventKind.NO_GPU, 1), (EventKind.CONTEXTS, 5), (EventKind.CONTEXTS, 7)
    ]  # fmt: skip
    assert log.events[0].text.endswith("falling back to CPU.")
    assert log.events[1].values == {"reason": "Recoverable single context error"}


def test_a_warning_that_is_not_known_is_kept() -> None:
    (event,) = read_dfc_log("[warning] Training cut by the user, proceed at your own peril\n").events
    assert (event.kind, event.name) == (EventKind.OTHER, "warning")
    assert event.text == "Training cut by the user, proceed at your own peril"


def test_a_shift_is_told_with_its_layer() -> None:
    text = "[info] No shifts available for layer net/conv79/conv_op, using max shift instead. delta=0.0653\n"
    (event,) = read_dfc_log(text).events
    assert (event.kind, event.layers, event.values) == (EventKind.SHIFT, ("net/conv79",), {"delta": "0.0653"})


@pytest.mark.parametrize("word", ["a/" * 100_000, "a." * 100_000, "A" * 100_000, "Error " * 9_000, "a / " * 40_000])
def test_a_dump_of_data_in_a_log_takes_no_time(word: str) -> None:
    begin = time.process_time()
    read_dfc_log(f"[error] No successful assignment: {word}\n{word}\n")
    assert time.process_time() - begin < 4
