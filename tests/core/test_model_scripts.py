"""Model scripts are read with their lines, printed back as the same commands, and checked line by line."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from irkit.errors import InputError, OptionError
from irkit.hailo.alls import Command, ModelScriptError, Script, Value, parse
from irkit.hailo.alls_check import problems
from irkit.hailo.alls_commands import (
    calibration,
    command,
    flavor,
    nms_postprocess,
    normalization,
    output_activation,
    quantization,
)
from irkit.hailo.alls_kinds import is_glob
from irkit.hailo.alls_table import COMMANDS
from tests.conftest import find_corpus

DETECTOR = """\
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])
# sigmoid goes on the chip
change_output_activation(conv42, sigmoid)
nms_postprocess("../nms/yolov8s.json", meta_arch=yolov8, engine=cpu)

post_quantization_optimization(finetune, policy=enabled, loss_layer_names=[conv42, conv53],  # two heads
                               loss_factors=[1, 0.5], learning_rate=1e-05)
quantization_param({conv_feature_splitter[0-9]*_[2-3]}, precision_mode=a16_w16)
allocator_param(timeout=25m, automatic_ddr=False)
conv4_d0, conv4_d1 = defuse(conv4, 2, defuse_type=SPATIAL)
context_0.place(0, [net/conv4_d0, conv12_d0-1])
{} = defuse_block(matmul1, defuse_count=4)
"""


def test_a_script_is_read_with_its_lines() -> None:
    script = parse(DETECTOR)
    assert [item.line for item in script.commands] == [1, 3, 4, 6, 8, 9, 10, 11, 12]
    assert script.commands[0] == Command(
        "normalization", ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)), outputs=("normalization1",)
    )
    assert script.commands[3].kwargs["loss_layer_names"] == ("conv42", "conv53")
    assert script.commands[6].outputs == ("conv4_d0", "conv4_d1")
    assert (script.commands[7].on, script.commands[7].name) == ("context_0", "place")
    assert [item.kwargs["timeout"] for item in script.of("allocator_param")] == ["25m"]
    assert list(script.of("post_quantization_optimization", "adaround")) == []


def test_what_is_printed_reads_back_as_the_same_commands() -> None:
    script = parse(DETECTOR)
    assert parse(str(script)) == script
    assert str(parse(str(script))) == str(script)


def test_values_keep_their_kind() -> None:
    values: tuple[Value, ...] = (
        True,
        1,
        -2,
        0.5,
        -1e-07,
        "enabled",
        "25m",
        "a b",
        "1",
        "True",
        "x.json",
        "{conv*}",
        (),
        (1, (2.5,)),
    )
    script = Script((Command("quantization_param", values),))
    read = parse(str(script)).commands[0].args
    assert [type(item) for item in read if item not in ("1", "True")] == [
        type(item) for item in values if item not in ("1", "True")
    ]
    assert read == values


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a(1)\nb(2", 2, "a bracket that is opened here is not closed"),
        ("a([1, 2)\n", 1, "expected `,` or `]`, found `)`"),
        ("a(1) b(2)", 1, "expected the end of the line behind `a(...)`, found `b`"),
        ("a(x=1, 2)", 1, "arguments without a name come first"),
        ("a(x=1,\n  x=2)", 2, "`x` is given twice"),
        ("a(1=2)", 1, "expected the name of an argument before `=`, found `1`"),
        ("\n\nnormalization", 3, "expected `=` or `(` behind `normalization`, found end of the script"),
        ("import numpy as np\n", 1, "expected `=` or `(` behind `import`, found `numpy`"),
        ("x = 3", 1, "expected the name of a command, found `3`"),
        ('a("open)\n', 1, 'expected an argument, found `"`'),
        ("a(1);", 1, "expected the end of the line behind `a(...)`, found `;`"),
        ("a(=1)", 1, "expected an argument, found `=`"),
    ],
)
def test_what_is_no_script_is_told_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(ModelScriptError) as told:
        parse(text, "net.alls")
    assert (told.value.line, told.value.reason) == (line, reason)
    assert str(told.value) == f"net.alls:{line}: {reason}"
    assert isinstance(told.value, InputError)


def test_numbers_that_a_script_cannot_say_are_not_printed() -> None:
    with pytest.raises(ValueError, match="cannot say nan"):
        str(Command("a", (float("nan"),)))
    with pytest.raises(ValueError, match="cannot say"):
        str(Command("a", ("both \" and '",)))


def found(text: str, layers: list[str] | None = None) -> list[tuple[int, str, str]]:
    return [(item.line, item.kind, item.nearest) for item in problems(parse(text), layers)]


def test_a_right_script_has_no_problems() -> None:
    assert problems(parse(DETECTOR)) == []


@pytest.mark.parametrize(
    ("text", "kind", "nearest"),
    [
        ("model_optimization_flavour(optimization_level=2)", "command", "model_optimization_flavor"),
        ("quantize_everything()", "command", ""),
        ("x = set_seed(seed=1)", "argument", ""),
        ("model_optimization_config(calibration, calibset=64)", "argument", "calibset_size"),
        ("model_optimization_config(calibrate, calibset_size=64)", "argument", "calibration"),
        ("model_optimization_config()", "argument", ""),
        ("normalization([1.0])", "argument", ""),
        ("resize1 = resize(input_layer1)", "argument", ""),
        ("d0 = defuse(conv1, 2, defuse_typ=SPATIAL)", "argument", "defuse_type"),
        ("model_optimization_config(calibration, calibset_size=0)", "value", ""),
        ("model_optimization_config(calibration, calibset_size=6.4)", "value", ""),
        ("quantization_param(conv1, precision_mode=a8_w8w)", "value", "a8_w8"),
        ("quantization_param(conv1, precision_mode=8)", "value", ""),
        ("quantization_param([], precision_mode=a8_w8)", "value", ""),
        ("change_output_activation(conv1, sigmoidd)", "value", "sigmoid"),
        ("post_quantization_optimization(finetune, policy=true)", "value", ""),
        ("nms_postprocess(yolov8, engine=cpu)", "value", ""),
        ("normalization([1.0], [0.0])", "value", ""),
        ("normalization([1.0, 2.0], [1.0])", "value", ""),
    ],
)
def test_problems_are_told_with_the_nearest_name(text: str, kind: str, nearest: str) -> None:
    assert found(f"# a comment\n\n{text}") == [(3, kind, nearest)]


def test_layers_are_looked_at_where_they_are_known() -> None:
    text = "quantization_param([conv1, conv20], bias_mode=single_scale_decomposition)\n"
    text += "quantization_param({dw*}, activation_fit=enabled)"
    assert found(text) == []
    assert found(text, ["net/conv1", "net/conv2"]) == [(1, "layer", "conv2"), (2, "layer", "")]
    assert found(text, ["conv1", "conv20", "dw3"]) == []
    assert found("change_output_activation(net/conv1, tanh)", ["conv1"]) == []


def test_layers_that_a_script_makes_are_known_from_then_on() -> None:
    made = "normalization1 = normalization([0.0], [255.0])"
    use = "quantization_param(normalization1, precision_mode=a8_w8)"
    assert found(f"{made}\n{use}", ["conv1"]) == []
    assert found(f"{use}\n{made}", ["conv1"]) == [(1, "layer", "")]


def test_a_problem_reads_as_a_sentence() -> None:
    [problem] = problems(parse("quantization_param(conv1, precision_mod=a8_w8)"))
    assert str(problem) == (
        "line 1: `quantization_param` has no argument `precision_mod` that is publicly known "
        "(did you mean precision_mode?)"
    )


def test_commands_are_made_right() -> None:
    script = Script(
        (
            normalization([0, 0, 0], [255, 255, 255]),
            calibration(batch_size=8, calibset_size=1024),
            flavor(optimization_level=2, compression_level=0),
            quantization(["conv46", "{ew_add*}"], precision_mode="a16_w16"),
            output_activation("conv42", "sigmoid"),
            nms_postprocess("nms.json", "yolov8"),
            command("performance_param", compiler_optimization_level="max"),
        )
    )
    assert str(script) == (
        "normalization1 = normalization([0, 0, 0], [255, 255, 255])\n"
        "model_optimization_config(calibration, batch_size=8, calibset_size=1024)\n"
        "model_optimization_flavor(optimization_level=2, compression_level=0)\n"
        "quantization_param([conv46, {ew_add*}], precision_mode=a16_w16)\n"
        "change_output_activation(conv42, sigmoid)\n"
        'nms_postprocess("nms.json", meta_arch=yolov8, engine=cpu)\n'
        "performance_param(compiler_optimization_level=max)\n"
    )
    assert parse(str(script)) == script
    assert problems(script) == []


def test_a_wrong_command_is_not_made() -> None:
    with pytest.raises(OptionError, match=r"no argument `level` that is publicly known"):
        command("performance_param", level="max")
    with pytest.raises(OptionError, match=r"did you mean a16_w16\?"):
        quantization("conv1", precision_mode="a16w16")
    with pytest.raises(OptionError, match="must be a whole number of at least 1; found `0`"):
        calibration(calibset_size=0)


# --- the public Model Zoo's scripts -----------------------------------------------------------------------------------


def zoo_scripts() -> Iterator[tuple[str, Script]]:
    """The model scripts of the Model Zoo's networks, from its table of parsed commands; long runs have their first."""
    corpus = find_corpus()
    table = corpus.parent / "data" / "modelzoo_networks.json" if corpus is not None else Path("absent")
    if not table.is_file():
        pytest.skip("no table of the Model Zoo's networks beside the corpus (../shared/data/modelzoo_networks.json)")
    for network in json.loads(table.read_text(encoding="utf-8")):
        for chip, entry in (network["alls"] or {}).items():
            for name, file in entry["files"].items():
                if "commands" in file:
                    commands = tuple(zoo_command(item.get("first", item)) for item in file["commands"])
                    yield f"{network['network']}/{chip}/{name}", Script(commands)


