"""HEF files: read whole, checked, and refused where they are not what they say."""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from irkit.cli import main
from irkit.errors import ModelError
from irkit.hailo.hef.check import check_hef
from irkit.hailo.hef.container import COMMON, HEADER_SIZE, REST
from irkit.hailo.hef.contents import Hef
from irkit.hailo.hef.reader import read_hef
from irkit.hailo.hef.writer import Fixture, Layer, fixture_bytes, seal
from irkit.onnx.wire import blob, integer, varint
from tests.conftest import find_corpus

LAYERS = (
    Layer("net/input_layer1", (2, 100, 9), original_names=("/conv1/Conv",), scale=0.02, zero_point=120.0),
    Layer("net/fc1", (1, 1, 10), True, ("/head/Gemm",), scale=0.1, zero_point=128.0, format=2),
    Layer("net/conv9", (1, 1, 10), True, ("/aux/Conv", "/aux/Relu"), scale=0.5, format=3),
)
FIXTURE = Fixture(LAYERS)


def _written(folder: Path, fixture: Fixture) -> Path:
    path = folder / f"v{fixture.version}.hef"
    path.write_bytes(fixture_bytes(fixture))
    return path


def _read(folder: Path, fixture: Fixture) -> Hef:
    return read_hef(_written(folder, fixture))


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_reads_every_header_version(tmp_path: Path, version: int) -> None:
    hef = _read(tmp_path, replace(FIXTURE, version=version))
    assert (hef.header, hef.target, hef.compiler) == (version, "hailo8", "3.33.0")
    assert all(one.ok for one in hef.checksums)
    assert len(hef.checksums) == (2 if version == 3 else 1)
    (group,) = hef.groups
    assert [stream.name for stream in group.inputs] == ["net/input_layer1"]
    assert group.inputs[0].shape == (2, 100, 9)
    assert group.inputs[0].hw_shape == (2, 104, 16)
    assert group.inputs[0].quantization is not None
    assert group.inputs[0].quantization.scale == pytest.approx(0.02)
    assert [stream.original_names for stream in group.outputs] == [("/head/Gemm",), ("/aux/Conv", "/aux/Relu")]
    assert group.contexts == 1
    assert group.fps == 1000.0


def test_oldest_runtime_follows_from_header_and_extensions(tmp_path: Path) -> None:
    oldest = {version: _read(tmp_path, replace(FIXTURE, version=version)).min_hailort for version in (0, 1, 2, 3)}
    assert oldest == {0: "4.14", 1: "4.18", 2: "4.20", 3: "4.21"}
    assert _read(tmp_path, replace(FIXTURE, version=0, extensions=(0,))).min_hailort == ""


def test_layouts_of_a_smaller_chip_are_one_network(tmp_path: Path) -> None:
    hef = _read(tmp_path, replace(FIXTURE, arch=3))
    assert hef.target == "hailo8l"
    assert hef.groups[0].layouts == (51, 204)
    assert [stream.name for stream in hef.groups[0].outputs] == ["net/fc1", "net/conv9"]
    assert [stream.name for stream in hef.groups[0].inputs] == ["net/input_layer1"]


def test_tensors_between_contexts_are_no_outputs(tmp_path: Path) -> None:
    between = Layer("net/conv4", (10, 10, 32), True, ("/mid/Conv",), connection=1)
    into = replace(between, is_output=False, context=1)
    hef = _read(tmp_path, replace(FIXTURE, layers=(*LAYERS, between, into)))
    (group,) = hef.groups
    assert group.contexts == 2
    assert [(edge.name, edge.source, edge.to) for edge in group.edges] == [("net/conv4", 0, (1,))]
    assert len(group.outputs) == 2


