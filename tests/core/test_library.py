"""Passes come in by one door; what goes wrong there names the file, the line and the reason."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import irkit
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
    with pytest.raises(LibraryError, match="two passes are called `twice`"):
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


def test_an_installed_plug_in_is_found(tmp_path: Path) -> None:
    package = tmp_path / "plugin_package"
    package.mkdir()
    (package / "__init__.py").touch()
    write(package / "mine.py")
    info = tmp_path / "plugin_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[irkit.passes]\nmine = plugin_package\n", encoding="utf-8")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import irkit; print(irkit.get_pass('mine', times=2))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "mine{times=2}"
    (info / "entry_points.txt").write_text("[irkit.passes]\nmine = no_such_package\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)
    assert "LibraryError: plug-in `mine` of package plugin-package cannot be loaded" in done.stderr
