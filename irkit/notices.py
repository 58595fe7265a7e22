"""The codes that passes, the pipeline and the reader of HEF files find things under, beside those of the lint rules."""

from __future__ import annotations

from irkit.diagnostics import Severity
from irkit.ruledoc import RuleDoc, read_doc

NOTICES: tuple[RuleDoc, ...] = (
    read_doc(
        "IRK014",
        "shape-conflict",
        Severity.ERROR,
        """The sizes that inputs were to get do not fit the network.

        Why: some node behind the inputs has constants or attributes of other sizes, such as the weight of a fully
        connected layer or the target of a Reshape; the inputs stay as they were.
        Example: `--shape x=1,3,256,256` for a network whose last Gemm was made for pictures of 224 by 224.
        Fix: give the sizes that the network was made for, by --bind or --shape, or export it again with the new ones.
        """,
    ),
    read_doc(
        "IRK016",
        "void-suppression",
        Severity.WARNING,
        """A suppression of findings that suppresses nothing, gives no reason, or names no rule.

        Why: what it was for is gone, or it never matched; the next finding at that place would be lost unseen.
        Example: `[[suppress]]` in irkit.toml with `node = "/head/*"`, after the head was exported under another name.
        Fix: take it out, or correct its node and codes.
        """,
    ),
    read_doc(
        "IRK030",
        "drift-not-accepted",
        Severity.ERROR,
        """A pass changed what the model computes by more than the budget, and nobody has accepted that.

        Why: such a pass is run where the compiler takes the model no other way, or where users want it; whether the
        network still does its work can only be told on real data.
        Example: `gelu-to-relu` replaces the GELUs of a network that was trained with them.
        Fix: fine-tune with the new operators and export again; or keep the function with --exact; or, with numbers of
        your own in hand, accept it with --accept-drift PASS.
        """,
    ),
    read_doc(
        "IRK031",
        "pass-failed",
        Severity.ERROR,
        """A pass raised an error; what it had done so far is taken back.

        Why: the model goes on without it, so what the pass repairs is not repaired.
        Fix: where it is a pass of yours, the message has the line; where it is one of irkit's, please report it.
        """,
    ),
    read_doc(
        "IRK032",
        "wrong-rewrite",
        Severity.WARNING,
        """A rewrite was proven to change the function of the model, and is taken back.

        Why: an exact pass must not change what the network computes; the proof ran the model before and after, and
        found which rewrite did. The result is right, without it.
        Fix: look at the rule that made it; where it is one of irkit's, please report it with the model.
        """,
    ),
    read_doc(
        "IRK040",
        "padding-leaves-single-context",
        Severity.WARNING,
        """Channels are not padded, because the network would no longer fit on the chip as a whole.

        Why: a network above that size is split in contexts, whose weights are loaded in turn: several times slower,
        which no alignment makes up for.
        Fix: nothing to do; --pass 'align-channels{force=true}' pads all the same.
        """,
    ),
    read_doc(
        "IRK041",
        "padding-is-costly",
        Severity.WARNING,
        """Padding channels made the network a good deal larger.

        Why: padded channels are computed and stored like any other; small layers grow by a large share.
        Example: a layer of 9 channels becomes one of 16 where channels are to be multiples of 8.
        Fix: limit it with --pass 'align-channels{max_growth=1.3}', leave it out with --skip align-channels, or choose
        widths that are multiples when designing the network.
        """,
    ),
    read_doc(
        "HAI701",
        "wrong-chip",
        Severity.ERROR,
        """A HEF that was compiled for another chip.

        Why: HailoRT refuses a file of another architecture, or runs it on part of the chip: a Hailo-8 runs files for
        Hailo-8L with half of its clusters.
        Example: a file of the Model Zoo's HAILO8L folder on a Raspberry Pi AI HAT+ with 26 TOPS.
        Fix: compile it again with `--hw-arch` of the chip it is to run on.
        """,
    ),
    read_doc(
        "HAI702",
        "hef-too-large",
        Severity.ERROR,
        """A HEF that is larger than the size it may have.

        Why: whoever set the limit counts on it: for a download, for memory, or for the time to load.
        Fix: put weights in 4 bits by compression_level in the model script, or make the network smaller.
        """,
    ),
    read_doc(
        "HAI703",
        "unknown-hef-extension",
        Severity.WARNING,
        """A HEF that needs something of HailoRT that not every version has.

        Why: HailoRT refuses a file with an extension that it does not know, and some files run with one version only.
        Fix: use the HailoRT that came out with the compiler, or a newer one.
        """,
    ),
    read_doc(
        "HAI704",
        "outdated-hef",
        Severity.WARNING,
        """A HEF of a compiler so old that today's HailoRT refuses it.

        Why: HailoRT 4.21 dropped the format that compilers before 3.24 wrote.
        Fix: compile the model again with a newer compiler, or stay with an older HailoRT.
        """,
    ),
    read_doc(
        "HAI705",
        "several-hef-contexts",
        Severity.INFO,
        """A HEF whose network does not fit on the chip as a whole.

        Why: its contexts are loaded onto the chip in turn for every batch, which is several times slower.
        Fix: send batches, which spread the loading over several frames, or use a smaller network.
        """,
    ),
)
"""In the order of their codes."""


def found_by(code: str) -> str:
    """The command whose findings have one of these codes."""
    return "irkit hef" if code.startswith("HAI7") else "irkit optimize"
