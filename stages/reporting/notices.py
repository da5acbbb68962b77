"""What a reader must know before the first number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

IN_WORDS = {
    "speaker_independent": "Speaker-independent: no model has heard the speakers it is tested on.",
    "leave_one_speaker_out": "Leave one speaker out: no model has heard the speaker it is tested on.",
    "speaker_and_text_independent": "Speaker- and text-independent: no model has heard the speakers it is "
    "tested on, nor their sentences from anyone.",
    "cross_corpus": "Cross-corpus: no model has heard any recording of the corpus it is tested on.",
    "random": "Random clips: every model has heard the speakers it is tested on.",
    "fixed": "Fixed lists of speakers: no model has heard the speakers it is tested on.",
}

NORMALIZATION = {
    "global": "by mean and deviation of the training clips",
    "speaker": "each speaker by mean and deviation of their own clips, the test speakers too",
}


@dataclass(frozen=True)
class Notice:
    """A box above all numbers.

    Attributes:
        kind: `alarm` where the scores are too high, `caution` where they want a word beside them.
        head: in a few words.
        text: what follows from it.
    """

    kind: Literal["alarm", "caution", "plain"]
    head: str
    text: str


def notices(test: dict[str, Any], protocol: str, synthetic: list[str]) -> list[Notice]:
    """Returns the boxes, the protocol first.

    Args:
        test: metrics/test.json.
        protocol: a name of core.protocols.
        synthetic: the corpora that no person spoke.
    """
    told = [_protocol(test["leaky"], protocol)]
    if test["uses_test_speaker_statistics"]:
        told.append(
            Notice(
                "caution",
                "Normalised by test speakers",
                "Each speaker's features are standardised by the mean and deviation of all their clips, the "
                "test speakers' too. It needs many clips of a new speaker before the first is recognised; "
                "compare only with results that do the same.",
            )
        )
    if synthetic:
        told.append(
            Notice(
                "caution",
                f"Synthetic speech: {', '.join(synthetic)}",
                "The numbers show that the pipeline runs. They say nothing of how well people's emotions are "
                "recognised.",
            )
        )
    return told


def _protocol(leaky: bool, protocol: str) -> Notice:
    if not leaky:
        return Notice("plain", "Not leaky", IN_WORDS[protocol])
    return Notice(
        "alarm",
        "LEAKY",
        f"{IN_WORDS[protocol]} It knows how they speak, so the scores are too high for anyone new. Do not "
        "compare them with speaker-independent ones; python -m stages.tools.leak_inflation measures the "
        "difference.",
    )


def validation(split: dict[str, Any]) -> str:
    """Returns who chose epochs and the temperature.

    Args:
        split: metrics/split.json.
    """
    if "validation" not in split:
        return "nothing"
    shared = [name for name in ("speakers", "sentences") if split[f"validation_shares_{name}"]]
    told = (
        f"{split['validation']['clips']:.0f} clips a fold, of {split['validation']['speakers']:.0f} speakers"
    )
    return f"{told}; in training too: {', '.join(shared)}" if shared else told
