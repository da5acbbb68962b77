"""A model card, from the records of a finished run only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.data.splits import Splits
from stages.reporting import notices, page, report_tables, robustness, summary
from stages.reporting.page import escaped

if TYPE_CHECKING:
    from stages.reporting.finished_run import FinishedRun

TEMPLATE = Path(__file__).with_name("model_card.md.j2")
SCORES = ("uar", "accuracy", "macro_f1")


def render(run: FinishedRun) -> str:
    """Returns the card as Markdown.

    Raises:
        InputError: metrics/robustness.json is damaged.
    """
    predictions, votes = run.predictions, pd.Series(dtype=str)
    n_resamples, seed = run.params.evaluate.n_resamples, run.params.seed
    sexes = report_tables.of_sexes(predictions, votes, n_resamples, seed).drop(columns="listeners")
    emotions = report_tables.rounded(report_tables.of_emotions(predictions, n_resamples, seed))
    corpora = {
        str(about["title"]): {
            "licence": about["licence"],
            "tested clips": (predictions["corpus"] == name).sum(),
            "tested speakers": predictions.loc[predictions["corpus"] == name, "speaker"].nunique(),
        }
        for name, about in run.corpora.items()
    }
    measured = robustness.read(predictions.attrs, run.params)
    return page.render(
        TEMPLATE,
        run=run,
        summary=summary.summary(run),
        corpora=_markdown(pd.DataFrame.from_dict(corpora, orient="index"), "corpus"),
        protocol=notices.PROTOCOLS[run.params.split.protocol],
        texts=_texts(run.splits),
        scores=_markdown(_with_intervals(run.test), "score"),
        by_emotion=_markdown(emotions, "emotion"),
        by_sex=_markdown(report_tables.rounded(sexes), "speakers"),
        by_speaker=_markdown(of_speakers(predictions), "UAR of a speaker"),
        robustness=measured,
        conditions=measured and _markdown(report_tables.conditions(measured), "recordings"),
        synthetic=[name for name, about in run.corpora.items() if about["synthetic"]],
    )


def of_speakers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns the lowest, the median and the highest uar of a speaker, as text."""
    uars = report_tables.of_speakers(predictions).set_index("speaker")["uar"]
    rows = {
        f"lowest, {uars.idxmin()}": uars.min(),
        "median": uars.median(),
        f"highest, {uars.idxmax()}": uars.max(),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["UAR"]).map("{:.3f}".format)


def _texts(splits: Splits) -> str:
    """Returns whether the sentences of the test clips are in the training data, "" if they are not known."""
    tested, seen = (
        set(splits.clips.loc[splits.clips["roles"].str.contains(roles), "sentence"].dropna())
        for roles in ("test", "train|validation")
    )
    if not tested:
        return ""
    shared = tested & seen
    return f"{len(shared)} of {len(tested)} test sentences are in the training data of a fold too."


def _with_intervals(test: dict[str, Any]) -> pd.DataFrame:
    rows = [[f"{test[name]:.3f}", report_tables.interval(test, name)] for name in SCORES]
    return pd.DataFrame(rows, [report_tables.NAMES[name] for name in SCORES], ["value", "95 % interval"])


def _markdown(rows: pd.DataFrame, first: str) -> str:
    """Returns a table; `first` names the column of the index."""
    shown = rows.rename_axis(first).reset_index().astype(str).map(escaped)
    return str(shown.to_markdown(index=False, disable_numparse=True))
