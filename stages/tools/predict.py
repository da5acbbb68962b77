"""Predict the emotion of recordings: `ser predict clip.wav folder 'calls/*.mp3' -`.

Takes files, folders, patterns, and `-` for a recording on the standard input, of any length. A recording
longer than the training clips is cut into overlapping windows, which `--timeline` shows. Each row has a
status: `answered`, `unsure` (such confidence was too often wrong on validation clips), `warned` (unlike the
training data), `abstained` (no usable speech) or `failed` (not a recording; exit code 1). See
docs/use_the_model.md.
"""

from __future__ import annotations

import argparse
import csv
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from tqdm import tqdm

from stages.acquire.source_file import is_hidden
from stages.audio.recording import SUFFIXES
from stages.base.errors import (
    InputError,
    count,
    encode_output,
    first_of,
    interrupted_as,
    parser_of,
    run,
    shown,
    standard_input,
)
from stages.base.files import write as write_file
from stages.data import keys
from stages.inference import chosen, output
from stages.inference.bundle import OF_SPEAKER, Bundle

STDIN = "-"
N_NAMED = 5  # files that an error or notice lists
INTERRUPTED = (
    "interrupted: the same command begins again; with --output FILE it keeps finished files and continues"
)


def main() -> None:
    arguments = parse()
    kind = format_of(arguments.format, arguments.output)
    reported = nullcontext() if arguments.output else interrupted_as(INTERRUPTED)
    with reported, tempfile.TemporaryDirectory() as folder:
        recordings = found(arguments.files, Path(folder))
        of_speaker = found(arguments.speaker_from, Path(folder))
        model = chosen.model(arguments.bundle, arguments.speech)
        print(f"notice: {model.facts.notice()}", file=sys.stderr)
        others = statistics_of(model.facts.train.normalize, of_speaker, recordings)
        model = adapted(model, others) if others else model
        sums = [output.checksum(path) for _, path in others]
        settings = [arguments.speech, arguments.timeline, *sums]
        settings += [arguments.top] if kind != "csv" else []  # a csv file has all emotions
        name = keys.fingerprint(model.facts.model_dump(), *settings)
        form = output.FORMATS[kind](model.classes, arguments.top, arguments.timeline, name)
        with target(arguments.output, kind, form, recordings) as (file, done):
            n_failed = done.n_failed + write(file, model, recordings[done.n_done :], form)
    if n_failed:
        sys.exit(1)


def parse() -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = parser_of(__doc__)
    parser.add_argument("files", nargs="+", help="files, folders, patterns, or - for the standard input")
    chosen.add_arguments(parser)
    parser.add_argument(
        "--format",
        choices=output.FORMATS,
        help="default: as the suffix of --output; table on a terminal; else csv",
    )
    parser.add_argument("--timeline", action="store_true", help="also show each window of a long recording")
    parser.add_argument(
        "--top", type=count, default=3, help="emotions shown in table and json; default: %(default)s"
    )
    parser.add_argument(
        "--speaker-from",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="other recordings of the speaker, for a model trained with train.normalize enrol or speaker",
    )
    parser.add_argument(
        "--output", type=Path, help="a csv or jsonl file; if interrupted, the same command continues it"
    )
    return parser.parse_args()


def format_of(given: str | None, path: Path | None) -> str:
    """Returns the format to write: the given one, else that of the output's suffix, else the default.

    Args:
        given: of --format.
        path: of --output.

    Raises:
        InputError: an output of the format cannot be continued; the suffix is that of another format, or of
            none and no format is given.

    >>> format_of(None, Path("a.jsonl")), format_of("jsonl", Path("a")), format_of(None, Path("a"))
    ('jsonl', 'jsonl', 'csv')
    """
    if path is None:
        return given or ("table" if sys.stdout.isatty() else "csv")
    suffix, choices = path.suffix[1:].lower(), " or ".join(output.RESUMABLE)
    kind = given or (suffix if suffix in output.FORMATS else "csv")
    if kind not in output.RESUMABLE:
        raise InputError(f"--output: '{kind}' cannot be continued. Choose {choices}.")
    if suffix not in ("", kind) and (given is None or suffix in output.FORMATS):
        raise InputError(
            f"--output: {shown(str(path))} does not have the suffix of the format '{kind}'. Choose {choices} "
            "for both, or a name without suffix."
        )
    return kind


def found(names: list[str], folder: Path) -> list[tuple[str, Path]]:
    """Returns the recordings' names and paths, folders and patterns resolved, sorted within each.

    Args:
        folder: where a recording on the standard input is stored.

    Raises:
        InputError: a file is missing, a pattern or folder has no recording, before anything is loaded.
    """
    recordings: list[tuple[str, Path]] = []
    missing = []
    for name in names:
        if name == STDIN:
            recordings.append((name, stored(folder)))
            continue
        matched = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute ones)
        inside = [in_folder(Path(each)) if Path(each).is_dir() else [each] for each in matched]
        paths = dict.fromkeys(path for each in inside for path in each)  # `**` matches a folder and its files
        recordings += [(path, Path(path)) for path in paths]
        missing += [] if paths else [name]
    # A name that is not UTF-8 cannot be written as it is.
    recordings = [(os.fsencode(name).decode(errors="backslashreplace"), path) for name, path in recordings]
    if missing:
        raise InputError(f"{first_of(missing)}: no such file, or no recording there. Nothing was predicted.")
    return recordings


