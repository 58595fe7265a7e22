#!/usr/bin/env python3
"""Build the HEF of this bundle with the Hailo Dataflow Compiler.

    python compile.py                 parse, optimize (quantize), compile
    python compile.py --to parse      stop after a stage
    python compile.py --fresh         do not go on from what an earlier run left

Needs the compiler (hailo_sdk_client, x86-64 Linux) and numpy, nothing else. What it reads lies beside it: model.onnx,
model.alls, script.json, manifest.json, the calibration set. What it writes goes to compiled/: the archives of the
stages (.har), resolved.alls, model.hef, compiled.json.

Exit codes: 0 built; 1 the compiler refused; 2 something is missing or does not fit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STAGES = ("parse", "optimize", "compile")


class Stop(Exception):
    """Something is missing or does not fit; the text says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", choices=STAGES, default="compile", help="the last stage to run (default: compile)")
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever an earlier run left")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "compiled", help="where results go")
    options = parser.parse_args()
    try:
        build(options.output, options.to, options.fresh)
    except Stop as stop:
        say("stopped", str(stop))
        return 2
    return 0


def say(word: str, text: str) -> None:
    """A line that irkit compile, or a person, reads."""
    print(f"[irkit] {word}: {text}", flush=True)


def build(output: Path, last: str, fresh: bool) -> None:
    """All stages, each kept as an archive that a later run goes on from."""
    plan = read_plan()
    key = stage_key(plan)
    runner_class = import_compiler()
    output.mkdir(parents=True, exist_ok=True)
    archives = {stage: output / f"{stage}-{key[:12]}.har" for stage in ("parse", "optimize")}
    done = [] if fresh else [stage for stage, path in archives.items() if path.exists()]
    runner = None
    if "optimize" not in done or last == "parse":
        runner = parsed(runner_class, plan, archives["parse"], resume="parse" in done)
        script = resolved_script(runner, plan, output)
        if last == "parse":
            say("done", f"parsed: {archives['parse']}")
            return
        runner = optimized(runner, plan, script, archives["optimize"])
    else:
        say("stage", f"optimize (kept from an earlier run: {archives['optimize'].name})")
        runner = runner_class(hw_arch=plan["hw_arch"], har=str(archives["optimize"]))
    if last == "optimize":
        say("done", f"optimized: {archives['optimize']}")
        return
    say("stage", "compile")
    hef = runner.compile()
    write_whole(output / "model.hef", bytes(hef))
    result = {"hef": "model.hef", "bytes": len(hef), "sha256": hashlib.sha256(hef).hexdigest(), "key": key}
    write_whole(output / "compiled.json", (json.dumps(result, indent=2) + "\n").encode())
    say("done", f"built {output / 'model.hef'} ({len(hef):,} bytes)")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


# --- what the bundle says --------------------------------------------------------------------------------------------


def read_plan() -> dict[str, Any]:
    """script.json, once the bundle is seen to be whole and its drift accepted."""
    manifest = read_json("manifest.json")
    for name, entry in manifest["files"].items():
        path = HERE / name
        if not path.exists():
            raise Stop(f"{name} is missing from the bundle: write it again with irkit optimize")
        if name in ("report.json", "report.md"):
            continue
        if sha256(path) != entry["sha256"]:
            raise Stop(f"{name} was changed after irkit wrote the bundle: write it again with irkit optimize")
    if manifest.get("drift") == "unaccepted":
        raise Stop(
            "the bundle holds a model whose function changed, which nobody accepted: see report.md; "
            "irkit optimize --exact keeps the function, --accept-drift PASS accepts the change"
        )
    plan = read_json("script.json")
    if not plan.get("end_nodes"):
        raise Stop("script.json names no end nodes: write the bundle again with irkit optimize")
    by_runtime = plan.get("nms") or "nms_postprocess(" in (HERE / "model.alls").read_text(encoding="utf-8")
    if by_runtime and (HERE / "host.onnx").exists():
        raise Stop(
            "boxes would be decoded twice, by nms_postprocess and by host.onnx: irkit optimize with --postprocess host "
            "writes only host.onnx, with --postprocess hailort only the command"
        )
    return plan


