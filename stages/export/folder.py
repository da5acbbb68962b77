"""Writes a bundle: the folder with everything that `inference.bundle.load` needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.base.params import Params
from stages.base.workspace import alone
from stages.data import keys
from stages.export import card, graph, onnx
from stages.inference import facts as facts_file
from stages.inference import workspace
from stages.inference.facts import Facts
from stages.learning import trained_fold
from stages.learning.normalization import SPEAKER_MEANS
from stages.learning.trained_fold import TrainedFold
from stages.learning.windows import POOLING, PREPROCESSOR


def write(params: Params, out: Path) -> Facts:
    """Writes the workspace's trained model as a bundle and returns its facts.

    It is written beside `out` and then moved there, so a bundle that is already there is replaced as a whole,
    and kept if anything fails.

    Args:
        out: a folder that is new, empty or a bundle, which is replaced.

    Raises:
        InputError: see `trained_fold.trained`; `out` contains other files or cannot be moved; another
            process is writing it; or a file of a feature is missing or is not that of the checksum.
        OSError: the disk is full, or a folder cannot be written.
    """
    _check_replaceable(out)
    target = out.resolve()
    place = target.with_name(f".{target.name}.unfinished")
    with alone(place):
        unfinished, old = place / "bundle", place / "old"
        _restore(old, target)  # of a run that was killed, as all that is in `place`
        for left in (unfinished, old):
            shutil.rmtree(left, ignore_errors=True)
        try:
            _check_movable(out, target, old)
            trained = trained_fold.trained(params)
            facts = workspace.facts(params, trained)
            for name, block in facts.features.items():
                _check_files(name, block)
            facts = _write(trained, facts, unfinished)
            _check_replaceable(out)  # again: writing took a while
            if target.exists():
                target.rename(old)
            unfinished.rename(target)
        finally:
            _restore(old, target)
            shutil.rmtree(place, ignore_errors=True)
    return facts


def _restore(old: Path, target: Path) -> None:
    """Moves the earlier bundle back to `target` if nothing has taken its place."""
    if old.exists() and not target.exists():
        old.rename(target)


def _check_movable(out: Path, target: Path, old: Path) -> None:
    """Raises InputError if `target` cannot be moved to `old`, which a mounted folder cannot."""
    if target.exists():
        try:
            target.rename(old)
            old.rename(target)
        except OSError as error:
            raise InputError(
                f"{out}: cannot be moved ({error.strerror}), so it cannot be replaced as a whole. Choose "
                "another folder, in a mounted one a new folder."
            ) from error


def _check_replaceable(out: Path) -> None:
    """Raises InputError if replacing `out` would delete what is not of a bundle."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    names = facts_file.listed(out)
    if names is None:
        raise InputError(f"{out}: exists and is not a bundle. Choose another folder, or delete it.")
    if foreign := facts_file.unlisted(out, names):
        raise InputError(
            f"{foreign}: not a file of the bundle {out}, and would be deleted with it. Move it, or choose "
            "another folder."
        )


def _write(trained: Sequence[TrainedFold], facts: Facts, out: Path) -> Facts:
    """Writes a bundle into the new folder `out`, bundle.json last, and returns what that says."""
    of_folds = []
    for fold, of_fold in zip(trained, facts.folds, strict=True):
        shape, folder = fold.preparation.preprocessor.shape, out / of_fold.folder
        lengths = graph.padded_lengths(fold)
        inputs = (None, None if lengths else shape[0], *shape[1:])
        onnx.convert(graph.probabilities(fold), inputs, folder / facts_file.PROBABILITIES)
        for name in (PREPROCESSOR, POOLING, SPEAKER_MEANS):
            if (fold.folder / name).is_file():
                shutil.copyfile(fold.folder / name, folder / name)
        of_folds.append(of_fold.model_copy(update={"padded": lengths}))
    features = {name: _with_files(name, block, out) for name, block in facts.features.items()}
    facts = facts.model_copy(update={"folds": of_folds, "features": features})
    (out / card.FILE).write_text(card.text(facts), encoding="utf-8")
    files = sorted(path for path in out.rglob("*") if path.is_file())
    sums = {path.relative_to(out).as_posix(): keys.sha256(path) for path in files}
    facts = facts.model_copy(update={"sha256": sums})
    facts_file.write(facts, out)
    return facts


def _check_files(feature: str, block: dict[str, Any]) -> None:
    """Raises InputError if a file that the feature needs is missing or is not that of its checksum."""
    if key := facts_file.file_key(feature):
        place, names = f"params.features.{feature}", facts_file.file_names(feature)
        keys.check_weights(Path(block[key]), block["sha256"], place, key, names)


def _with_files(feature: str, block: dict[str, Any], out: Path) -> dict[str, Any]:
    """Returns a feature's block that names its file or folder within the bundle, after copying it there."""
    if (key := facts_file.file_key(feature)) is None:
        return block
    target = Path("features", feature, Path(block[key]).name)
    for name in facts_file.file_names(feature):
        copy = out / target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(block[key], name), copy)
    return block | {key: target.as_posix()}
