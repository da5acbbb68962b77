"""Show what was run, on what, and what came of it: metrics/report.html, and its figures for `dvc plots`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.audio import recording
from stages.audio.spectrum import Spectrum
from stages.base.errors import InputError, run
from stages.base.files import AUGMENTED, CORPORA, MANIFEST, METRICS, PREDICTIONS, RAW, SPLITS, replacing
from stages.base.params import Params, read
from stages.data import shards, tables
from stages.evaluation import metrics
from stages.reporting import examples, notices, page, report_tables
from stages.reporting.figures import data, results, sound
from stages.reporting.figures.style import Picture

TEMPLATE = Path(page.__file__).with_name("report.html.j2")
REPORT, FIGURES = METRICS / "report.html", METRICS / "figures"
N_HARDEST = 10
# Of metrics/*.json, what the page shows.
SCALARS = {
    "split": ("n_folds", "validation_shares_sentences", "validation_shares_speakers"),
    "train": ("n_parameters", "n_train", "temperature"),
    "test": (
        *("uar", "accuracy", "macro_f1", "chance_uar", "ece", "recall", "worst_speaker"),
        *("corpus", "sex", "fold", "n_clips", "n_folds", "n_speakers"),
        *("leaky", "uses_test_speaker_statistics"),
    ),
}
# Of metrics/history.csv.
HISTORY = {
    **dict.fromkeys(("fold", "epoch"), "int64"),
    **dict.fromkeys(("loss", "val_loss", "val_uar", "learning_rate"), "float64"),
}
N_CEPSTRUM = 12  # coefficients shown; those above are near nothing


@dataclass(frozen=True)
class Run:
    """What a run has left behind: its parameters, tables and metrics."""

    params: Params
    corpora: dict[str, dict[str, Any]]  # what the manifest says of each chosen one
    manifest: pd.DataFrame  # of the chosen corpora
    splits: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    split: dict[str, Any]
    train: dict[str, Any]
    test: dict[str, Any]

    @property
    def clips(self) -> pd.DataFrame:
        """The recordings fit for use."""
        return self.manifest[self.manifest["problem"] == ""]


def main() -> None:
    done = read_run(read())
    shown = examples.one_per_emotion(done.clips)
    of_results, of_data = result_pictures(done), [data.emotions(done.clips), data.durations(done.clips)]
    pictures = [*of_results, *of_data, *sound_pictures(done, shown), *pair_pictures(done, shown)]
    html = page.render(
        TEMPLATE,
        run=done,
        **about_corpora(done),
        facts=facts(done),
        tables={
            **report_tables.of_results(done.test, done.predictions),
            **report_tables.of_split(done.splits),
            **report_tables.of_recordings(done.manifest),
            **report_tables.of_examples(shown),
        },
        pictures={picture.name: picture for picture in pictures},
        hardest=hardest_clips(done),
        longest_played_s=examples.LONGEST_PLAYED_S,
        settings=json.dumps(done.params.block("models", done.params.model), indent=2),
    )
    with replacing(REPORT) as temporary:
        temporary.write_text(html, encoding="utf-8")
    write_figures(of_results)


def read_run(params: Params) -> Run:
    """Returns the run that the files in data and metrics tell of."""
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    predictions = tables.read(PREDICTIONS, tables.PREDICTIONS)
    scalars = {name: tables.read_scalars(METRICS / f"{name}.json", keys) for name, keys in SCALARS.items()}
    return Run(
        params,
        tables.read_scalars(CORPORA, params.corpus),
        manifest[manifest["corpus"].isin(params.corpus)],
        tables.read(SPLITS, tables.SPLITS),
        predictions,
        read_history(METRICS / "history.csv"),
        **scalars,
    )


def read_history(path: Path) -> pd.DataFrame:
    """Returns the epochs of every fold's training, columns HISTORY; no row where the model has no epochs.

    Raises:
        InputError: the file is missing, or is not as train wrote it: conflict markers are in it, say.
    """
    try:
        return pd.read_csv(path, usecols=list(HISTORY), dtype=HISTORY)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. `dvc repro train` makes it.") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: not the table that train wrote ({reason}). `dvc repro train` makes it again."
        ) from error


def about_corpora(done: Run) -> dict[str, Any]:
    """Returns each corpus's particulars, and what to know before the first number."""
    synthetic = [name for name, about in done.corpora.items() if about["synthetic"]]
    return {
        "corpora": done.corpora,
        "notices": notices.notices(done.test, done.params.split.protocol, synthetic),
    }


