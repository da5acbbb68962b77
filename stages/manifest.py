"""List every recording below data/raw with what its name, its header and its samples say.

The list contains facts only: no split and no choice of labels. A file that is not usable is a row with the
reason as `problem`; it is never left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pandas as pd
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from stages.audio.quality import identify, mark_duplicates, probe, why_unreadable
from stages.audio.recording import SUFFIXES
from stages.base import errors, files
from stages.base.errors import InputError
from stages.base.files import CORPORA, MANIFEST, METRICS, RAW
from stages.base.params import Manifest, Params, read
from stages.base.stage import run
from stages.compute import engine
from stages.compute.lifetime import check_semaphores, end_with_parent
from stages.compute.task import Task, WorkerKilledError
from stages.data import tables
from stages.data.published import checksums
from stages.data.vocabulary import UNKNOWN

FILES_PER_TASK = 200
N_NAMED = 5  # excluded files named in the log; the manifest has all of them
INTENDED = "label left out"  # the reason that acquire/table.py gives where a block maps a label to null


def main() -> None:
    params = read()
    table = pd.concat([list_corpus(name, params) for name in sorted(params.corpus)], ignore_index=True)
    table = mark_duplicates(table)
    counts = {str(corpus): count(rows) for corpus, rows in table.groupby("corpus")}
    differing = {corpus: not_published(corpus, table[table["corpus"] == corpus], params) for corpus in counts}
    tables.write(table[list(tables.MANIFEST.columns)], tables.MANIFEST, MANIFEST)
    files.write_json({name: about(params.corpus_of(name)) for name in params.corpus}, CORPORA)
    files.write_json(counts, METRICS / "manifest.json")
    report(table, counts, differing)


def about(corpus: Any) -> dict[str, Any]:
    """Returns a corpus's title, licence, citation, address and counts, and whether it is synthetic."""
    return asdict(corpus.ABOUT) | {"synthetic": hasattr(corpus, "synthesise")}


def list_corpus(name: str, params: Params) -> pd.DataFrame:
    """Returns the corpus's rows of the manifest, sorted by path, and the columns `preferred` and `authentic`.

    Raises:
        InputError: the corpus's folder contains no audio file.
    """
    corpus = params.corpus_of(name)
    folder = RAW / name
    if hasattr(corpus, "listed"):
        listed = corpus.listed(folder)  # by a table
        paths = sorted(listed)
    else:
        listed = {}
        found = folder.rglob("*")
        paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES and not path.is_dir())
    if not paths:
        raise InputError(f"{folder}: no audio file ({', '.join(SUFFIXES)}). Run `dvc repro ingest`.")
    probed = probe_all(paths, params, f"manifest {name}")
    rows = []
    for path in paths:
        place, own = {"path": printable(path.relative_to(RAW)), "corpus": name}, probed[path]
        said = listed[path] if listed else describe(name, corpus, path, own["problem"])
        rows.append({**place, **own, **said, "problem": said["problem"] or own["problem"]})
    columns = [*tables.MANIFEST.columns, "preferred", "authentic"]
    table = tables.typed(pd.DataFrame(rows, columns=columns), tables.MANIFEST)
    return without_gaps(corpus.annotate(table, folder)) if hasattr(corpus, "annotate") else table


def probe_all(paths: list[Path], params: Params, title: str) -> dict[Path, dict[str, Any]]:
    """Returns what `probe` returns for each file.

    What is not a readable file is found out here, so that a worker that cannot read a file stops the run: the
    fault is the worker's or the disk's. If a damaged file crashes the process that decodes it, that is the
    file's problem: see `probe_singly`.
    """
    unread = {"n_bytes": 0, "sha256": "", "notices": ""}
    problems = {path: why_unreadable(path) for path in paths}
    probed = {path: unread | {"problem": problem} for path, problem in problems.items() if problem}
    paths = [path for path in paths if path not in probed]
    tasks = []
    for start in range(0, len(paths), FILES_PER_TASK):
        batch = paths[start : start + FILES_PER_TASK]
        make = partial(probe_batch, batch, params.manifest)
        tasks.append(Task(f"{title} {start}", make, 1))
    if params.compute.engine == "local" and params.compute.workers == 1:
        tasks = []  # the engine would run them in this process, which must not crash
    with tqdm(total=len(paths), desc=title, unit="file", leave=False) as bar:
        with suppress(WorkerKilledError):
            for batch_probed in engine.run(tasks, params.compute, "manifest"):
                probed |= batch_probed
                bar.update(len(batch_probed))
        for path, columns in probe_singly([p for p in paths if p not in probed], params.manifest):
            probed[path] = columns
            bar.update()
    return probed


def probe_batch(paths: list[Path], limits: Manifest) -> dict[Path, dict[str, Any]]:
    """Returns what `probe` returns for each file."""
    return {path: probe(path, limits) for path in paths}