def zoo_command(item: dict[str, Any]) -> Command:
    kwargs = {key: frozen(value) for key, value in item["kwargs"].items()}
    outputs = tuple(item.get("outputs") or ())
    return Command(item["cmd"], tuple(map(frozen, item["args"])), kwargs, outputs, item.get("object") or "")


def frozen(value: Any) -> Value:
    made: Value = tuple(frozen(item) for item in value) if isinstance(value, list) else value
    return made


def test_every_script_of_the_zoo_can_be_expressed_and_printed() -> None:
    scripts = list(zoo_scripts())
    assert len({name.partition("/")[0] for name, _script in scripts}) > 150  # the other networks share these scripts
    for name, script in scripts:
        assert parse(str(script)) == script, name


def test_no_script_of_the_zoo_is_objected_to() -> None:
    objections = {name: [str(item) for item in problems(script)] for name, script in zoo_scripts() if problems(script)}
    assert objections == {}


MUTATIONS = 200
CAUGHT = 0.95
"""At least; measured with eight seeds: 199 or 200 of 200."""


def mutants(seed: int) -> Iterator[tuple[str, str, int, set[str]]]:
    """Scripts of the zoo with one thing wrong: what was done, the text, the line, and the layers of the network."""
    rng = random.Random(seed)
    scripts = [
        script for _name, script in zoo_scripts() if any(not COMMANDS[item.name].placement for item in script.commands)
    ]
    wrongs = [wrong_command, wrong_argument, wrong_type, wrong_layer]
    made = 0
    while made < MUTATIONS:
        script = rng.choice(scripts)
        line = rng.randrange(len(script.commands))
        mutant = wrongs[made % len(wrongs)](script.commands[line], rng)
        if mutant is not None:
            commands = (*script.commands[:line], mutant, *script.commands[line + 1 :])
            yield wrongs[made % len(wrongs)].__name__, str(Script(commands)), line + 1, layers_of(script)
            made += 1


