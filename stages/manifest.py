"""List every recording below data/raw with what its name, its header and its samples tell.

Facts only: no split, no label policy. A file that is of no use is a row with the reason, never an omission.
"""

from __future__ import annotations

import errno
import hashlib
import math
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

from stages.audio import quality
from stages.audio.recording import SUFFIXES, AudioError, decode
from stages.base import files, registry
from stages.base.errors import InputError, run
from stages.base.files import CORPORA, MANIFEST, METRICS, RAW
from stages.base.params import Manifest, Params, read
from stages.compute import engine
from stages.compute.engine import Task
from stages.compute.lifetime import end_with_parent
from stages.data import keys, tables
from stages.data.vocabulary import ParsedName

N_TOGETHER = 200  # files that a worker looks into at once
N_NAMED = 5  # faulty files named in the log; all stand in the manifest


def main() -> None:
    params = read()
    table = pd.concat([list_corpus(name, params) for name in sorted(params.corpus)], ignore_index=True)
    table = mark_duplicates(table)
    counts = count(table)
    tables.write(table[list(tables.MANIFEST.columns)], tables.MANIFEST, MANIFEST)
    files.write_json({name: about(name) for name in params.corpus}, CORPORA)
    files.write_json(counts, METRICS / "manifest.json")
    report(table, counts)


def about(name: str) -> dict[str, Any]:
    """Returns a corpus's title, licence, citation, address and counts, and whether it is synthetic."""
    corpus = registry.load("corpora", name, "params.corpus")
    return asdict(corpus.ABOUT) | {"synthetic": hasattr(corpus, "synthesise")}


def list_corpus(name: str, params: Params) -> pd.DataFrame:
    """Returns the corpus's rows, sorted by path, with `preferred` as an extra column.

    Raises:
        InputError: the corpus's folder holds no audio file.
    """
    corpus = registry.load("corpora", name, "params.corpus")
    folder = RAW / name
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir()
    )
    if not paths:
        raise InputError(f"{folder}: no audio file ({', '.join(SUFFIXES)}). Run `dvc repro ingest`.")
    facts = [corpus.parse(PurePosixPath(path.relative_to(folder).as_posix())) for path in paths]
    found = dict(probed(paths, params, f"manifest {name}"))
    rows = [describe(name, path, told, found[path]) for path, told in zip(paths, facts, strict=True)]
    columns = [*tables.MANIFEST.columns, "preferred"]
    table = tables.typed(pd.DataFrame(rows, columns=columns), tables.MANIFEST)
    return corpus.annotate(table, folder) if hasattr(corpus, "annotate") else table


