"""Show the recordings by corpus, speaker and label, and as points coloured by label and by speaker.

    ser data_page

Brings manifest and features up to date, and writes metrics/data.html, one self-contained page. It shows all
usable clips of the chosen corpora, including test clips: do not base a choice on it that you then test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from stages.base import registry, workspace
from stages.base.errors import InputError, parser_of, run
from stages.base.files import FEATURES, MANIFEST, METRICS, write
from stages.base.params import Params, read
from stages.data import shards, tables
from stages.learning import trained_fold
from stages.reporting import clip_space, page
from stages.reporting.figures import space
from stages.reporting.figures.style import Picture
from stages.splitting import labels

PAGE = METRICS / "data.html"
TEMPLATE = Path(page.__file__).with_name("data_page.html.j2")
INDEX = FEATURES / shards.INDEX


def main() -> None:
    parser_of(__doc__).parse_args()
    params = read()
    workspace.reproduce(Path.cwd(), "manifest", "featurize", output=sys.stderr)
    names = pooled_features(params)
    clips = usable(params, names)
    shown = clip_space.drawn(clips, params.seed)
    measures, points = clip_space.of_clips(shown, names)
    near = clip_space.neighbours(points, shown["label"], shown["speaker"])
    effects = clip_space.effects(measures, shown["label"], shown["speaker"])
    pictures = draw(shown, measures, effects, clip_space.plane(points, params.seed), near)
    html = page.render(
        TEMPLATE,
        title=", ".join(params.corpus),
        n_shown=len(shown),
        n_clips=len(clips),
        features=", ".join(names),
        pictures={picture.name: picture for picture in pictures},
        tables={
            "corpora": of_corpora(clips),
            "effects": of_effects(effects),
            "neighbours": of_neighbours(near),
        },
    )
    write(html, PAGE)
    said = ", ".join(f"{name} {seen:.2f} (chance {chance:.2f})" for name, (seen, chance) in near.items())
    print(f"data_page: {PAGE}: the nearest clip is of the {said}")


def usable(params: Params, features: list[str]) -> pd.DataFrame:
    """Returns the usable clips with their label and the shard of their features, sorted by clip.

    Raises:
        InputError: see `labels.usable_clips` and `trained_fold.check_features`; or there are fewer than four
            clips or two labels.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    clips, _ = labels.usable_clips(manifest, params)
    index = tables.read(INDEX, tables.FEATURES, ["clip", "shard"])
    trained_fold.check_features(params, features, index)
    clips = clips.merge(index, on="clip", validate="one_to_one").sort_values("clip", ignore_index=True)
    if len(clips) < 4 or clips["label"].nunique() < 2:
        raise InputError(f"{MANIFEST}: has {len(clips)} clips of {clips['label'].nunique()} labels; too few.")
    return clips


def pooled_features(params: Params) -> list[str]:
    """Returns the computed features that have the frames of the spectrum.

    Raises:
        InputError: there is none.
    """
    place = "params.featurize.features"
    chosen = params.featurize.features
    names = [name for name in chosen if not registry.has_own_frames(name, place)]
    if not names:
        raise InputError(f"{place}: {', '.join(chosen)} have frames of their own. Add logmel, say.")
    return names


def draw(
    clips: pd.DataFrame,
    measures: pd.DataFrame,
    effects: pd.DataFrame,
    places: clip_space.Points,
    near: dict[str, tuple[float, float]],
) -> list[Picture]:
    """Returns the figures of the page."""
    largest = list(effects.index[: space.N_SHOWN])
    said = "; ".join(f"nearest clip of the {name}: {seen:.2f}" for name, (seen, _) in near.items())
    return [
        space.by_corpus(measures, clips["corpus"]),
        space.by_speaker(measures, clips["corpus"], clips["speaker"]),
        space.by_label(measures[largest], clips["label"]),
        space.beside(places, clips["label"], clips["speaker"], f"{said}."),
    ]


def of_corpora(clips: pd.DataFrame) -> page.Table:
    """Returns what each corpus has: numbers, languages, hours."""
    rows = {}
    for corpus, own in clips.groupby("corpus"):
        languages = sorted(own["language"].dropna().unique()) or ["unknown"]
        sexes = own.drop_duplicates("speaker")["sex"].fillna("unknown").value_counts()
        rows[corpus] = {
            "clips": f"{len(own):,}",
            "hours": f"{own['duration_s'].sum() / 3600:.2f}",
            "speakers": own["speaker"].nunique(),
            "sexes": ", ".join(f"{n} {sex}" for sex, n in sexes.items()),
            "languages": ", ".join(languages),
            "sentences": own["sentence"].nunique() or "unknown",
            "labels": ", ".join(f"{label} {n}" for label, n in own["label"].value_counts().items()),
        }
    return page.table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("corpus"), "Usable clips")


def of_effects(effects: pd.DataFrame) -> page.Table:
    """Returns the effects as text."""
    written = effects.map("{:.3f}".format).rename(index=clip_space.MEASURES).rename_axis("measure")
    return page.table(written, "Effect sizes, eta squared")


def of_neighbours(near: dict[str, tuple[float, float]]) -> page.Table:
    """Returns the neighbours as text."""
    rows = {name: [f"{value:.3f}" for value in values] for name, values in near.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["fraction", "by chance"])
    return page.table(frame.rename_axis("nearest clip"), "Neighbours")


if __name__ == "__main__":
    run(main)
