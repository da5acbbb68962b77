"""Copy the chosen corpora's recordings into data/raw, from data/sources, the synthesiser or their publishers.

Files that are already there and the same are left alone; files that no source contains any more are removed.
"""

from __future__ import annotations

from stages.acquire import mirror, sources
from stages.base.errors import run
from stages.base.files import RAW
from stages.base.params import read


def main() -> None:
    params = read()
    RAW.mkdir(parents=True, exist_ok=True)
    for name in params.corpus:
        corpus = params.corpus_of(name)
        if hasattr(corpus, "sources"):  # a table lists its recordings itself
            print(f"{name}: {mirror.update(corpus.sources(), RAW / name)}")
            continue
        with sources.opened(name, corpus, params) as found:
            n_clips = sources.count_recordings(found, name, corpus)
            changes = mirror.update(found, RAW / name)
        print(f"{name}: {changes}")
        if n_clips != corpus.ABOUT.n_clips and not hasattr(corpus, "synthesise"):
            print(f"  notice: {n_clips} recordings are here, the complete corpus has {corpus.ABOUT.n_clips}")
    for name in mirror.remove_unchosen(params.corpus):
        print(f"{name}: removed, because params.corpus does not name it")


if __name__ == "__main__":
    run(main)