def read_json(name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((HERE / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Stop(f"cannot read {name}: {error}; write the bundle again with irkit optimize") from None
    return found


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def stage_key(plan: dict[str, Any]) -> str:
    """A hash of what the stages depend on, so that an archive of other input is never taken."""
    digest = hashlib.sha256()
    names = ["model.onnx", "model.alls", "script.json", *sorted(path.name for path in HERE.glob("model.*.data"))]
    calibration = plan.get("calibration") or {}
    for name in [*names, *filter(None, (calibration.get("file"), plan.get("nms")))]:
        digest.update(f"{name} {sha256(HERE / name)}\n".encode())
    return digest.hexdigest()


def import_compiler() -> Any:
    try:
        from hailo_sdk_client import ClientRunner
    except ImportError as error:
        raise Stop(
            f"the Dataflow Compiler is not in this Python ({sys.executable}): {error}. It is a wheel for x86-64 Linux "
            "from https://hailo.ai/developer-zone (an account is needed); run compile.py with the Python it is in"
        ) from None
    return ClientRunner


# --- parse -----------------------------------------------------------------------------------------------------------


def parsed(runner_class: Any, plan: dict[str, Any], archive: Path, *, resume: bool) -> Any:
    """The parsed network; the model is static, so no shapes are given."""
    if resume:
        say("stage", f"parse (kept from an earlier run: {archive.name})")
        return runner_class(hw_arch=plan["hw_arch"], har=str(archive))
    say("stage", "parse")
    runner = runner_class(hw_arch=plan["hw_arch"])
    starts = {"start_node_names": plan["start_nodes"]} if plan.get("start_nodes") else {}
    runner.translate_onnx_model(
        str(HERE / "model.onnx"), plan["net_name"], end_node_names=list(plan["end_nodes"]), **starts
    )
    runner.save_har(str(archive))
    return runner


def layers_of(runner: Any) -> dict[str, Any]:
    """The layers of the parsed network by name."""
    hn = runner.get_hn_dict() if hasattr(runner, "get_hn_dict") else runner.get_hn()
    if isinstance(hn, str):
        hn = json.loads(hn)
    layers: dict[str, Any] = hn["layers"]
    return layers


def layer_of_node(layers: dict[str, Any], node: str) -> str:
    """The layer that an ONNX node became, or was taken into."""
    found = [
        name
        for name, layer in layers.items()
        if node in (layer.get("original_names") or ()) and layer.get("type") not in ("input_layer", "output_layer")
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Stop(f"no layer comes from the node {node!r}, which a command of script.json speaks of: it was dropped")
    raise Stop(f"the node {node!r} became several layers ({', '.join(found)}): script.json must name one of them")


def short(layer: str) -> str:
    """A layer as model scripts name it: without the network's name before the slash."""
    return layer.rpartition("/")[2]


def resolved_script(runner: Any, plan: dict[str, Any], output: Path) -> str:
    """model.alls and the commands on layers, with the names that parsing gave; written to resolved.alls."""
    layers = layers_of(runner)
    lines = (HERE / "model.alls").read_text(encoding="utf-8").rstrip("\n").split("\n")
    for command in plan.get("commands", ()):
        lines.append(resolved_command(layers, command, plan))
    if plan.get("nms"):
        lines.append(nms_command(layers, plan["nms"], output))
    text = "\n".join(lines) + "\n"
    (output / "resolved.alls").write_text(text, encoding="utf-8")
    say("resolved", f"{len(plan.get('commands', ()))} commands on layers: {output / 'resolved.alls'}")
    return text


def resolved_command(layers: dict[str, Any], command: dict[str, Any], plan: dict[str, Any]) -> str:
    """A command with the names of layers in the place of those of nodes or inputs."""
    if command.get("inputs"):
        given = [*command["args"], *(short(layer_of_input(layers, name, plan)) for name in command["inputs"])]
    else:
        names = [short(layer_of_node(layers, node)) for node in command["nodes"]]
        given = [names[0] if len(names) == 1 else f"[{', '.join(names)}]", *command["args"]]
    given += [f"{key}={value}" for key, value in command["settings"].items()]
    made = f"{command['makes']} = " if command.get("makes") else ""
    return f"{made}{command['name']}({', '.join(given)})"


def input_layers(layers: dict[str, Any]) -> list[str]:
    """Names of the input layers, in the order of the model's inputs."""
    return [name for name, layer in layers.items() if layer.get("type") == "input_layer"]


def layer_of_input(layers: dict[str, Any], name: str, plan: dict[str, Any]) -> str:
    """The layer of an input of the model: they come in its order."""
    found, expected = input_layers(layers), plan["inputs"]
    if len(found) != len(expected) or name not in expected:
        raise Stop(f"the network has {len(found)} inputs after parsing; the model has {', '.join(expected)}")
    return found[int(expected.index(name))]


def nms_command(layers: dict[str, Any], file: str, output: Path) -> str:
    """The NMS settings with the names of layers in the place of those of nodes, and the command that reads them."""
    settings = read_json(file)

    def resolve(item: Any) -> Any:
        if isinstance(item, dict):
            return {
                key: short(layer_of_node(layers, value["node"])) if is_node(value) else resolve(value)
                for key, value in item.items()
            }
        return [resolve(one) for one in item] if isinstance(item, list) else item

    def is_node(value: Any) -> bool:
        return isinstance(value, dict) and set(value) == {"node"}

    place = output / "nms.json"
    place.write_text(json.dumps(resolve(settings["config"]), indent=2) + "\n", encoding="utf-8")
    return f'nms_postprocess("{place}", meta_arch={settings["meta_arch"]}, engine={settings["engine"]})'


# --- optimize --------------------------------------------------------------------------------------------------------


def optimized(runner: Any, plan: dict[str, Any], script: str, archive: Path) -> Any:
    """The quantized network."""
    data = calibration_data(runner, plan)
    say("stage", "optimize")
    runner.load_model_script(script)
    runner.optimize(data)
    runner.save_har(str(archive))
    return runner


def calibration_data(runner: Any, plan: dict[str, Any]) -> Any:
    """The calibration set as the compiler takes it: one array, or arrays by the names of input layers."""
    import numpy as np

    calibration = plan.get("calibration")
    if not calibration:
        raise Stop(
            "the bundle has no calibration set, and the compiler quantizes by real data: write it again with "
            "irkit optimize MODEL --calib FILE"
        )
    if calibration.get("random"):
        say("warning", "the calibration set is random: accuracy on the chip says nothing")
    layers = layers_of(runner)
    inputs = [(name, layers[name]) for name in input_layers(layers)]
    expected = calibration["inputs"]
    if len(inputs) != len(expected):
        raise Stop(f"the network has {len(inputs)} inputs after parsing; the calibration set has {len(expected)}")
    try:
        loaded = np.load(HERE / calibration["file"], mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Stop(
            f"{calibration['file']} cannot be read: {error}; write the bundle again with irkit optimize"
        ) from None
    arrays = {expected[0]: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in expected}
    keyed = {}
    for (layer_name, layer), name in zip(inputs, expected):
        wanted, found = input_shape(layer), list(arrays[name].shape[1:])
        if wanted != found:
            raise Stop(
                f"the compiler's input {layer_name!r} takes samples of shape {wanted}; those for {name!r} are {found}: "
                "they must be (N, height, width, channels)"
            )
        keyed[layer_name] = arrays[name]
    return keyed if len(keyed) > 1 else next(iter(keyed.values()))


def input_shape(layer: dict[str, Any]) -> list[int]:
    """Height, width and channels of an input layer."""
    shape = layer.get("output_shapes") or layer.get("input_shapes")
    first = shape[0] if shape and isinstance(shape[0], (list, tuple)) else shape
    return [int(size) for size in list(first or ())[1:]]


if __name__ == "__main__":
    sys.exit(main())