def probe_singly(paths: list[Path], limits: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields each file and what `probe` returns for it, from one worker that is replaced after a crash."""
    check_semaphores()
    while paths:
        worker = ProcessPoolExecutor(1, initializer=end_with_parent)
        try:
            for columns in worker.map(partial(probe, limits=limits), paths):
                yield paths[0], columns
                paths = paths[1:]
        except TerminatedWorkerError:
            yield paths[0], identify(paths[0]) | {"problem": "crash: decoding it crashes the process"}
            paths = paths[1:]
        finally:
            worker.shutdown(kill_workers=True)


def describe(name: str, corpus: Any, path: Path, problem: str) -> dict[str, Any]:
    """Returns the columns of the manifest that a file's name gives.

    A name that the corpus does not use, or that its folder contradicts, is a problem, unless the file has
    another `problem`.
    """
    parsed = corpus.parse(PurePosixPath(path.relative_to(RAW / name).as_posix()))
    if parsed is None:
        unknown = f"unknown name: {path.name} does not follow {name}'s naming scheme"
        clip = f"{name}/{printable(PurePath(path.stem))}"
        return {"clip": clip, "preferred": True, "authentic": True, "problem": problem or unknown}
    said = asdict(parsed) | {"language": parsed.language or corpus.ABOUT.language or None}
    for column in ("clip", "speaker", "sentence", "session"):
        said[column] = f"{name}/{said[column]}" if said[column] is not None else None
    if parsed.contradiction:
        contradiction = f"contradiction: it is in the {parsed.contradiction}, and its name says otherwise"
        problem = problem or contradiction
    return said | {"problem": problem}


def without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a problem where the corpus's label files give no emotion or no speaker."""
    table = table.copy()
    for column, reason in {"emotion": "no label", "speaker": "no speaker"}.items():
        missing = table[column].isna() & (table["problem"] == "")
        table.loc[missing, "problem"] = f"{reason}: the corpus's label files do not give it"
    return table


def printable(path: PurePath) -> str:
    """Returns the path with forward slashes, and bytes that are not UTF-8 as backslash escapes."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def count(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the numbers of files, usable recordings and their speakers, and of excluded and unusual ones by
    reason."""
    usable = rows[rows["problem"] == ""]
    reasons = rows.loc[rows["problem"] != "", "problem"].str.split(":").str[0]
    noticed = usable.loc[usable["notices"] != "", "notices"].str.split("; ").explode().str.split(":").str[0]
    return {
        "n_files": len(rows),
        "n_usable": len(usable),
        "n_speakers": usable.loc[~usable["speaker"].str.endswith(f"/{UNKNOWN}"), "speaker"].nunique(),
        "n_excluded": reasons.value_counts().to_dict(),
        "n_noticed": noticed.value_counts().to_dict(),
    }


def not_published(name: str, rows: pd.DataFrame, params: Params) -> list[str]:
    """Returns the speakers of whom a recording is missing or is not the published one, if that is known."""
    corpus = params.corpus_of(name)
    if not hasattr(corpus, "CHECKSUMS"):
        return []
    found = checksums(rows[rows["preferred"]], corpus.CHECKSUMS_OF)
    return sorted(speaker for speaker, own in found.items() if corpus.CHECKSUMS.get(speaker) != own)


def report(table: pd.DataFrame, counts: dict[str, Any], differing: dict[str, list[str]]) -> None:
    """Prints the counts, by reason too, the first excluded files and notices.

    Args:
        table: of schema MANIFEST.
        counts: what `count` returns, by corpus.
        differing: what `not_published` returns, by corpus.

    Raises:
        InputError: a corpus has no usable recording.
    """
    usable = {*table.loc[table["problem"] == "", "speaker"]}
    for corpus, counted in counts.items():
        print(f"manifest: {corpus}: {counted['n_usable']} of {counted['n_files']} recordings are usable")
        excluded = table[(table["corpus"] == corpus) & (table["problem"] != "")]
        if len(excluded):
            reasons = (f"{n_clips} {reason}" for reason, n_clips in counted["n_excluded"].items())
            print(f"  excluded: {len(excluded)}: {errors.listed(reasons)}")
        # What the block leaves out on purpose comes last, and so hides no fault.
        is_intended = excluded["problem"].str.startswith(INTENDED)
        named = pd.concat([excluded[~is_intended], excluded[is_intended]]).head(N_NAMED)
        for row in named.itertuples():
            print(f"  excluded: {row.path}: {row.problem}")
        if len(excluded) > N_NAMED:
            print(f"  ... and {len(excluded) - N_NAMED} more, in {MANIFEST}, column `problem`")
        for notice, n_clips in counted["n_noticed"].items():
            print(f"  notice: {n_clips} usable recordings: {notice}; {MANIFEST}, column `notices`")
        if differing[corpus]:
            print(
                f"  notice: not the published recordings, or not all of them, of {len(differing[corpus])} "
                f"speakers: {errors.listed(differing[corpus])}"
            )
        missing = sorted({*table.loc[table["corpus"] == corpus, "speaker"].dropna()} - usable)
        if missing:
            print(f"  notice: no recording is usable of {len(missing)} speakers: {errors.listed(missing)}")
        if not counted["n_usable"]:
            raise InputError(f"{RAW / corpus}: no recording is usable; {MANIFEST} gives the reasons.")


if __name__ == "__main__":
    run(main)
