"""The comparison of two revisions' predictions, clip by clip."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.errors import InputError, first_of, one_line, shown
from stages.base.files import PREDICTIONS, SOURCES
from stages.base.params import CHOSEN_BY, Params
from stages.data import keys, tables
from stages.evaluation import metrics, paired

WORKSPACE = "workspace"
LOCK = "dvc.lock"
CHOICES = "Give a branch, a tag, a commit or an experiment."
# The stages that determine predictions. `select` is none: it has `predict` and `report` among its parameters.
DETERMINING = ("ingest", "manifest", "split", "augment", "featurize", "train", "evaluate")
OF_CLIPS = ("corpus", "seed", "split", "train.fold")  # the parameters that say where a clip is tested


@dataclass(frozen=True)
class Revision:
    """The predictions of one revision and the parameters they were made with.

    Attributes:
        name: as messages show it.
        predictions: of schema PREDICTIONS.
        params: of the evaluate stage, by dotted key.
    """

    name: str
    predictions: pd.DataFrame
    params: dict[str, Any]

    @property
    def n_seeds(self) -> int:
        """The number of seeds that every fold was trained with."""
        return int(self.predictions["seed"].nunique())


@dataclass(frozen=True)
class Comparison:
    """Two revisions on the same clips.

    Attributes:
        metrics: by name, as `paired.differences` returns them.
        emotions, speakers: changes by emotion and by speaker, as `paired.flips` returns them.
    """

    a: Revision
    b: Revision
    n_clips: int
    n_speakers: int
    n_folds: int
    metrics: dict[str, paired.Difference]
    mcnemar_p_value: float
    emotions: pd.DataFrame
    speakers: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Returns all numbers unrounded, ready for JSON."""
        return {
            **{
                side: {"revision": each.name, "n_seeds": each.n_seeds, "params": each.params}
                for side, each in (("a", self.a), ("b", self.b))
            },
            "n_clips": self.n_clips,
            "n_speakers": self.n_speakers,
            "n_folds": self.n_folds,
            "metrics": {name: asdict(difference) for name, difference in self.metrics.items()},
            "mcnemar_p_value": self.mcnemar_p_value,
            "emotions": self.emotions.to_dict(orient="records"),
            "speakers": self.speakers.to_dict(orient="records"),
        }


def of_revisions(a: str, b: str, params: Params) -> Comparison:
    """Returns the comparison of two revisions, each a Git revision, a DVC experiment or WORKSPACE.

    Raises:
        InputError: a revision's predictions cannot be read, or the two cannot be compared.
    """
    return compare(read(a), read(b), params.evaluate.n_resamples, params.seed)


