"""Copy the chosen corpora's recordings into data/raw, from data/sources, the synthesiser or their publishers.

Files that are already there and the same are left alone; files that no source contains any more are removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import PurePosixPath
from types import ModuleType

from stages.acquire import mirror, sources
from stages.base.files import RAW
from stages.base.params import Params, read
from stages.base.stage import run
from stages.data.vocabulary import UNKNOWN

N_KINDS = 5  # of ignored files, named in a notice


def main() -> None:
    params = read()
    RAW.mkdir(parents=True, exist_ok=True)
    for name in params.corpus:
        corpus = params.corpus_of(name)
        if hasattr(corpus, "sources"):  # a table lists its recordings itself
            print(f"{name}: {mirror.update(corpus.sources(), RAW / name)}")
            if unlisted := corpus.unlisted():
                print(
                    f"  notice: {len(unlisted)} recordings are not in the table, the first is '{unlisted[0]}'"
                )
            continue
        with sources.opened(name, corpus, params) as (found, ignored):
            n_clips = sources.count_recordings(found, name, corpus)
            changes = mirror.update(found, RAW / name)
        print(f"{name}: {changes}")
        for notice in (*incomplete(n_clips, corpus), *others(ignored)):
            print(f"  notice: {notice}")
    for notice in same_names(params):
        print(f"  notice: {notice}")
    for name in mirror.remove_unchosen(params.corpus):
        print(f"{name}: removed, because params.corpus does not name it")


def same_names(params: Params) -> Iterator[str]:
    """Yields a sentence for each two tables that have a speaker's name in common."""
    corpora = {name: params.corpus_of(name) for name in params.corpus}
    tables = {name: corpus for name, corpus in corpora.items() if hasattr(corpus, "names")}
    speakers = {}
    for name, corpus in tables.items() if len(tables) > 1 else ():
        found = corpus.names()["speaker"].dropna().str.removeprefix(f"{name}/")
        speakers[name] = set(found) - {UNKNOWN}
    for first, second in combinations(speakers, 2):
        if both := sorted(speakers[first] & speakers[second]):
            yield (
                f"{first} and {second} have {len(both)} speaker names in common, such as '{both[0]}': they "
                "count as different people. If they are the same, put all recordings into one table"
            )


def incomplete(n_clips: Counter[str], corpus: ModuleType) -> Iterator[str]:
    """Yields a sentence for each channel that has some of its recordings but not all."""
    complete = {"speech": corpus.ABOUT.n_clips, "song": corpus.ABOUT.n_songs}
    for channel, n in sorted(n_clips.items()):
        if n != complete[channel] and not hasattr(corpus, "synthesise"):
            yield f"{n} recordings of {channel} are here, the complete corpus has {complete[channel]}"


def others(ignored: list[PurePosixPath]) -> Iterator[str]:
    """Yields a sentence about the files that are neither audio nor tables, if there are any."""
    if ignored:
        kinds = Counter(path.suffix.lower() or "without suffix" for path in ignored)
        counted = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(N_KINDS))
        more = ", ..." if len(kinds) > N_KINDS else ""
        yield f"{len(ignored)} files are ignored ({counted}{more}), the first is '{ignored[0]}'"


if __name__ == "__main__":
    run(main)
