"""A project's settings: the nearest irkit.toml, or `[tool.irkit]` in pyproject.toml.

    target = "hailo8@3.33"
    passes = ["tools/passes"]                 # of your own; paths are relative to the file they stand in
    rules = ["tools/our_chip.toml"]
    ignore = ["HAI402"]
    baseline = "irkit-baseline.json"

    [[suppress]]
    node = "/head/*"                          # names of nodes, `*` stands for anything
    codes = ["HAI101"]
    reason = "runs on the host after the chip"

A flag of the command line wins over the setting of its name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from irkit.errors import OptionError
from irkit.tomlfile import TomlFile

FILE_NAME = "irkit.toml"

_SHARED_FILE = "pyproject.toml"
_SHARED_TABLE = ("tool", "irkit")
_SPEAKS_OF_IT = re.compile(rb"""\btool["'\s]*\.["'\s]*irkit\b|^["'\s]*irkit["'\s]*[.=]""", re.MULTILINE)
"""What stands in every file that has the table, so that others need not be parsed."""


@dataclass(frozen=True)
class Suppression:
    """Findings that are known and wanted.

    Attributes: `node` is a pattern over node names (`*`, `?`, `[...]`; `""` for findings about the whole model);
    `codes` of rules, their prefixes or names; `reason` is for whoever reads the settings next.
    """

    node: str
    codes: tuple[str, ...]
    reason: str

    def __post_init__(self) -> None:
        if not self.codes:
            raise ValueError("`codes` names at least one rule")
        if not self.reason.strip():
            raise ValueError("`reason` says why")


@dataclass(frozen=True)
class Settings:
    """What a project has settled. Each field is a key of the file; all of them may be left out.

    Attributes:
        target: such as `hailo8@3.33`, or None for the default.
        passes: files and folders of the project's own passes.
        rules: files of facts that are laid over the target's table.
        select, ignore: codes of lint rules, their prefixes or names.
        baseline: file of known findings.
        suppress: findings that are wanted.
        file: where the settings were read from; None where there are none. No key of the file.
    """

    target: str | None = None
    passes: tuple[Path, ...] = ()
    rules: tuple[Path, ...] = ()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    baseline: Path | None = None
    suppress: tuple[Suppression, ...] = ()
    file: Path | None = field(default=None, init=False)

    def changed(self, **fields: object) -> Settings:
        """These settings with other fields, from the same file."""
        mine = {name: value for name, value in vars(self).items() if name != "file"}
        made = Settings(**{**mine, **fields})
        object.__setattr__(made, "file", self.file)
        return made

    def under(self, **wishes: object) -> Settings:
        """These settings where a wish is empty, and the wishes where they are not."""
        return self.changed(**{name: value for name, value in wishes.items() if value})


def find_settings(start: Path) -> Settings:
    """The settings of the nearest irkit.toml, or pyproject.toml with `[tool.irkit]`, from the folder `start` upwards.

    Where both stand in one folder, irkit.toml is taken. No file: settings of nothing.

    Raises `OptionError`: the file cannot be read, or has a key or value that is none of ours, told with its line.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        for name in (FILE_NAME, _SHARED_FILE):
            file = folder / name
            if os.path.isfile(file) and (name == FILE_NAME or _has_table(file)):
                return read_settings(file)
    return Settings()


def read_settings(file: Path) -> Settings:
    """The settings of one file. Raises `OptionError`, as `find_settings` does."""
    table = _SHARED_TABLE if file.name == _SHARED_FILE else ()
    settings = TomlFile(file, OptionError).decode(Settings, table)
    object.__setattr__(settings, "file", file)
    return settings


def _has_table(file: Path) -> bool:
    """Whether a pyproject.toml has settings for irkit. A broken file that does not speak of irkit is not our affair."""
    try:
        if not _SPEAKS_OF_IT.search(file.read_bytes()):
            return False
    except OSError:
        return False
    tools = TomlFile(file, OptionError).data.get(_SHARED_TABLE[0])
    return isinstance(tools, dict) and _SHARED_TABLE[1] in tools