def probed(paths: list[Path], params: Params, title: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields each file and what `probe` tells of it, as they come.

    A file that ends the process which decodes it, as damage may end a C library, has that as its problem.
    """
    parts = [paths[start : start + N_TOGETHER] for start in range(0, len(paths), N_TOGETHER)]
    tasks = [
        Task(
            f"{title} {number}", partial(probe_all, part, params.manifest), 1, (*filter(Path.is_file, part),)
        )
        for number, part in enumerate(parts)
    ]
    left = dict.fromkeys(paths)
    in_this_process = params.compute.engine == "local" and params.compute.workers == 1
    with tqdm(total=len(paths), desc=title, unit="file", leave=False) as bar:
        with suppress(engine.WorkerKilledError):
            for found in engine.run([] if in_this_process else tasks, params.compute, "manifest"):
                yield from found
                bar.update(len(found))
                for path, _ in found:
                    del left[path]
        for path, told in probe_apart([*left], params.manifest):
            yield path, told
            bar.update()


def probe_all(paths: list[Path], limits: Manifest) -> list[tuple[Path, dict[str, Any]]]:
    """Returns each file and what `probe` tells of it."""
    return [(path, probe(path, limits)) for path in paths]


def probe_apart(paths: list[Path], limits: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields what `probed` does, one by one from a worker that is replaced where a file ends it."""
    while paths:
        worker = ProcessPoolExecutor(1, initializer=end_with_parent)
        try:
            for found in worker.map(partial(probe, limits=limits), paths):
                yield paths[0], found
                paths = paths[1:]
        except TerminatedWorkerError:
            yield paths[0], identify(paths[0]) | {"problem": "crash: decoding it ends the process that does"}
            paths = paths[1:]
        finally:
            worker.shutdown(kill_workers=True)


def identify(path: Path) -> dict[str, Any]:
    """Returns size and hash of the file, and that it has no problem so far.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():  # opening a named pipe would wait for ever
        raise FileNotFoundError(errno.ENOENT, "no file, or a link to none")
    if str(path) != printable(path):
        raise OSError(errno.EILSEQ, "its name is not UTF-8, rename it")
    return {"n_bytes": path.stat().st_size, "sha256": keys.sha256(path), "problem": ""}


def printable(path: PurePath) -> str:
    """Returns the path with forward slashes and with bytes that are no UTF-8 as backslash escapes."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def probe(path: Path, limits: Manifest) -> dict[str, Any]:
    """Returns what the file itself tells: size, hashes, duration, level, and a problem if it has one."""
    try:
        known = identify(path)
    except OSError as error:
        return {"n_bytes": 0, "sha256": "", "problem": f"unreadable: {error.strerror}"}
    try:
        recording = decode(path, limits.longest_s)
    except AudioError as error:
        return known | {"problem": str(error)}
    peak_dbfs = quality.peak_dbfs(recording.samples)
    if recording.duration_s < limits.shortest_s:
        known["problem"] = f"too short: {recording.duration_s:.3f} s"
    elif peak_dbfs < limits.silent_below_dbfs:
        known["problem"] = f"silent: peak {peak_dbfs:.1f} dBFS"
    digest = hashlib.sha256(str(recording.sample_rate_hz).encode())
    digest.update(recording.samples.data)
    return known | {
        "duration_s": recording.duration_s,
        "sample_rate_hz": recording.sample_rate_hz,
        "n_channels": recording.n_channels,
        "peak_dbfs": peak_dbfs if math.isfinite(peak_dbfs) else None,
        "audio_sha256": digest.hexdigest(),
    }


def describe(corpus: str, path: Path, facts: ParsedName | None, found: dict[str, Any]) -> dict[str, Any]:
    """Returns one manifest row; a name that tells nothing is a problem of its own."""
    row = {"path": printable(path.relative_to(RAW)), "corpus": corpus, "preferred": True, **found}
    if facts is None:
        row["clip"] = f"{corpus}/{printable(PurePath(path.stem))}"
        row["problem"] = found["problem"] or f"unknown name: {path.name} is none of {corpus}'s"
        return row
    return row | {
        "clip": f"{corpus}/{facts.clip}",
        "speaker": f"{corpus}/{facts.speaker}",
        "sex": facts.sex,
        "sentence": f"{corpus}/{facts.sentence}",
        "emotion": facts.emotion,
        "intensity": facts.intensity,
        "repetition": facts.repetition,
        "channel": facts.channel,
        "preferred": facts.preferred,
    }


def mark_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with every recording but the first of its kind marked as a problem.

    Two files are one recording when their names say so (RAVDESS's sound tracks of videos) or their
    decoded samples agree to the bit. The preferred file comes first, then the order of the paths.
    """
    table = table.sort_values(["preferred", "path"], ascending=[False, True])
    for key in ("clip", "audio_sha256"):
        fit = table[(table["problem"] == "") & table[key].notna()]
        first = fit.groupby(key)["path"].transform("first")
        again = first[first != fit["path"]]
        table.loc[again.index, "problem"] = "duplicate: the same recording as " + again
    return table.sort_values("path", ignore_index=True)


def count(table: pd.DataFrame) -> dict[str, Any]:
    """Returns, per corpus, the files, the recordings fit for use, and the rest by kind of problem."""
    counts: dict[str, Any] = {}
    for corpus, rows in table.groupby("corpus", sort=True):
        problems = rows.loc[rows["problem"] != "", "problem"].str.split(":").str[0]
        fit = rows[rows["problem"] == ""]
        counts[str(corpus)] = {
            "n_files": len(rows),
            "n_fit": len(fit),
            "n_speakers": int(fit["speaker"].nunique()),
            "n_unfit": {str(kind): int(n) for kind, n in problems.value_counts().sort_index().items()},
        }
    return counts


def report(table: pd.DataFrame, counts: dict[str, Any]) -> None:
    """Prints the counts and names the first files of no use.

    Raises:
        InputError: a corpus has no recording fit for use.
    """
    for corpus, found in counts.items():
        print(f"manifest: {corpus}: {found['n_fit']} of {found['n_files']} recordings are fit for use")
        unfit = table[(table["corpus"] == corpus) & (table["problem"] != "")]
        for row in unfit.head(N_NAMED).itertuples():
            print(f"  left out: {row.path}: {row.problem}")
        if len(unfit) > N_NAMED:
            print(f"  ... and {len(unfit) - N_NAMED} more, in {MANIFEST}, column `problem`")
        if not found["n_fit"]:
            raise InputError(f"{RAW / corpus}: not one recording is fit for use; {MANIFEST} says why.")


if __name__ == "__main__":
    run(main)
