"""HAI540 to HAI549: how scripts call Hailo's tools."""

from __future__ import annotations

import re
from collections.abc import Iterator

from irkit.checks.scripts import at
from irkit.diagnostics import Severity
from irkit.hailo import tools
from irkit.hailo.pyscript import PythonFile
from irkit.hailo.scripts import ScriptFile
from irkit.hailo.shell import ToolCall
from irkit.linter import Found, Subject, rule
from irkit.tomlfile import suggest

_DEVICE = re.compile(
    r"(?<!to )(?<!can )(?<!that )\b(?:run|execute|compile|start|build)\b(?:\s+(?:this|it|me|these|everything|all|"
    r"directly|the|script|commands|model|steps))*\s+(?:on|from)\s+(?:the\s+|a\s+|your\s+)?(?:raspberry|rpi|pi\b|arm64|aarch64|jetson)",
    re.IGNORECASE,
)
_ARM = re.compile(
    r"==?\s*[\"']?(?:aarch64|arm64|armv7l)|apt(?:-get)?\s+install[^\n]*\bhailo-all\b|/home[/]pi/", re.IGNORECASE
)
_CHECKED = re.compile(r"x86_64|amd64", re.IGNORECASE)
_HOST = re.compile(r"raspberry|rpi|(?:^|@)pi\b|^pi@|jetson|arm", re.IGNORECASE)
_OLD_NAME = re.compile(r"\bHailoRTService\b|(?<!\w)\.load_hef\(")


def _calls(subject: Subject, tool: str = "hailo") -> Iterator[tuple[ScriptFile, ToolCall]]:
    for file in subject.scripts:
        for call in file.calls:
            if call.tool == tool:
                yield file, call


def _pythons(subject: Subject) -> Iterator[tuple[ScriptFile, PythonFile]]:
    for file in subject.scripts:
        if file.python is not None:
            yield file, file.python


@rule("HAI540", "unknown-tool-command", Severity.WARNING, facts=("tool_commands",))
def unknown_tool_command(subject: Subject) -> Iterator[Found]:
    """A command of `hailo` that the Dataflow Compiler does not have.

    Why: `hailo` of the compiler parses, optimizes and compiles; running a HEF is HailoRT's part, on the device.

    Example:
        hailortcli run net.hef --input-files input.bin
    Fix: use the command that does it.
    """
    fact = subject.target.facts.tool_commands
    for file, call in _calls(subject) if fact is not None else ():
        assert fact is not None
        command = call.command
        if command and command not in fact.value and re.fullmatch(r"[a-z][a-z0-9-]*", command):
            instead = tools.COMMAND_INSTEAD.get(command, "")
            if not instead and command in tools.RUNTIME_COMMANDS:
                instead = f"hailortcli {command}, on the device"
            if call.spoken and not (instead and _is_shown(call)):
                continue  # prose: "hailo tools are needed"
            hint = "" if instead else suggest(command, fact.value)
            yield Found(
                f"the compiler's `hailo` has no command `{command}`{hint}", origin=at(file, call.line), advice=instead
            )


def _is_shown(call: ToolCall) -> bool:
    """Whether a call in a text is one to type, with a file or a flag, and no part of a sentence."""
    return any(word.startswith("-") or re.search(r"\.[a-z]|\$|/", word) for word in call.arguments)


@rule("HAI541", "unknown-tool-flag", Severity.WARNING)
def unknown_tool_flag(subject: Subject) -> Iterator[Found]:
    """A flag of `hailo` that no public script, log or help text shows.

    Why: the tool stops at a flag it does not know, and what it was meant to set stays at its default.

    Example:
        hailo optimize net.har --hw-arch hailo8 --calib-set-path calib.npy --model-script net.alls
    Fix: use the flag that does it, or the command of the model script.
    """
    for file, call in _calls(subject):
        known = tools.FLAGS.get(call.command)
        if known is None:
            continue
        for flag in dict.fromkeys(call.flags):
            if flag in known or _is_short_form(flag, known):
                continue
            instead = tools.INSTEAD.get((call.command, flag), "")
            hint = "" if instead else suggest(flag, known)
            yield Found(
                f"`{call}` has no flag `{flag}` that is publicly known{hint}",
                origin=at(file, call.line),
                advice=instead,
            )


def _is_short_form(flag: str, known: frozenset[str]) -> bool:
    """Python's argument parser takes the front of a long flag, where it fits one flag only."""
    return flag.startswith("--") and sum(name.startswith(flag) for name in known) == 1