def read(revision: str) -> Revision:
    """Returns a revision's predictions, from the workspace, DVC's cache or its default remote.

    Raises:
        InputError: the revision does not exist, or its predictions are missing, out of reach, damaged or of
            other parameters than its own.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError

    if not revision:
        raise InputError("a revision is empty. Give a Git revision or an experiment, or leave it out.")
    try:
        # Not DVCFileSystem(rev=revision): it begins at Git's root, and the project may be a subfolder.
        with Repo() as repo, repo.switch(_commit(repo, revision)):
            files = repo.dvcfs.fs
            stage = stages_of_lock(revision, files.read_text(LOCK))["evaluate"]
            predictions = _read_predictions(revision, files)
            if revision == WORKSPACE:
                _check_recorded(stage)
                _check_unchanged(repo)
            else:
                _check_parameters(revision, repo)
    except (FileNotFoundError, KeyError) as error:
        raise InputError(
            f"{revision}: has no predictions, because its {LOCK} has no stage `evaluate`. Run `dvc repro` "
            f"there and commit {LOCK}."
        ) from error
    except RevError as error:
        raise InputError(f"{revision}: {error}. {CHOICES}") from error
    except DvcException as error:
        raise InputError(f"{revision}: {error}.") from error
    if predictions.empty:
        raise InputError(f"{revision}: {PREDICTIONS} is empty. Run `dvc repro -sf evaluate`.")
    return Revision(revision, predictions, keys.leaves(stage.get("params", {}).get("params.yaml", {})))


def stages_of_lock(place: str, lock: str) -> dict[str, Any]:
    """Returns the stages of a dvc.lock.

    Args:
        place: what it is of, for the error.

    Raises:
        InputError: it is not one: it may have conflicts of a merge.
    """
    try:
        return dict(YAML(typ="safe", pure=True).load(lock).get("stages", {}))
    except (YAMLError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{place}: {LOCK} is not as DVC writes it ({one_line(error)}). If a merge left conflicts in "
            f"it, run `git checkout --ours {LOCK}` and `dvc repro`, and commit it."
        ) from error


def _commit(repo: Any, revision: str) -> str:
    """Returns the Git commit of a revision; a DVC experiment's name or WORKSPACE as it is.

    DVC itself takes HEAD to be the commit that a running experiment started from, also of an experiment in
    another worktree, or of one that was killed long ago.

    Raises:
        InputError: it is a file or folder of a commit.
    """
    from scmrepo.exceptions import RevError

    if revision == WORKSPACE:  # not a branch of that name
        return revision
    try:
        found = str(repo.scm.resolve_rev(revision))
    except RevError:
        return revision
    try:
        return str(repo.scm.resolve_rev(f"{found}^{{commit}}"))  # an annotated tag has its commit
    except RevError as error:
        raise InputError(f"{revision}: not a commit, but a file or folder of one. {CHOICES}") from error


def _check_recorded(stage: dict[str, Any]) -> None:
    """Checks that the workspace's predictions are those of dvc.lock, whose parameters are shown with them.

    Raises:
        InputError: they are not.
    """
    recorded = {out["path"]: out.get("md5") for out in stage.get("outs", [])}
    if not PREDICTIONS.is_file():
        raise InputError(f"{WORKSPACE}: {PREDICTIONS} is missing. {_remedy(WORKSPACE)}")
    if recorded.get(PREDICTIONS.as_posix()) != hashlib.md5(PREDICTIONS.read_bytes()).hexdigest():  # noqa: S324
        raise InputError(
            f"{WORKSPACE}: {PREDICTIONS} is not the one that {LOCK} records. {_remedy(WORKSPACE)}"
        )


def _check_unchanged(repo: Any) -> None:
    """Checks that the workspace's predictions are of its present parameters, code and data.

    What is missing is no change: a colleague may have pulled the predictions alone.

    Raises:
        InputError: names the first that has changed, and its stage.
    """
    # A clone has the folder, but only with the files of Git, so to DVC it is changed and not missing.
    without_sources = {each.name for each in SOURCES.glob("*")} <= {"README.md", ".gitignore"}
    for stage, changes in repo.status(targets=["evaluate"], with_deps=True).items():
        changed = [each["changed deps"] for each in changes if "changed deps" in each]
        for path, state in [item for each in changed for item in each.items()]:
            if state != "deleted" and not (path == SOURCES.as_posix() and without_sources):
                key = f", {next(iter(state))}" if isinstance(state, dict) else ""  # of params.yaml
                raise InputError(
                    f"{WORKSPACE}: {path}{key} has changed since `{stage}` ran, so {PREDICTIONS} is of "
                    "another version. Run `dvc repro`."
                )


def _check_parameters(revision: str, repo: Any) -> None:
    """Checks that a revision's predictions are of the parameters in its params.yaml.

    Blocks of entries that are not chosen, such as corpora, are not compared: they determine nothing.

    Args:
        repo: DVC's, open at the revision.

    Raises:
        InputError: names the first parameter that differs from what dvc.lock records, and its stage.
    """
    stages = {stage.name: stage for stage in repo.stage.load_all("dvc.yaml")}
    parameters = {name: _parameters(stages[name]) for name in DETERMINING if name in stages}
    present = {key: own for now, _ in parameters.values() for key, own in now.items()}
    for stage, (now, then) in parameters.items():
        for key in {**now, **then}:
            if (key in now) == (key in then) and now.get(key) == then.get(key):
                continue
            if _is_chosen(key, present):
                present_value, recorded = (
                    shown(values[key]) if key in values else "nothing" for values in (now, then)
                )
                raise InputError(
                    f"{revision}: params.{key} is {present_value}, but its {LOCK} records {recorded} for "
                    f"`{stage}`, so its {PREDICTIONS} is of another version. Run `dvc repro` there and "
                    f"commit {LOCK}, or compare another revision."
                )


def _parameters(stage: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a DVC stage's parameters by dotted key: as in params.yaml, and as dvc.lock records them."""
    from dvc.dependency import ParamsDependency

    found = [each for each in stage.deps if isinstance(each, ParamsDependency)]
    now = {key: own for each in found for key, own in each.read_params().items()}
    then = {key: own for each in found for key, own in (each.hash_info.value or {}).items()}
    return keys.leaves(now), keys.leaves(then)


def _is_chosen(key: str, present: dict[str, Any]) -> bool:
    """Returns whether a parameter is of no corpus, augmentation or feature, or of a chosen one.

    Args:
        present: the parameters by dotted key, among them those that choose.

    Examples:
        >>> [_is_chosen(key, {"corpus": ["demo"]}) for key in ("seed", "corpora.demo.url", "corpora.mine")]
        [True, True, False]
    """
    kind, name = [*key.split("."), ""][:2]
    chosen = present.get(CHOSEN_BY.get(kind, "").removeprefix("params."))
    return name in chosen if isinstance(chosen, list) else True