def facts(done: Run) -> dict[str, str]:
    """Returns what was run, in words."""
    params, test, train = done.params, done.test, done.train
    inputs = params.models[params.model]["inputs"]
    copies = params.augment.copies if params.train.use_augmented else 0
    return {
        "Protocol": params.split.protocol,
        "Tested": f"{test['n_clips']} clips of {test['n_speakers']} speakers, in {test['n_folds']} of "
        f"{done.split['n_folds']} folds",
        "Validated": notices.validation(done.split),
        "Model": f"{params.model}, {train['n_parameters']:,} parameters, trained on {train['n_train']:.0f} "
        "recordings a fold",
        "Inputs": f"{', '.join(inputs['features'])}, as {inputs['layout']}",
        "Normalisation": notices.NORMALIZATION[params.train.normalize],
        "Augmentation": f"{copies} per training clip, by {', '.join(params.augment.chain)}"
        if copies
        else "none",
        "Confidence": "as the model gives it"
        if params.train.calibrate == "none"
        else f"by a temperature fitted on validation clips, {train['temperature']:.2f} on average",
    }


def result_pictures(done: Run) -> list[Picture]:
    """Returns the figures of the predictions."""
    predictions, params, chance = done.predictions, done.params, done.test["chance_uar"]
    classes = metrics.class_names(predictions)
    counts = metrics.confusions(predictions).sum(axis=0)
    votes = metrics.votes(done.clips, params.split.labels.merge)
    sexes = report_tables.of_sexes(predictions, votes, params.evaluate.n_resamples, params.seed)
    return [
        results.confusion(counts, classes, share=False),
        results.confusion(counts, classes, share=True),
        results.speakers(report_tables.of_speakers(predictions), chance),
        results.sexes(sexes, chance),
        results.reliability(metrics.reliability(predictions), done.test["ece"]),
        *([results.learning_curves(done.history)] if len(done.history) else []),
    ]


def sound_pictures(done: Run, shown: pd.DataFrame) -> list[Picture]:
    """Returns the figures of one recording of each emotion.

    Args:
        shown: columns emotion and path.
    """
    voices = recorded(shown.set_index("emotion")["path"], done.params)
    return [
        sound.waveforms(voices),
        sound.spectrograms(voices),
        sound.log_mels(voices),
        sound.mfccs(voices, min(N_CEPSTRUM, done.params.spectrum.n_mels - 1)),
    ]


def pair_pictures(done: Run, shown: pd.DataFrame) -> list[Picture]:
    """Returns speech beside song, and an original beside its altered copy, where there are any.

    Args:
        shown: clips to take the original from.
    """
    pictures = []
    both = examples.speech_and_song(done.clips)
    if both is not None:
        voices = recorded(both.set_index("channel")["path"], done.params)
        clip = both.iloc[0]
        title = f"Spoken and sung\n{clip['speaker']}, {clip['emotion']}"
        pictures.append(sound.beside(voices, "speech_song", title))
    copy = examples.augmented_copy(tables.read(AUGMENTED / shards.INDEX, tables.AUGMENTED), shown["clip"])
    if copy is not None:
        parent = shown[shown["clip"] == copy["parent"]].assign(what="original")
        voices = recorded(parent.set_index("what")["path"], done.params)
        voices["copy"] = heard(examples.read_copy(copy), done.params)
        title = f"Original and altered copy\n{copy['parent']}"
        pictures.append(sound.beside(voices, "augmented", title))
    return pictures


def recorded(paths: pd.Series, params: Params) -> dict[str, Spectrum]:
    """Returns recordings below data/raw as features see them, by the paths' index."""
    rate_hz = params.audio.sample_rate_hz
    return {
        str(name): heard(recording.load_listed(RAW / path, rate_hz), params) for name, path in paths.items()
    }


def heard(samples: recording.Samples, params: Params) -> Spectrum:
    """Returns samples as features see them."""
    emphasized = recording.pre_emphasize(samples, params.audio.pre_emphasis)
    return Spectrum(emphasized, params.audio.sample_rate_hz, params.spectrum)


def hardest_clips(done: Run) -> pd.DataFrame:
    """Returns the clips that the model got most wrong; the first `report.n_audio` have a `player`."""
    hardest = examples.hardest(done.predictions, N_HARDEST)
    n_audio, rate_hz = done.params.report.n_audio, done.params.audio.sample_rate_hz
    paths = hardest["clip"].map(done.clips.set_index("clip")["path"])
    players = [examples.player(path, rate_hz) for path in paths[:n_audio]]
    return hardest.assign(player=players + [""] * (len(hardest) - len(players)))


def write_figures(pictures: list[Picture]) -> None:
    """Makes metrics/figures hold these figures and no others."""
    shutil.rmtree(FIGURES, ignore_errors=True)
    for picture in pictures:
        with replacing(FIGURES / f"{picture.name}.{picture.suffix}") as temporary:
            temporary.write_bytes(picture.content)


if __name__ == "__main__":
    run(main)