@rule("HAI542", "profiler-wants-har", Severity.WARNING)
def profiler_wants_har(subject: Subject) -> Iterator[Found]:
    """The profiler, optimizer or compiler is given a file of another kind than it takes.

    Why: `hailo parser` takes an ONNX model; the others take the HAR that it writes. A HEF is for HailoRT only.

    Example:
        hailo profiler net_compiled.har --runtime-data run.json
    Fix: give it the HAR; for times on the device, hailortcli run FILE.hef --measure-latency.
    """
    for file, call in _calls(subject):
        if call.command not in ("profiler", "optimize", "compiler", "analyze-noise"):
            continue
        given = next((word for word in call.arguments if word.lower().endswith((".hef", ".onnx", ".pt", ".pth"))), "")
        if given and not given.startswith("-") and not _belongs_to_flag(call, given):
            advice = (
                "hailortcli run FILE.hef --measure-latency measures on the device"
                if given.lower().endswith(".hef")
                else "run hailo parser onnx first"
            )
            yield Found(f"`{call}` takes a HAR; found `{given}`", origin=at(file, call.line), advice=advice)


def _belongs_to_flag(call: ToolCall, word: str) -> bool:
    place = call.words.index(word)
    return place > 0 and call.words[place - 1].startswith("--")


@rule("HAI543", "unknown-runtime-name", Severity.ERROR)
def unknown_runtime_name(subject: Subject) -> Iterator[Found]:
    """A name that HailoRT's Python package does not have.

    Why: the import fails on the device.

    Example:
        from hailo_platform import VDevice
        with VDevice() as device: model = device.create_infer_model("net.hef")
    Fix: use HEF, VDevice and InferVStreams, or VDevice.create_infer_model (HailoRT 4.18 and later).
    """
    advice = "from hailo_platform import HEF, VDevice; VDevice().create_infer_model(PATH)"
    for file in subject.scripts:
        seen: set[int] = set()
        for name, line in file.python.imports.items() if file.python is not None else ():
            package, _, rest = name.partition(".")
            first = rest.partition(".")[0]
            if package == "hailo_platform" and first and first != "*" and first not in tools.PLATFORM_NAMES:
                seen.add(line)
                message = f"`hailo_platform` has no `{first}`{suggest(first, tools.PLATFORM_NAMES)}"
                yield Found(message, origin=at(file, line), advice=advice)
        match = _OLD_NAME.search(file.text)
        if match and not seen:
            line = file.text.count("\n", 0, match.start()) + 1
            yield Found(f"`hailo_platform` has no `{match[0].strip('.(')}`", origin=at(file, line), advice=advice)


@rule("HAI544", "compiler-on-device", Severity.WARNING, facts=("compiler_machines",))
def compiler_on_device(subject: Subject) -> Iterator[Found]:
    """Steps of the Dataflow Compiler that are to run on the Raspberry Pi, or another ARM machine.

    Why: the compiler is there for x86-64 Linux only; the Pi gets the HEF and runs it by HailoRT.
    Fix: compile on an x86-64 machine (or in Hailo's docker image there) and copy the HEF to the Pi.
    """
    fact = subject.target.facts.compiler_machines
    for file in subject.scripts if fact is not None else ():
        assert fact is not None
        advice = fact.advice
        steps = [call for call in file.calls if call.tool == "hailo" and call.command in tools.BUILD_STEPS]
        steps = [call for call in steps if not call.spoken]
        remote = [call for call in steps if call.remote and _HOST.search(call.remote)]
        if remote:
            message = f"`{remote[0]}` is sent to {remote[0].remote}; the compiler runs on x86-64 Linux only"
            yield Found(message, origin=at(file, remote[0].line), advice=advice)
            continue
        python = file.python
        drives = bool(steps) or (python is not None and python.uses_compiler)
        hint = _DEVICE.search(_comments(file)) or _ARM.search(file.text)
        if drives and hint and not _CHECKED.search(file.text):
            line = _line_of(file, hint[0])
            message = f"the compiler runs on x86-64 Linux only; found `{' '.join(hint[0].split())}`"
            yield Found(message, origin=at(file, line), advice=advice)


def _comments(file: ScriptFile) -> str:
    """Comments, what is printed, and doc strings: where a script says what it is for."""
    lines = [line for line in file.text.split("\n") if re.search(r"#|echo|print|\"\"\"", line)]
    return "\n".join(lines)


