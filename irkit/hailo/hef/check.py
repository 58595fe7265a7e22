"""Is a HEF for this chip, small enough, and one that a runtime of today takes?"""

from __future__ import annotations

from collections.abc import Iterator

from irkit.diagnostics import Finding, Severity
from irkit.hailo.hef.contents import PERIPH_IN_RUNTIME, STRICT_VERSION, Hef

MEGABYTE = 1 << 20


def check_hef(hef: Hef, target: str = "", max_size: int | None = None) -> Iterator[Finding]:
    """What stands against running the file.

    Args:
        hef: a file that was read, so that its length and checksums are right already.
        target: name of the chip it is to run on, `hailo8`; "" asks about no chip.
        max_size: of the file, in bytes.
    """
    yield from _chip(hef, target)
    if max_size is not None and hef.size > max_size:
        size, limit = hef.size / MEGABYTE, max_size / MEGABYTE
        text = f"the file must be no larger than {limit:g} MB; found {size:.1f} MB"
        advice = "compression_level in the model script puts weights in 4 bits; a smaller network helps more"
        yield Finding("HAI702", "hef-too-large", Severity.ERROR, text, advice=advice)
    yield from _runtime(hef)
    for group in hef.groups:
        if group.contexts > 1:
            text = f"`{group.name}` is split in {group.contexts} contexts, which are loaded onto the chip in turn"
            advice = "send batches, which spread the loading over several frames, or use a smaller network"
            yield Finding("HAI705", "several-hef-contexts", Severity.INFO, text, advice=advice)


def _chip(hef: Hef, target: str) -> Iterator[Finding]:
    if not target:
        return
    if not hef.devices:
        text = f"the chip it was compiled for is not known to irkit: {hef.arch_name}"
        yield Finding("HAI701", "wrong-chip", Severity.WARNING, text)
    elif target == "hailo8r" and hef.arch == 2:
        return
    elif target not in hef.devices and not (target == "hailo8r" and "hailo8" in hef.devices):
        text = f"the file must be compiled for {target}; it is for {hef.target} ({hef.arch_name})"
        advice = f"compile it again with hw_arch={target}"
        yield Finding("HAI701", "wrong-chip", Severity.ERROR, text, advice=advice)
    elif target != hef.target and hef.target == "hailo8l":
        text = f"the file is for hailo8l; {target} runs it, with half of its clusters"
        yield Finding("HAI701", "wrong-chip", Severity.WARNING, text, advice=f"compile it again with hw_arch={target}")


def _runtime(hef: Hef) -> Iterator[Finding]:
    if hef.unknown_extensions:
        names = ", ".join(hef.extensions[index] or str(index) for index in hef.unknown_extensions)
        text = f"it needs what no HailoRT up to 5.2 is known to have: {names}"
        yield Finding("HAI703", "unknown-hef-extension", Severity.WARNING, text, advice="use the newest HailoRT")
    if PERIPH_IN_RUNTIME not in hef.extensions:
        text = "it is of a compiler before 3.24, which HailoRT 4.21 and later refuse as outdated"
        yield Finding("HAI704", "outdated-hef", Severity.WARNING, text, advice="compile it again with a newer compiler")
    if STRICT_VERSION in hef.extensions:
        text = f"HailoRT must have the version of the compiler, {hef.compiler}, in its first two numbers"
        yield Finding("HAI703", "unknown-hef-extension", Severity.INFO, text)