def _read_predictions(revision: str, files: Any) -> pd.DataFrame:
    """Returns the predictions in a DVC file system, which is open at the revision."""
    from dvc.exceptions import DvcException

    try:
        files.open(str(PREDICTIONS)).close()
        return tables.read(PREDICTIONS, tables.PREDICTIONS, filesystem=files)
    except FileNotFoundError as error:
        raise InputError(f"{revision}: {PREDICTIONS} is not in the cache. {_remedy(revision)}") from error
    except (DvcException, InputError) as error:
        raise InputError(f"{revision}: {error}") from error


def _remedy(revision: str) -> str:
    """Returns how to get a revision's predictions."""
    if revision == WORKSPACE:
        return f"Run `dvc checkout`, `dvc pull {PREDICTIONS}` or `dvc repro`."
    return (
        f"Run `dvc fetch --all-commits {PREDICTIONS}` to get it from a remote, or "
        f"`make base BASE={revision}` to reproduce it under the tag `base`, and compare with `base`."
    )


def compare(a: Revision, b: Revision, n_resamples: int, seed: int) -> Comparison:
    """Returns the comparison of two revisions' predictions.

    Raises:
        InputError: they cannot be compared: see `match` and `paired.differences`.
    """
    first, second = match(a, b)
    return Comparison(
        a=a,
        b=b,
        n_clips=first["clip"].nunique(),
        n_speakers=first["speaker"].nunique(),
        n_folds=first["fold"].nunique(),
        metrics=paired.differences(first, second, n_resamples, seed),
        mcnemar_p_value=paired.mcnemar(first, second),
        emotions=paired.flips(first, second, "label"),
        speakers=paired.flips(first, second, "speaker"),
    )


def match(a: Revision, b: Revision) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns both revisions' predictions, sorted by fold, clip and seed: the same clips in the same folds.

    Raises:
        InputError: they differ in protocol, labels, clips or folds, so their scores are not comparable.
    """
    protocol_a, protocol_b = (revision.params.get("split.protocol") for revision in (a, b))
    if protocol_a != protocol_b:
        raise InputError(
            f"{a.name} was split by {protocol_a} and {b.name} by {protocol_b}, so their scores are not "
            "comparable. Give both the same params.split.protocol."
        )
    classes_a, classes_b = (set(metrics.class_names(revision.predictions)) for revision in (a, b))
    if classes_a != classes_b:
        raise InputError(
            f"{a.name} and {b.name} do not have the same labels: only one of them has "
            f"{', '.join(sorted(classes_a ^ classes_b))}. Give both the same params.split.labels."
        )
    for what, columns in {
        "clips": ["clip"],
        "recordings": ["clip", "audio_sha256"],
        "folds": ["fold", "clip"],
        "labels": ["clip", "label"],
        "speakers": ["clip", "speaker"],
    }.items():
        keys_a, keys_b = (set(revision.predictions[columns].itertuples(index=False)) for revision in (a, b))
        if keys_a != keys_b:
            example = min(keys_a ^ keys_b)
            raise InputError(
                f"{a.name} and {b.name} were not tested on the same {what}: of {len(keys_a)} and "
                f"{len(keys_b)} clips, {len(keys_a & keys_b)} agree; {example.clip}, for example, does not. "
                f"{_same_clips(a, b)}"
            )
    first, second = (
        revision.predictions.sort_values([*paired.CLIP, "seed"], ignore_index=True) for revision in (a, b)
    )
    return first, second


def _same_clips(a: Revision, b: Revision) -> str:
    """Returns how to test two revisions on the same clips: by the parameters that differ, or by the data."""
    differ = [
        f"params.{key}"
        for key in sorted({*a.params, *b.params})
        if f"{key}.".startswith(tuple(f"{name}." for name in OF_CLIPS))
        and a.params.get(key) != b.params.get(key)
    ]
    if differ:
        return f"Give both the same {first_of(differ)}."
    again = (
        f"`make base BASE={a.name}`, which reproduces it with the present recordings, and compare with `base`"
        if b.name == WORKSPACE
        else "`dvc exp run --name NAME` on the same recordings with the other parameters of each, and "
        "compare these two experiments"
    )
    return (
        f"Both have the same {', '.join(f'params.{name}' for name in OF_CLIPS)}, so the recordings, their "
        f"labels, params.corpora or params.manifest have changed in between. Run {again}."
    )


def check_not_worse(uar: paired.Difference, margin: float) -> None:
    """Checks that the interval of the difference is not entirely below -margin.

    A lower score alone is not enough to fail: it may be due to chance.

    Raises:
        InputError: UAR is worse.
    """
    if uar.high < -margin:
        raise InputError(
            f"UAR is worse by more than {margin:g}: {uar.difference:+.3f} [{uar.low:+.3f}, {uar.high:+.3f}]."
        )