def _line_of(file: ScriptFile, text: str) -> int:
    place = file.text.find(text)
    return file.text.count("\n", 0, place) + 1 if place >= 0 else 1


@rule("HAI545", "no-calibration-data", Severity.WARNING)
def no_calibration_data(subject: Subject) -> Iterator[Found]:
    """`hailo optimize` without calibration data, or with random data.

    Why: it wants one of --calib-set-path and --use-random-calib-set, and with random data every range is wrong: good to
    see whether a model compiles, no more.
    Fix: --calib-set-path with real data.
    """
    for file, call in _calls(subject):
        if call.command != "optimize" or call.has("--help") or call.has("-h") or call.spoken:
            continue
        if call.has("--use-random-calib-set"):
            also = " beside --calib-set-path" if call.has("--calib-set-path") else ""
            message = f"`{call}` is told --use-random-calib-set{also}: its ranges come from noise"
            yield Found(message, origin=at(file, call.line), advice="--calib-set-path with real data, alone")
        elif not any(_is_short_form(flag, frozenset({"--calib-set-path"})) for flag in call.flags):
            if "$" in " ".join(call.words):
                continue  # a variable may hold it
            yield Found(f"`{call}` must be told --calib-set-path", origin=at(file, call.line))


@rule("HAI546", "end-nodes", Severity.WARNING, facts=("end_nodes_by_name",))
def end_nodes(subject: Subject) -> Iterator[Found]:
    """The parser is not told where the network ends, is told a name that is no node, or accepts what it recommends.

    Why: `-y` takes the parser's recommendation unseen: a cut in another place, or an nms_postprocess that fails later.
    End nodes are names of ONNX nodes; the name of a tensor ends in MisspellNodeError.

    Example:
        hailo parser onnx net.onnx --end-node-names /head/Conv /head/Conv_1
    Fix: name the nodes that make the outputs, and leave -y out.
    """
    advice = f"--end-node-names {' '.join(_makers(subject))}" if all(_makers(subject)) else ""
    for file, call in _calls(subject):
        if call.command != "parser" or call.spoken or call.has("--help"):
            continue
        ends = call.values("--end-node-names")
        if call.has("-y"):
            message = f"`{call} -y` accepts the parser's recommendations unseen"
            yield Found(message, origin=at(file, call.line), advice=advice or "name the end nodes")
        elif not ends:
            message = f"`{call}` should be told its end nodes, so that it recommends no others"
            yield Found(message, severity=Severity.INFO, origin=at(file, call.line), advice=advice)
        by_name = subject.target.facts.end_nodes_by_name
        for flag in ("--start-node-names", "--end-node-names") if by_name is not None and by_name.value else ():
            for name in call.values(flag):
                yield from _misspelt(subject, file, call.line, flag, name)
    for file, python in _pythons(subject):
        for made in python.calls_of("translate_onnx_model"):
            if "end_node_names" not in made.keywords:
                message = "`translate_onnx_model` should be told end_node_names, so that it recommends no others"
                yield Found(message, severity=Severity.INFO, origin=at(file, made.line), advice=advice)


def _makers(subject: Subject) -> list[str]:
    """The nodes that make the outputs."""
    makers = [value.producer for value in subject.model.graph.outputs]
    return [maker.name if maker is not None else "" for maker in makers]


def _misspelt(subject: Subject, file: ScriptFile, line: int, flag: str, name: str) -> Iterator[Found]:
    nodes = {node.name for node in subject.own_nodes}
    if name in nodes or "$" in name or "__value__" in name:
        return
    maker = next((value.producer for value in subject.model.values() if value.name == name), None)
    if maker is not None and maker.name:
        message = f"{flag} takes names of nodes; `{name}` is a tensor"
        yield Found(message, severity=Severity.ERROR, origin=at(file, line), advice=f"{flag} {maker.name}")
    else:
        yield Found(f"{flag}: the model has no node `{name}`{suggest(name, nodes)}", origin=at(file, line))


_ARCHITECTURES = ("hailo8", "hailo8r", "hailo8l", "hailo15h", "hailo15m", "hailo15l", "hailo10h", "hailo10h2")