def misspelt(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word))
    return rng.choice([word[:place] + word[place + 1 :], word[:place] + "x" + word[place:], word + "s", word[::-1]])


def wrong_command(command: Command, rng: random.Random) -> Command | None:
    name = misspelt(command.name, rng)
    return None if name in COMMANDS else changed(command, name=name)


def wrong_argument(command: Command, rng: random.Random) -> Command | None:
    if not command.kwargs or rng.random() < 0.3:
        return changed(command, kwargs={**command.kwargs, rng.choice(["level", "mode_of", "quantize"]): 1})
    key = rng.choice(list(command.kwargs))
    other = misspelt(key, rng)
    return changed(command, kwargs={other if name == key else name: value for name, value in command.kwargs.items()})


def wrong_type(command: Command, rng: random.Random) -> Command | None:
    if COMMANDS[command.name].placement or not command.kwargs:
        return None
    key = rng.choice(list(command.kwargs))
    value = command.kwargs[key]
    others: list[Value] = [(1.5, "x"), -7.25] if isinstance(value, (str, bool)) else ["many", True]
    other = rng.choice(others)
    return changed(command, kwargs={**command.kwargs, key: other})


def wrong_layer(command: Command, rng: random.Random) -> Command | None:
    names = sorted(named_in(command))
    if not names or COMMANDS[command.name].placement:
        return None
    name = rng.choice(names)
    other = f"{{zz{name[1:]}" if is_glob(name) else rng.choice([f"{name}7777", "conv9999", f"x{name}"])

    def renamed(value: Value) -> Value:
        return tuple(map(renamed, value)) if isinstance(value, tuple) else other if value == name else value

    kwargs = {key: renamed(item) for key, item in command.kwargs.items()}
    return changed(command, args=tuple(map(renamed, command.args)), kwargs=kwargs)


def changed(command: Command, **fields: Any) -> Command:
    return Command(**{**vars(command), **fields})


NO_LAYERS = {"a16_w16", "a8_w4", "a8_w8", "zp_comp_block_3", "yolov5", "yolov6", "yolov8", "l2", "l2rel", "L2REL"}


def named_in(command: Command) -> set[str]:
    """Every text in a command that looks like the name of a layer, or a glob of layers."""

    def names(value: Value) -> Iterator[str]:
        if isinstance(value, tuple):
            for item in value:
                yield from names(item)
        elif isinstance(value, str) and (is_glob(value) or re.fullmatch(r"(\w+/)?[a-z_]+\d\w*", value)):
            yield value

    found = {name for value in (*command.args, *command.kwargs.values()) for name in names(value)}
    return found - NO_LAYERS


def layers_of(script: Script) -> set[str]:
    """The layers of a network that the script is right for."""
    found = {name for item in script.commands for name in named_in(item)}
    return {re.sub(r"\[.*?\]|\*", "1", name.strip("{}")) if is_glob(name) else name for name in found}


@pytest.mark.parametrize("seed", range(5))
def test_mutated_scripts_are_caught_at_the_right_line(seed: int) -> None:
    missed = []
    for what, text, line, layers in mutants(seed):
        try:
            told = [problem.line for problem in problems(parse(text), layers)]
        except ModelScriptError as problem:
            told = [problem.line]
        if line not in told:
            missed.append((what, text.split("\n")[line - 1]))
    assert len(missed) <= (1 - CAUGHT) * MUTATIONS, missed
