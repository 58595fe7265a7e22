"""The names of Hailo's packages that irkit and its bundles use: held against the stand-ins, and the packages if there.

pytest -m hailo        where Hailo's packages are installed, they are looked at too
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.whole.bundles import DOUBLES

COMPILER = {
    "ClientRunner": ("hw_arch", "har"),
    "ClientRunner.translate_onnx_model": ("model", "net_name", "start_node_names", "end_node_names"),
    "ClientRunner.get_hn_dict": (),
    "ClientRunner.load_model_script": ("model_script",),
    "ClientRunner.optimize": ("calib_data",),
    "ClientRunner.compile": (),
    "ClientRunner.save_har": ("har_path",),
    "ClientRunner.load_har": ("har",),
}
RUNTIME = {
    "HEF": ("hef_source",),
    "HEF.get_input_vstream_infos": (),
    "HEF.get_output_vstream_infos": (),
    "HEF.get_original_names_from_vstream_name": ("vstream_name",),
    "VDevice": (),
    "VDevice.configure": ("hef",),
    "VDevice.get_physical_devices": (),
    "ConfigureParams.create_from_hef": ("hef", "interface"),
    "HailoStreamInterface.PCIe": (),
    "FormatType.UINT8": (),
    "FormatType.FLOAT32": (),
    "InputVStreamParams.make": ("configured_network", "format_type"),
    "OutputVStreamParams.make": ("configured_network", "format_type"),
    "InferVStreams": ("configured_net_group", "input_vstreams_params", "output_vstreams_params"),
    "InferVStreams.infer": ("input_data",),
}
USED = [
    *(("hailo_sdk_client", name, takes) for name, takes in COMPILER.items()),
    *(("hailo_platform", name, takes) for name, takes in RUNTIME.items()),
]


def missing(package: Any, name: str, takes: tuple[str, ...]) -> str:
    """What is not there; "" where everything is. Names of a compiled extension tell no parameters."""
    found = package
    for part in name.split("."):
        if not hasattr(found, part):
            return f"{package.__name__} has no {name}"
        found = getattr(found, part)
    if not callable(found) or not takes:
        return ""
    try:
        known = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return ""
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return ""
    wrong = [one for one in takes if one not in known]
    return f"{package.__name__}.{name} does not take {', '.join(wrong)}; it takes {', '.join(known)}" if wrong else ""


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(("package", "name", "takes"), USED)
def test_the_stand_ins_have_what_is_used(package: str, name: str, takes: tuple[str, ...]) -> None:
    assert missing(importlib.import_module(package), name, takes) == ""


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Iterator[Any]:
    package = request.param
    spec = importlib.util.find_spec(package) if package not in sys.modules else None
    if spec is None or spec.origin is None or Path(spec.origin).is_relative_to(DOUBLES):
        pytest.skip(f"{package} is not installed: it comes from https://hailo.ai/developer-zone")
    yield importlib.import_module(package)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


@pytest.mark.hailo
@pytest.mark.parametrize("real", ["hailo_sdk_client", "hailo_platform"], indirect=True)
def test_the_packages_have_what_is_used(real: Any) -> None:
    names = COMPILER if real.__name__ == "hailo_sdk_client" else RUNTIME
    assert [told for name, takes in names.items() if (told := missing(real, name, takes))] == []


@pytest.mark.usefixtures("doubles")
def test_what_is_missing_is_seen() -> None:
    package = importlib.import_module("hailo_platform")
    assert missing(package, "HEF.read", ()) == "hailo_platform has no HEF.read"
    assert "does not take device" in missing(package, "VDevice.configure", ("device",))