@rule("HAI547", "other-architecture", Severity.WARNING)
def other_architecture(subject: Subject) -> Iterator[Found]:
    """A script that compiles for another chip than the target of this lint.

    Why: a HEF for Hailo-8 is refused by a Hailo-8L; one for Hailo-8L runs on a Hailo-8 with half of its clusters. The
    tools take hailo8 where they are not told.
    Fix: --hw-arch in every step as your device has it, and the same for irkit lint --target.
    """
    target = subject.target.name
    for file in subject.scripts:
        told = [(call.line, call.value("--hw-arch")) for call in file.calls if call.tool == "hailo" and not call.spoken]
        python = file.python
        made = python.calls_of("ClientRunner") if python is not None else ()
        told += [(call.line, text.text) for call in made for text in call.texts if text.text in _ARCHITECTURES]
        for line, chip in dict.fromkeys(told):
            if chip and chip != target and "$" not in chip and chip.islower() and target in _ARCHITECTURES:
                known = "" if chip in _ARCHITECTURES else f", which is no architecture{suggest(chip, _ARCHITECTURES)}"
                message = f"the target is {target}; found `{chip}`{known}"
                other = "" if known else f", or irkit lint --target {chip}"
                yield Found(message, origin=at(file, line), advice=f"--hw-arch {target}{other}")


@rule("HAI548", "list-of-operators", Severity.WARNING)
def list_of_operators(subject: Subject) -> Iterator[Found]:
    """A list of operator names that serves as a check of compatibility.

    Why: what the parser refuses are forms, not names: a Reshape outside its patterns, a Softmax over another axis, a
    Gemm behind a Flatten. A model can pass such a list and be refused, or fail it and compile.
    Fix: run `irkit lint MODEL`, which looks at every node with its attributes and shapes.
    """
    for file, python in _pythons(subject):
        for name, line, words in python.word_lists:
            if _is_operator_list(name, words):
                message = (
                    f"`{name or 'a list'}` holds {len(words)} names of operators as a check; forms decide, not names"
                )
                yield Found(message, origin=at(file, line), advice="irkit lint MODEL looks at each node")


_OPERATORS = frozenset({
    "Conv", "ConvTranspose", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Mul", "MatMul", "Gemm",
    "Flatten", "Reshape", "BatchNormalization", "Sigmoid", "Tanh", "Concat", "Clip", "LeakyRelu", "Softmax",
    "Transpose", "Squeeze", "Unsqueeze", "Pad", "Sub", "Div", "Resize", "Slice", "Split", "ReduceMean", "Identity",
    "Dropout",
})  # fmt: skip


def _is_operator_list(name: str, words: tuple[str, ...]) -> bool:
    named = re.search(r"support|allow|compat|valid|permit|hailo", name, re.IGNORECASE) is not None
    hits = sum(word in _OPERATORS for word in words)
    return named and hits >= 4 and hits >= 0.6 * len(words)


@rule("HAI549", "checkpoint-not-used", Severity.WARNING)
def checkpoint_not_used(subject: Subject) -> Iterator[Found]:
    """A script that loads a checkpoint and exports a network, and never puts the one into the other.

    Why: the export then has the random weights a network starts with, and nothing says so: it compiles and runs.

    Example:
        network.load_state_dict(torch.load("trained.pt", map_location="cpu"))
    Fix: call load_state_dict, with strict=True, before exporting; compare the exported model with the trained one.
    """
    for file, python in _pythons(subject):
        exports = any(python.calls_of("onnx.export", "dynamo_export"))
        loads = next(iter(python.calls_of("torch.load", "load_file", "safetensors.torch.load_file")), None)
        puts = any(
            python.calls_of("load_state_dict", "from_pretrained", "load_from_checkpoint", "copy_", "load_weights")
        )
        if exports and loads is not None and not puts and not _is_whole_model(file, loads.line):
            message = (
                f"`{loads.name}` reads a checkpoint, and no load_state_dict puts it into the network that is exported"
            )
            yield Found(message, origin=at(file, loads.line), advice="network.load_state_dict(checkpoint, strict=True)")


def _is_whole_model(file: ScriptFile, line: int) -> bool:
    """Whether what was loaded is a network itself: it is called, set to evaluation, or exported."""
    text = file.text.split("\n")[line - 1]
    name = re.match(r"\s*([\w.]+)\s*(?::[^=]+)?=", text)
    if name is None:
        return "export(" in text or ".eval()" in text
    used = re.escape(name[1])
    return bool(re.search(rf"{used}\.(?:eval|to|cpu|float)\(|export\(\s*{used}\b", file.text))