def in_folder(folder: Path) -> list[str]:
    """Returns the recordings in a folder and below, without hidden ones, and says what else is there.

    Broken links and named pipes that are audio by name are among them: they fail as if named directly.

    Raises:
        OSError: a folder cannot be read.
    """
    files, folders = [], []
    for parent, inside, names in os.walk(folder, onerror=_raise):
        folders += [Path(parent, name) for name in inside]
        files += [Path(parent, name) for name in names]
    files.sort()
    audio = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(audio) < len(files):
        print(f"notice: {folder}: {len(files) - len(audio)} files are not audio by name", file=sys.stderr)
    if hidden := [path for path in audio if is_hidden(path.relative_to(folder))]:
        print(
            f"notice: {folder}: hidden files are skipped, name them to predict them: "
            f"{first_of(map(str, hidden))}",
            file=sys.stderr,
        )
    if linked := sorted(str(path) for path in folders if path.is_symlink()):
        print(
            f"notice: {folder}: linked folders are not followed, name them to predict what they have: "
            f"{first_of(linked)}",
            file=sys.stderr,
        )
    return [str(path) for path in audio if not is_hidden(path.relative_to(folder))]


def _raise(error: OSError) -> None:
    raise error


def stored(folder: Path) -> Path:
    """Returns the path of the standard input's copy: formats need to be read back and forth."""
    path = folder / "stdin"
    if not path.exists():  # `-` may be given twice, but can be read once
        source = standard_input("predict -")
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
    return path


def statistics_of(
    normalize: str, of_speaker: list[tuple[str, Path]], recordings: list[tuple[str, Path]]
) -> list[tuple[str, Path]]:
    """Returns the recordings whose statistics the model needs: the speaker's, the batch itself, or none.

    Args:
        normalize: `params.train.normalize` that the model was trained with.
        of_speaker: of --speaker-from.
        recordings: to predict.

    Raises:
        InputError: --speaker-from is missing, or the model does not use it.
    """
    if (normalize in OF_SPEAKER) != bool(of_speaker):
        use = "Give other recordings of the speaker with it." if not of_speaker else "Leave it out."
        raise InputError(f"--speaker-from: the model was trained with train.normalize '{normalize}'. {use}")
    return of_speaker or (recordings if normalize != "global" else [])


def adapted(model: Bundle, others: list[tuple[str, Path]]) -> Bundle:
    """Returns the model with the statistics of the recordings, and says how many could be used."""
    made = model.adapted(path for _, path in others)
    n_left_out = len(made.left_out)
    print(f"notice: statistics of {len(others) - n_left_out} recordings of {len(others)}", file=sys.stderr)
    for reason in made.left_out[:N_NAMED]:
        print(f"notice: not in the statistics: {reason}", file=sys.stderr)
    return made


@contextmanager
def target(
    path: Path | None, kind: str, chosen: output.Format, recordings: list[tuple[str, Path]]
) -> Iterator[tuple[IO[str], output.Finished]]:
    """Yields the file to write to, and what it already has of the recordings.

    Args:
        recordings: to predict.

    Raises:
        InputError: the file was not written by this command.
    """
    if path is None:
        if kind != "table":  # for programs: the same bytes as with --output
            encode_output("utf-8")
        sys.stdout.write(chosen.begin)
        yield sys.stdout, output.Finished(chosen.begin)
        sys.stdout.write(chosen.end)
        return
    done = output.Finished(chosen.begin)
    if path.exists() and path.stat().st_size:
        try:
            # Not read_text, which changes the line breaks that a name may have.
            done = output.finished(path.read_bytes().decode(), chosen, recordings)
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            reason = "other columns" if isinstance(error, LookupError | TypeError) else error
            raise InputError(
                f"{path}: not the unfinished output of this command ({reason}). "
                "Choose another --output, or delete this one."
            ) from error
        again = f"; {shown(done.changed)} has changed since, so it and what follows are predicted again"
        print(
            f"notice: {path} has {done.n_done} files already{again if done.changed else ''}; continuing",
            file=sys.stderr,
        )
    write_file(done.text, path)
    with path.open("a", encoding="utf-8") as file:
        yield file, done


def write(file: IO[str], model: Bundle, recordings: list[tuple[str, Path]], chosen: output.Format) -> int:
    """Writes the prediction of each recording, each file's at once, and returns how many failed."""
    sums = []

    def hashed() -> Iterator[Path]:
        for _, path in recordings:
            # Before it is loaded: a file that is replaced in between is predicted again the next time.
            sums.append(output.checksum(path))
            yield path

    n_failed = 0
    predictions = model.predict_files(hashed())
    bar = tqdm(zip(recordings, predictions, strict=True), total=len(recordings), unit="file", disable=None)
    for number, ((name, _), prediction) in enumerate(bar):
        file.write((chosen.between if number else "") + chosen.text(name, prediction, sums[number]))
        file.flush()
        n_failed += prediction.status == "failed"
    return n_failed


if __name__ == "__main__":
    run(main)