def test_output_behind_nms_replaces_what_it_reads(tmp_path: Path) -> None:
    layers = (LAYERS[0], *(replace(layer, pad_index=place) for place, layer in enumerate(LAYERS[1:])))
    hef = _read(tmp_path, replace(FIXTURE, layers=layers, nms="net/yolov8_nms_postprocess"))
    (output,) = hef.groups[0].outputs
    assert output.name == "net/yolov8_nms_postprocess"
    assert output.order == "HAILO NMS BY CLASS"
    assert output.nms is not None
    assert (output.nms.kind, output.nms.score_threshold, output.nms.classes) == ("yolov8", 0.2, 80)
    assert output.original_names == ("/head/Gemm", "/aux/Conv", "/aux/Relu")


def test_suppression_on_the_chip(tmp_path: Path) -> None:
    nms = Layer("net/nms1", (1, 1, 1), True, ("/nms",), format=6, boxes=(80, 20))
    (output,) = _read(tmp_path, replace(FIXTURE, layers=(LAYERS[0], nms))).groups[0].outputs
    assert (output.order, output.shape) == ("HAILO NMS BY CLASS", (80, 5, 20))


def test_outputs_that_leave_the_chip_as_one(tmp_path: Path) -> None:
    """The stream is one; whoever uses HailoRT sees what it is made of."""
    mux = Layer("net/mux1", (1, 1, 640), True, parts=LAYERS[1:])
    (group,) = _read(tmp_path, replace(FIXTURE, layers=(LAYERS[0], mux))).groups
    assert [stream.name for stream in group.streams if stream.direction == "output"] == ["net/mux1"]
    assert {stream.name: stream.original_names for stream in group.outputs} == {
        layer.name: layer.original_names for layer in LAYERS[1:]
    }


def test_an_image_in_planes(tmp_path: Path) -> None:
    planes = Layer("net/input_layer1", (480, 640, 3), is_planes=True)
    (given,) = _read(tmp_path, replace(FIXTURE, layers=(planes, *LAYERS[1:]))).groups[0].inputs
    assert (given.shape, given.order) == ((480, 640, 3), "planes")


def test_tensors_that_go_by_ddr(tmp_path: Path) -> None:
    between = Layer("net/conv4", (10, 10, 32), True, ("/mid/Conv",), connection=2)
    into = replace(between, is_output=False)
    (group,) = _read(tmp_path, replace(FIXTURE, layers=(*LAYERS, between, into))).groups
    assert [(edge.name, edge.kind) for edge in group.edges] == [("net/conv4", "ddr")]
    assert len(group.outputs) == 2


def test_several_networks_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = replace(FIXTURE, name="second")
    hef = _read(tmp_path, replace(FIXTURE, others=(second,)))
    assert [group.name for group in hef.groups] == ["net", "second"]
    assert [len(group.outputs) for group in hef.groups] == [2, 2]
    path = tmp_path / "two.hef"
    path.write_bytes(fixture_bytes(replace(FIXTURE, others=(second,))))
    assert main(["hef", str(path)]) == 0
    assert "network group second" in capsys.readouterr().out


