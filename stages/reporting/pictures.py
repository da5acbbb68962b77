"""All figures of a finished run, in the order of the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stages.audio import recording
from stages.audio.spectrum import Spectrum
from stages.base.files import AUGMENTED, RAW
from stages.base.params import Params
from stages.data import shards, tables
from stages.evaluation import metrics
from stages.reporting import examples, report_tables
from stages.reporting.figures import data, results, sound
from stages.reporting.figures.style import Picture

if TYPE_CHECKING:
    from stages.reporting.finished_run import FinishedRun

N_CEPSTRUM = 12  # coefficients shown; higher ones are close to zero


def of_results(run: FinishedRun) -> list[Picture]:
    """Returns the figures of the predictions and of training."""
    predictions, params, chance = run.predictions, run.params, run.test["chance_uar"]
    classes = metrics.class_names(predictions)
    counts = metrics.confusions(predictions).sum(axis=0)
    votes = metrics.votes(run.clips, params.split.labels.merge)
    sexes = report_tables.of_sexes(predictions, votes, params.evaluate.n_resamples, params.seed)
    return [
        results.confusion(counts, classes, normalized=False),
        results.confusion(counts, classes, normalized=True),
        results.speakers(report_tables.of_speakers(predictions), chance),
        *([results.sexes(sexes, chance)] if len(sexes) > 1 else []),
        results.reliability(metrics.reliability(predictions), metrics.scores(predictions)["ece"]),
        results.risk_coverage(metrics.risk_coverage(predictions)),
        *([results.enrolment(run.enrolment)] if len(run.enrolment) else []),
        *([results.learning_curves(run.history)] if len(run.history) else []),
    ]


def of_data(run: FinishedRun) -> list[Picture]:
    """Returns the figures of the usable recordings as a whole."""
    return [data.emotions(run.clips), data.durations(run.clips)]


def of_sound(run: FinishedRun, shown: pd.DataFrame) -> list[Picture]:
    """Returns the figures of single recordings.

    Args:
        shown: a clip per emotion; columns clip, emotion and path.
    """
    spectra = _recorded(shown.set_index("emotion")["path"], run.params)
    return [
        sound.waveforms(spectra),
        sound.spectrograms(spectra),
        sound.log_mels(spectra),
        sound.mfccs(spectra, min(N_CEPSTRUM, run.params.spectrum.n_mels - 1)),
        *_speech_and_song(run),
        *_original_and_copy(run, shown),
    ]


def _speech_and_song(run: FinishedRun) -> list[Picture]:
    """Returns one sentence spoken and sung, if the corpora have both."""
    pair = examples.speech_and_song(run.clips)
    if pair is None:
        return []
    spectra = _recorded(pair.set_index("channel")["path"], run.params)
    clip = pair.iloc[0]
    return [sound.beside(spectra, "speech_song", f"Spoken and sung\n{clip['speaker']}, {clip['emotion']}")]


def _original_and_copy(run: FinishedRun, shown: pd.DataFrame) -> list[Picture]:
    """Returns one of the clips `shown` beside an augmented copy of it, if there are copies."""
    copies = tables.read(AUGMENTED / shards.INDEX, tables.AUGMENTED)
    copy = examples.augmented_copy(copies, shown["clip"])
    if copy is None:
        return []
    parent = shown.loc[shown["clip"] == copy["parent"], "path"].item()
    spectra = {
        "original": _load(parent, run.params),
        "copy": _spectrum(examples.read_copy(copy), run.params),
    }
    return [sound.beside(spectra, "augmented", f"Original and augmented copy\n{copy['parent']}")]


def _recorded(paths: pd.Series, params: Params) -> dict[str, Spectrum]:
    """Returns the spectra of recordings below data/raw, by the index of `paths`."""
    return {str(name): _load(path, params) for name, path in paths.items()}


def _load(path: str | Path, params: Params) -> Spectrum:
    return _spectrum(recording.load_listed(RAW / path, params.audio.sample_rate_hz), params)


def _spectrum(samples: recording.Samples, params: Params) -> Spectrum:
    """Returns the spectrum from which features are computed."""
    emphasized = recording.pre_emphasize(samples, params.audio.pre_emphasis)
    return Spectrum(emphasized, params.audio.sample_rate_hz, params.spectrum)
