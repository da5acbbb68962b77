"""Check params.yaml, and as much of the split as can be checked without reading audio: `ser check`.

It makes the checks of the stage `select`, without DVC, and writes nothing. Of corpora that are folders in
data/sources, it also counts clips, speakers and labels, and names missing files, as far as names and tables
say. Archives and `demo`, which `ingest` unpacks and makes, are counted by `manifest`.
"""

from __future__ import annotations

import pandas as pd

from stages.acquire import sources
from stages.base.errors import first_of, listed, parser_of, run
from stages.base.files import SOURCES
from stages.base.params import PARAMS, Params, read
from stages.checking.chosen import check_chosen
from stages.data.vocabulary import UNKNOWN


def main() -> None:
    parser_of(__doc__).parse_args()
    params = read()
    clips = check_chosen(params)
    print(
        f"{PARAMS} is valid: {params.model} on {listed(params.corpus)}, split {params.split.protocol}, "
        f"features {listed(params.featurize.features)}"
    )
    report_missing(params)
    if clips is not None:
        print(counted(clips))


def report_missing(params: Params) -> None:
    """Prints which chosen corpora `ingest` would not find, and how many files of chosen tables are not there.

    `manifest` would exclude the rows of such files.
    """
    for name in params.corpus:
        corpus = params.corpus_of(name)
        if hasattr(corpus, "missing"):
            if missing := corpus.missing():
                print(f"notice: {name}: {len(missing)} files of the table are missing: {first_of(missing)}")
        elif not sources.is_available(name, corpus, params):
            print(f"notice: {name}: not in {SOURCES}; ingest needs it there. {corpus.ABOUT.access}")


def counted(clips: pd.DataFrame) -> str:
    """Returns the numbers of clips, speakers and labels in one line.

    >>> counted(pd.DataFrame({"label": ["fear", "anger", "fear"], "speaker": ["x/1", "x/2", "x/unknown"]}))
    '3 usable clips by names and tables, 2 speakers, 2 labels: anger 1, fear 2'
    """
    speakers = clips.loc[~clips["speaker"].str.endswith(f"/{UNKNOWN}"), "speaker"]
    labels = clips["label"].value_counts().sort_index()
    counts = listed(f"{label} {n_clips}" for label, n_clips in labels.items())
    said = f"{len(clips)} usable clips by names and tables, {speakers.nunique()} speakers"
    return f"{said}, {len(labels)} labels: {counts}"


if __name__ == "__main__":
    run(main)
