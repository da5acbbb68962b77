"""Show a finished run: the page metrics/report.html, its figures for `dvc plots`, and a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stages.base.files import METRICS, write
from stages.base.params import read
from stages.base.stage import run
from stages.reporting import (
    examples,
    finished_run,
    model_card,
    notices,
    page,
    pictures,
    report_tables,
    robustness,
    summary,
)
from stages.reporting.figures.style import Picture

TEMPLATE = Path(page.__file__).with_name("report.html.j2")
REPORT, FIGURES, CARD = METRICS / "report.html", METRICS / "figures", METRICS / "model_card.md"


def main() -> None:
    done = finished_run.read(read())
    shown = examples.one_per_emotion(done.clips)
    of_results = pictures.of_results(done)
    drawn = [*of_results, *pictures.of_data(done), *pictures.of_sound(done, shown)]
    measured = robustness.read(done.predictions.attrs, done.params)
    html = page.render(
        TEMPLATE,
        run=done,
        notices=notices.of_run(done),
        claim=summary.claim(done.predictions, done.test),
        summary=summary.summary(done),
        tables={
            **report_tables.of_results(
                done.test, done.predictions, done.params.evaluate.n_resamples, done.params.seed
            ),
            **report_tables.of_robustness(measured),
            **report_tables.of_split(done.splits),
            **report_tables.of_recordings(done.manifest),
            **report_tables.of_examples(shown),
        },
        pictures={picture.name: picture for picture in drawn},
        robustness=measured,
        hardest=summary.hardest_clips(done),
        longest_played_s=examples.LONGEST_PLAYED_S,
        settings=json.dumps(done.params.block("models", done.params.model), indent=2),
    )
    write(html, REPORT)
    write(model_card.render(done), CARD)
    write_figures(of_results)


def write_figures(pictures: list[Picture]) -> None:
    """Writes the figures to metrics/figures and removes all others there."""
    shutil.rmtree(FIGURES, ignore_errors=True)
    for picture in pictures:
        write(picture.content, FIGURES / f"{picture.name}.{picture.suffix}")


if __name__ == "__main__":
    run(main)
