"""Passes come in by one door; what goes wrong there names the file, the line and the reason."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import irkit
from irkit.cli import main
from irkit.errors import LibraryError, OptionError
from irkit.library import Library, bundled, get_pass, load_file, load_folder
from irkit.pass_base import Effect
from tests.whole.sources import ROOT

PASS = '''
import irkit

@irkit.define_pass("{name}", effect="approximate")
class Mine(irkit.Pass):
    """Does nothing."""

    times: int = 1

    def run(self, model, context):
        context.note(str(self.times))
'''


def write(path: Path, name: str = "mine", text: str = PASS) -> Path:
    path.write_text(text.replace("{name}", name), encoding="utf-8")
    return path


def test_bundled_passes_are_found_by_name() -> None:
    for cls in irkit.all_passes():
        assert get_pass(cls.name).name == cls.name
        assert Path(cls.source).parent == bundled("passes")
        assert Path(cls.source).stem == cls.name.replace("-", "_"), "a bundled pass is found by the name of its file"


def test_finding_one_bundled_pass_loads_its_file_only() -> None:
    script = (
        "import sys, irkit; irkit.get_pass('remove-dead'); "
        "print(sorted(name for name in sys.modules if name.startswith('irkit_passes_')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['irkit_passes_bundled_remove_dead']"


def test_options_are_given_by_keyword_and_checked() -> None:
    assert str(get_pass("lower-opset", opset=15)) == "lower-opset{opset=15}"
    with pytest.raises(OptionError, match=r"no option 'opsets'; its options: ir_version, opset"):
        get_pass("lower-opset", opsets=15)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    library = Library()
    (cls,) = library.add(write(tmp_path / "mine.py"))
    assert (cls.name, cls.effect, cls.source) == ("mine", Effect.APPROXIMATE, str(tmp_path / "mine.py"))
    assert library.find("mine") is cls
    assert library.added == [cls]
    assert "mine" in [item.name for item in library.all()]
    assert library.find("remove-dead").name == "remove-dead"
    with pytest.raises(OptionError, match="no pass `mine`"):
        Library().find("mine")


def test_a_folder_of_ones_own_leaves_private_files_alone(tmp_path: Path) -> None:
    write(tmp_path / "b.py", "second")
    write(tmp_path / "a.py", "first")
    write(tmp_path / "_helper.py", text="raise RuntimeError")
    assert [cls.name for cls in Library().add(tmp_path)] == ["first", "second"]


def test_a_file_is_executed_once_until_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    (first,) = load_file(path)
    assert load_file(path) == [first]
    write(path, "mine-too")
    (second,) = load_file(path)
    assert second.name == "mine-too"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import irkit\n\ndef broken(:\n", "wrong.py:3: "),
        ("import irkit\nx = 1 / 0\n", "wrong.py:2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "wrong.py:1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "wrong.py:1: SystemExit"),
        ('import irkit\n@irkit.define_pass("Bad Name")\nclass X(irkit.Pass):\n    "x"\n', "wrong.py:2: a pass name is"),
        ("x = 1\0\n", "wrong.py"),
        ("x = 1\n", "defines no pass"),
    ],
    ids=["syntax", "exception", "import", "exit", "name", "bytes", "empty"],
)
def test_what_cannot_be_loaded_names_file_line_and_reason(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path / "wrong.py", text=text)
    with pytest.raises(LibraryError) as caught:
        Library().add(path)
    assert expected in str(caught.value)
    assert ":None:" not in str(caught.value)
    assert not [name for name in sys.modules if name.startswith("irkit_passes_user") and name.endswith("_wrong")] or (
        "no pass" in expected
    )


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no such file or folder"):
        Library().add(tmp_path / "nowhere.py")


def test_two_passes_of_one_name_name_both_files(tmp_path: Path) -> None:
    write(tmp_path / "a.py", "same")
    write(tmp_path / "b.py", "same")
    with pytest.raises(LibraryError, match=r"`same`: in .*a\.py and in .*b\.py"):
        load_folder(tmp_path)
    with pytest.raises(LibraryError, match=r"`remove-dead`: in .*remove_dead\.py and in .*mine\.py"):
        Library().add(write(tmp_path / "mine.py", "remove-dead"))
    with pytest.raises(LibraryError, match=r"called `twice`: Mine and Other in .*twice\.py; rename one"):
        load_file(write(tmp_path / "twice.py", "twice", PASS + PASS.replace("Mine", "Other")))


def test_a_bundled_pass_can_be_copied_and_run_from_elsewhere(tmp_path: Path) -> None:
    text = (bundled("passes") / "remove_dead.py").read_text(encoding="utf-8")
    text = text.replace('"remove-dead"', '"my-remove-dead"')
    (cls,) = Library().add(write(tmp_path / "mine.py", text=text))
    model = irkit.parse_model("graph(%x: float32[2]) -> (%y) {\n  %d = Neg(%x)\n  %y = Relu(%x)\n}")
    irkit.run_passes(model, [cls()], verify="none")
    assert [node.op for node in model.graph] == ["Relu"]


def test_passes_pickle_by_name_file_and_options(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    (cls,) = load_file(path)
    item = cls.configured({"times": 3})
    data = pickle.dumps([item, get_pass("lower-opset", opset=15)])
    script = f"import pickle, irkit; print(*pickle.loads({data!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "mine{times=3} lower-opset{opset=15}"
    copy = pickle.loads(pickle.dumps(item))
    assert copy == item


def plug_in(folder: Path, entry: str, **files: str) -> str:
    """A package of these files, as pip would have installed it in the folder; a script's lines that find it there."""
    package = folder / "plugin_package"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        write(package / f"{name}.py", name.strip("_"), text)
    info = folder / "plugin_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[irkit.passes]\nours = {entry}\n", encoding="utf-8")
    return f"import sys; sys.path.insert(0, {str(folder)!r}); import irkit, pickle; "


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)