def test_sixteen_bits(tmp_path: Path) -> None:
    hef = _read(tmp_path, replace(FIXTURE, layers=(LAYERS[0], replace(LAYERS[1], bits=16))))
    assert hef.groups[0].outputs[0].dtype == "uint16"


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "no HEF"),
    "another file": (lambda data: b"\x08\x08" + data, "no HEF"),
    "newer header": (lambda data: data[:4] + struct.pack(">I", 9) + data[8:], "header version 9"),
    "header cut": (lambda data: data[:20], "truncated"),
    "cut": (lambda data: data[: len(data) // 2], "missing"),
    "longer": (lambda data: data + b"more", "4 bytes more"),
    "one bit": (lambda data: data[:-80] + bytes([data[-80] ^ 1]) + data[-79:], "must be"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_broken_files_are_refused(tmp_path: Path, version: int, name: str) -> None:
    breaks, told = BROKEN[name]
    path = tmp_path / "broken.hef"
    path.write_bytes(breaks(fixture_bytes(replace(FIXTURE, version=version))))
    with pytest.raises(ModelError, match=told) as caught:
        read_hef(path)
    assert str(path) in str(caught.value)


def test_a_truncated_file_tells_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cut.hef"
    path.write_bytes(fixture_bytes(FIXTURE)[:200])
    with pytest.raises(ModelError, match=r"compiled by compiler 3\.33\.0 for HAILO8P"):
        read_hef(path)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a message in itself without end": lambda: _nested(50_000),
    "a length beyond the file": lambda: b"\x12" + varint(1 << 62) + b"x",
    "a number without end": lambda: b"\x08" + b"\xff" * 40,
    "no group": lambda: blob(1, integer(1, 1)),
    "a wire type nobody uses": lambda: b"\x0f\x00",
    "a million fields": lambda: blob(2, integer(77, 1) * 1_100_000),
    "a million names": lambda: blob(2, blob(4, b"") * 1_100_000),
    "text that is none": lambda: blob(1, blob(3, b"\xff\xfe")) + blob(2, b""),
    "a number for a message": lambda: integer(2, 5),
}


def _nested(depth: int) -> bytes:
    """Groups within partial groups within groups: field 2, then 7 and 1 in turn."""
    body = b""
    for _ in range(depth):
        body = blob(7, blob(1, body))
        if len(body) > 100_000:
            break
    return blob(2, body)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.hef"
    path.write_bytes(seal(2, HOSTILE[name]()))
    with pytest.raises(ModelError):
        read_hef(path)


def _mutated(random_: random.Random, proto: bytes) -> bytes:
    data = bytearray(proto)
    for _ in range(random_.choice((1, 1, 2, 8))):
        place = random_.randrange(len(data))
        kind = random_.randrange(5)
        if kind == 0:
            data[place] = random_.randrange(256)
        elif kind == 1:
            data[place : place + 1] = varint(random_.getrandbits(random_.choice((7, 14, 32, 63))))
        elif kind == 2:
            del data[place : place + random_.randrange(1, 9)]
        elif kind == 3:
            data[place:place] = data[place : place + random_.randrange(1, 60)]
        else:
            data[place:place] = random_.randbytes(random_.randrange(1, 9))
        if not data:
            return b""
    return bytes(data)


def test_ten_thousand_mutated_files_read_or_are_refused(tmp_path: Path) -> None:
    """Every second one has right checksums, so that what is within gets looked at too."""
    resource = pytest.importorskip("resource", reason="memory is measured by the resource module of Unix")
    random_ = random.Random(8)
    between = Layer("net/conv4", (10, 10, 32), True, ("/mid/Conv",), connection=1)
    kinds = [FIXTURE, replace(FIXTURE, arch=3), replace(FIXTURE, layers=(*LAYERS, between), nms="net/nms")]
    wholes = [fixture_bytes(replace(kind, version=version)) for kind in kinds for version in (0, 1, 2, 3)]
    path = tmp_path / "mutated.hef"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = 0
    for _ in range(10_000):
        whole = random_.choice(wholes)
        version = COMMON.unpack(whole[: COMMON.size])[1]
        if random_.random() < 0.5:
            path.write_bytes(_mutated(random_, whole))
        else:
            size = COMMON.unpack(whole[: COMMON.size])[2]
            start = HEADER_SIZE[version]
            path.write_bytes(seal(version, _mutated(random_, whole[start : start + size])))
        try:
            read += read_hef(path).size > 0
        except ModelError:
            continue
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert 500 < read < 8_000
    assert grown < 200 << 20


def test_header_sizes_are_those_of_hailort() -> None:
    assert HEADER_SIZE == {0: 32, 1: 28, 2: 44, 3: 56}
    assert all(HEADER_SIZE[version] == COMMON.size + REST[version].size for version in REST)


@pytest.mark.parametrize(
    ("arch", "target", "severities"),
    [
        (1, "hailo8", []),
        (0, "hailo8", []),
        (3, "hailo8l", []),
        (3, "hailo8", ["warning"]),
        (1, "hailo8l", ["error"]),
        (103, "hailo8", ["error"]),
        (77, "hailo8", ["warning"]),
    ],
)
def test_which_chip_takes_it(tmp_path: Path, arch: int, target: str, severities: list[str]) -> None:
    found = check_hef(_read(tmp_path, replace(FIXTURE, arch=arch)), target)
    assert [finding.severity.label for finding in found] == severities


def test_size_runtime_and_contexts_are_checked(tmp_path: Path) -> None:
    hef = _read(tmp_path, replace(FIXTURE, extensions=(99,), layers=(*LAYERS, Layer("net/x", (1, 1, 8), context=1))))
    assert [finding.rule for finding in check_hef(hef, "hailo8", 100)] == [
        "hef-too-large",
        "unknown-hef-extension",
        "outdated-hef",
        "several-hef-contexts",
    ]
    assert not list(check_hef(_read(tmp_path, FIXTURE), "hailo8", 1 << 20))


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _written(tmp_path, FIXTURE)
    assert main(["hef", str(path), "--check", "--max-size", "32MB"]) == 0
    assert "net/fc1" in capsys.readouterr().out
    assert main(["hef", str(path), "--check", "--max-size", "0.1k", "--format", "json"]) == 1
    plain = json.loads(capsys.readouterr().out)
    assert plain["network_groups"][0]["outputs"][0]["original_names"] == ["/head/Gemm"]
    assert [finding["code"] for finding in plain["findings"]] == ["HAI702"]
    assert main(["hef", str(path), "--max-size", "huge"]) == 2
    assert main(["hef", str(tmp_path / "none.hef")]) == 2
    path.write_bytes(path.read_bytes()[:300])
    assert main(["hef", str(path)]) == 2
    assert "truncated" in capsys.readouterr().err


def test_what_a_terminal_obeys_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _written(tmp_path, replace(FIXTURE, name="net\x1b[2J"))
    assert main(["hef", str(path)]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out


def _real(name: str) -> Path:
    corpus = find_corpus()
    if corpus is None or not (corpus.parent / "hef" / name).exists():
        pytest.skip(f"{name}: no real HEF files beside the corpus of real models")
    return corpus.parent / "hef" / name


def test_a_real_file_of_header_version_2() -> None:
    hef = read_hef(_real("arcface_mobilefacenet_dfc3.31_v2.hef"))
    assert (hef.size, hef.header, hef.arch, hef.compiler) == (3_552_250, 2, 1, "3.31.0")
    (group,) = hef.groups
    assert group.contexts == 1
    (stream,) = group.inputs
    assert (stream.shape, stream.order, stream.dtype) == ((112, 112, 3), "NHWC", "uint8")
    (stream,) = group.outputs
    assert (stream.shape, stream.order) == ((1, 1, 512), "NC")
    assert stream.quantization is not None
    assert stream.quantization.zero_point == 144
    assert stream.quantization.scale == pytest.approx(0.01674, abs=1e-5)


def test_a_real_file_of_header_version_0() -> None:
    hef = read_hef(_real("xfeat_224x320_dfc3.27_v0.hef"))
    assert (hef.size, hef.header, hef.arch, hef.compiler) == (2_595_744, 0, 1, "3.27.0")
    (group,) = hef.groups
    assert group.contexts == 1
    assert group.fps == pytest.approx(6514.6, abs=0.1)
    assert [stream.shape for stream in group.inputs] == [(224, 320, 1)]
    assert [stream.hw_order for stream in group.inputs] == ["NHCW"]
    assert [stream.shape for stream in group.outputs] == [(28, 40, 64), (28, 40, 64), (28, 40, 1)]
    assert len({stream.original_names for stream in group.outputs}) == 3


def test_a_real_truncated_file() -> None:
    with pytest.raises(ModelError, match=r"promises 10,695,574 bytes, the file has 2,621,440; 8,074,134"):
        read_hef(_real("truncated_yolov8n_8l_v0.hef"))
