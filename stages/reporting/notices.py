"""What a reader needs to know before the first number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stages.reporting.finished_run import FinishedRun


PROTOCOLS = {
    "speaker_independent": "Speaker-independent: no test speaker is in the training data.",
    "leave_one_speaker_out": "Leave one speaker out: the test speaker is not in the training data.",
    "speaker_and_text_independent": "Speaker- and text-independent: neither the test speakers nor the test "
    "sentences are in the training data.",
    "cross_corpus": "Cross-corpus: no recording of the test corpus is in the training data.",
    "random": "Random clips: the test speakers are in the training data.",
    "official": "The corpora's published partition: no test speaker is in the training data.",
    "session": "Leave one session out: no test speaker is in the training data.",
    "group": "Whole groups of clips test: no test speaker is in the training data.",
    "fixed": "Fixed lists of speakers: no test speaker is in the training data.",
}

NORMALIZATION = {
    "global": "by the mean and standard deviation of the training clips",
    "corpus": "each corpus by the mean and standard deviation of its own clips, test clips apart",
    "speaker": "each speaker by the mean and standard deviation of their own clips, test speakers included",
    "enrol": "without each speaker's mean, that of a test speaker from {enrolled_clips} other clips",
    "cluster": "without each speaker's mean, those of test clips from {clusters} clusters of voices",
}
# What a reader of scores needs to know, in a few words and in full, by the first word of `statistics` in
# metrics/test.json; `{n}` is its number.
STATISTICS = {
    "corpus": (
        "Needs a batch of clips",
        "The test clips are standardised by their own mean and standard deviation, so a batch of clips "
        "is needed before the first can be recognised.",
    ),
    "speaker": (
        "Needs many clips of each new speaker",
        "Each speaker's features are standardised by the mean and standard deviation of all their clips, "
        "test speakers included. A new speaker needs many clips before the first can be recognised.",
    ),
    "enrol": (
        "Needs {n} other clips of each new speaker",
        "The mean of a test speaker is estimated from other clips of theirs, without labels.",
    ),
    "cluster": (
        "Needs a batch of clips",
        "The means of test speakers are estimated from {n} clusters of similar voices among the test clips "
        "of a fold, without labels. A batch of clips is needed before the first can be recognised.",
    ),
}


@dataclass(frozen=True)
class Notice:
    """A box above all numbers.

    Attributes:
        kind: `alarm` if the scores are too high, `caution` if they need an explanation.
        head: in a few words.
        text: what follows from it.
    """

    kind: Literal["alarm", "caution", "plain"]
    head: str
    text: str


def of_run(run: FinishedRun) -> list[Notice]:
    """Returns the notices of a finished run."""
    synthetic = [name for name, about in run.corpora.items() if about["synthetic"]]
    found = notices(run.test, run.params.split.protocol, synthetic)
    if n_folds := run.train.get("n_folds_at_temperature_bound", 0):
        found.append(
            Notice(
                "caution",
                "Probabilities not calibrated",
                f"In {n_folds} folds the temperature is at its bound: the model's scores do not fit the "
                "validation clips at any temperature. Do not use the confidence of its predictions.",
            )
        )
    return found


def notices(test: dict[str, Any], protocol: str, synthetic: list[str]) -> list[Notice]:
    """Returns the notices, the one on the protocol first.

    Args:
        test: metrics/test.json.
        protocol: a name of `splitting.protocols`.
        synthetic: the corpora of synthetic speech.
    """
    found = [_protocol(test["leaky"], protocol)]
    if (known := test["statistics"]) != "none":
        way, _, n = known.partition(" ")
        head, text = (words.format(n=n) for words in STATISTICS[way])
        found.append(Notice("caution", head, f"{text} Compare only with results that do the same."))
    if synthetic:
        found.append(
            Notice(
                "caution",
                f"Synthetic speech: {', '.join(synthetic)}",
                "The numbers show that the pipeline works. They do not show how well emotions in human "
                "speech are recognised.",
            )
        )
    return found


def _protocol(leaky: bool, protocol: str) -> Notice:
    if not leaky:
        return Notice("plain", "Not leaky", PROTOCOLS[protocol])
    return Notice(
        "alarm",
        "LEAKY",
        f"{PROTOCOLS[protocol]} So the scores are too high for new speakers. Do not compare them with "
        "speaker-independent results; ser leak_inflation measures the difference.",
    )


def validation(split: dict[str, Any]) -> str:
    """Returns on what epochs and the temperature were chosen.

    Args:
        split: metrics/split.json.
    """
    if "validation" not in split:
        return "none"
    shared = [name for name in ("speakers", "sentences") if split[f"validation_shares_{name}"]]
    clips, speakers = split["validation"]["clips"], split["validation"]["speakers"]
    size = f"{clips:.0f} clips of {speakers:.0f} speakers per fold"
    return f"{size}; {' and '.join(shared)} shared with training" if shared else size