RELATIVE = "from plugin_package._texts import TIMES\nfrom . import _texts\n" + PASS.replace("= 1", "= TIMES")


@pytest.mark.parametrize("entry", ["plugin_package", "plugin_package.mine", "plugin_package.mine:Mine"])
def test_an_installed_plug_in_is_found(tmp_path: Path, entry: str) -> None:
    start = plug_in(tmp_path, entry, mine=RELATIVE, _texts="TIMES = 5", test_mine="raise RuntimeError")
    done = run_script(
        start + "item = irkit.get_pass('mine'); print(item.times, pickle.loads(pickle.dumps(item)).times)"
    )
    assert (done.stdout.strip(), done.stderr) == ("5 5", "")
    listed = run_script(start + "print([cls.source for cls in irkit.all_passes() if cls.name == 'mine'])")
    assert listed.stdout.strip() == repr([str(tmp_path / "plugin_package" / "mine.py")])


@pytest.mark.parametrize(
    ("entry", "text", "expected"),
    [
        ("no_such_package", PASS, "No module named 'no_such_package'"),
        ("plugin_package", "import irkit\n\nx = 1 / 0\n", "mine.py:3: ZeroDivisionError: division by zero"),
        ("plugin_package", "import irkit\ndef (:\n", "mine.py:2: "),
        ("plugin_package", "from os import no_such_name\n", "mine.py:1: ImportError: "),
        ("plugin_package", "x = 1", "defines no pass"),
        ("plugin_package", PASS.replace("{name}", "remove-dead"), "two passes are called `remove-dead`: in "),
        ("plugin_package", PASS + PASS.replace("Mine", "Other"), "two passes are called `mine`"),
    ],
)
def test_a_broken_plug_in_names_its_package_file_and_line(tmp_path: Path, entry: str, text: str, expected: str) -> None:
    done = run_script(plug_in(tmp_path, entry, mine=text) + "irkit.all_passes()")
    said = done.stderr.splitlines()[-1]
    assert "LibraryError" in said
    assert expected in said
    if "remove-dead" in expected:
        assert str(tmp_path / "plugin_package" / "mine.py") in said
        assert str(bundled("passes") / "remove_dead.py") in said
    else:
        assert "package plugin-package" in said


def test_files_import_what_stands_beside_them_and_no_other_folders_helpers(tmp_path: Path) -> None:
    for folder, times in (("one", 2), ("two", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_common.py").write_text(f"TIMES = {times}\n", encoding="utf-8")
        text = "from _common import TIMES\n" + PASS.replace("= 1", "= TIMES")
        write(tmp_path / folder / "mine.py", folder, text)
    library = Library()
    library.add(tmp_path / "one")
    library.add(tmp_path / "two")
    assert [(cls.name, cls().times) for cls in library.added] == [("one", 2), ("two", 3)]  # type: ignore[attr-defined]
    assert "_common" not in sys.modules
    assert str(tmp_path / "two") not in sys.path


def test_an_error_in_a_helper_names_both_files(tmp_path: Path) -> None:
    (tmp_path / "_common.py").write_text("x = 1\ny = (\n", encoding="utf-8")
    path = write(tmp_path / "mine.py", text="import irkit\nimport _common\n")
    with pytest.raises(LibraryError, match=r"mine\.py:2: .*_common\.py:2: '\(' was never closed"):
        Library().add(path)


def test_a_folder_with_a_broken_file_among_good_ones_names_the_broken_one(tmp_path: Path) -> None:
    write(tmp_path / "a.py", "first")
    write(tmp_path / "b.py", text="import irkit\n\nnonsense = undefined_name\n")
    library = Library()
    with pytest.raises(LibraryError, match=r"b\.py:3: NameError: name 'undefined_name' is not defined"):
        library.add(tmp_path)
    assert library.added == []


def test_tests_beside_passes_are_no_passes(tmp_path: Path) -> None:
    write(tmp_path / "mine.py")
    for name in ("test_mine.py", "mine_test.py", "conftest.py"):
        write(tmp_path / name, text="raise RuntimeError")
    assert [cls.name for cls in Library().add(tmp_path)] == ["mine"]


def test_a_file_that_is_named_twice_is_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    library = Library()
    library.add(tmp_path)
    library.add(path)
    assert [cls.name for cls in library.added] == ["mine"]


def test_settings_name_passes_and_flags_add_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools").mkdir()
    write(tmp_path / "tools" / "mine.py")
    other = write(tmp_path / "other.py", "other")
    (tmp_path / "irkit.toml").write_text('passes = ["tools"]\n', encoding="utf-8")
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    assert main(["passes"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "mine" in listed
    assert "other" not in listed
    assert main(["passes", "--passes", str(other)]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"mine", "other"} <= set(listed)
    (tmp_path / "tools" / "mine.py").unlink()
    (tmp_path / "tools").rmdir()
    assert main(["passes"]) == 2
    assert f"{tmp_path / 'tools'}: no such file or folder of passes" in capsys.readouterr().err
