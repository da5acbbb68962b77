"""Split protocols: which clips train, validate and test in each fold.

A protocol is a function of the clips, the `split` block and the seed that yields, for each fold, the role of
every clip; "" leaves the clip out of the fold. All protocols but `random` keep test speakers out of training.
Random choices depend on the seed and the name of what is chosen, not on the order of the clips.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.base.errors import InputError, first_of, listed, unknown
from stages.base.params import Params, Split
from stages.data.keys import fingerprint, leaves
from stages.data.splits import Roles, Splits
from stages.data.tables import SPLITS

Protocol = Callable[[pd.DataFrame, Split, int], Iterator[Roles]]

# The columns of the manifest on which splits and scores depend; see `determining`.
DETERMINING = [
    *("clip", "corpus", "speaker", "sex", "sentence", "emotion", "channel", "session", "group", "partition"),
    *("listeners", "sha256", "audio_sha256", "problem"),
]

# Columns that tell one recording from another, or what is wrong with it: not what a group has in common.
OF_ONE_RECORDING = {"path", "clip", "n_bytes", "sha256", "audio_sha256", "problem", "notices"}

FROM_TABLE = ("partition", "session", "group")  # columns that a table has under a name of its own

logger = logging.getLogger(__name__)


def assign(clips: pd.DataFrame, split: Split, seed: int) -> Splits:
    """Returns the role of each clip in each fold, sorted by clip.

    Clips of `split.train_only` join the training clips of each fold, if the fold has their label and their
    speaker neither tests nor validates.

    Args:
        clips: columns clip, corpus, speaker, sex, sentence, label, sha256, audio_sha256, and for some
            protocols session, group or partition, for `train_only` channel; clip is unique. Sex and sentence
            may be unknown: null.

    Of more than `split.train_clips` training clips of a fold, the others are left out of it.

    Raises:
        InputError: the protocol is not possible with these clips, or a fold has no test clip or no training
            clip of a label.
    """
    clips = clips.sort_values("clip", ignore_index=True)
    extra = _train_only(clips, split)
    tested = clips[~extra].reset_index(drop=True)

    def folds() -> Iterator[Roles]:
        for own in PROTOCOLS[split.protocol](tested, split, seed):
            roles = np.full(len(clips), "", object)
            roles[~extra] = own
            if extra.any():
                held_out = tested.loc[np.isin(own, ["validation", "test"]), "speaker"]
                used = clips["label"].isin(tested.loc[own != "", "label"]) & ~clips["speaker"].isin(held_out)
                roles[extra & used] = "train"
            if split.train_clips is not None:
                roles[_left_out(clips[roles == "train"], split.train_clips, seed)] = ""
            yield roles

    splits = Splits.of(clips[[name for name in SPLITS.columns if name != "roles"]], folds())
    _check_classes(splits)
    _say_what_no_fold_tests(clips[extra], tested)
    return splits


def _say_what_no_fold_tests(extra: pd.DataFrame, tested: pd.DataFrame) -> None:
    """Logs how many clips of `train_only` no fold trains on, because their labels are not tested.

    Raises:
        InputError: they are all that a corpus has.
    """
    unused = extra[~extra["label"].isin(tested["label"])]
    for corpus, own in unused.groupby("corpus", observed=True):
        n_clips, untested = int((extra["corpus"] == corpus).sum()), listed(sorted(set(own["label"])))
        if len(own) == n_clips:
            labels = listed(sorted(set(tested["label"])))
            raise InputError(
                f"params.split.train_only: the labels of {corpus} there, {untested}, are not tested, so no "
                f"fold trains on those clips. Those tested are {labels}: map one to the other by "
                "params.split.labels.merge, or take the corpus out."
            )
        logger.warning(
            "params.split.train_only: %d of the %d clips of %s train in no fold, because no clip with their "
            "labels is tested: %s", len(own), n_clips, corpus, untested,
        )  # fmt: skip


def made_with(params: Params) -> dict[str, Any]:
    """Returns the settings that determine the splits, by key of params.yaml, to be stored with them."""
    split = params.split.model_dump(exclude={"lists", "label_maps"})
    if params.split.protocol == "fixed":
        split["lists"] = {params.split.fixed_list: params.split.lists.get(params.split.fixed_list)}
    return leaves({"seed": params.seed, "corpus": params.corpus, "split": split})


def determining(split: Split) -> list[str]:
    """Returns the columns of the manifest on which splits and scores depend."""
    return list(dict.fromkeys([*DETERMINING, split.group_by])) if split.protocol == "group" else DETERMINING


def made_from(manifest: pd.DataFrame, params: Params) -> str:
    """Returns the fingerprint of what determines the splits of a manifest, to be stored with them.

    Args:
        manifest: of schema MANIFEST, or its columns `determining`.
    """
    usable = (manifest["problem"] == "") & manifest["corpus"].isin(params.corpus)
    chosen = usable & manifest["channel"].isin(params.split.channels)
    own = manifest.loc[chosen, determining(params.split)]
    return fingerprint(own.sort_values("clip").to_csv(index=False))


def speaker_independent(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields `n_folds` folds of speakers, balanced by sex and number of clips.

    The next fold's speakers validate. Every clip is tested once. With fewer speakers than folds, the folds
    are those of `leave_one_speaker_out`, which is logged.

    Raises:
        InputError: fewer than 3 folds, or only one speaker.

    >>> clips = pd.DataFrame({"clip": list("abcd"), "speaker": ["1", "1", "2", "3"], "sex": "female"})
    >>> split = Split.model_construct(protocol="speaker_independent", n_folds=3)
    >>> for roles in speaker_independent(clips, split, seed=20):
    ...     print(*roles)
    test test validation train
    train train test validation
    validation validation train test
    """
    n_speakers = clips["speaker"].nunique()
    _need_two_speakers(clips, split)
    if n_speakers < split.n_folds:
        logger.warning(
            "params.split.n_folds: %d folds need %d speakers, and there are %d: using leave_one_speaker_out",
            split.n_folds, split.n_folds, n_speakers,
        )  # fmt: skip
        yield from leave_one_speaker_out(clips, split, seed)
        return
    if split.n_folds < 3:
        raise InputError(
            f"params.split.n_folds: {split.n_folds} is too few for {split.protocol}, which needs speakers to "
            "test, to validate and to train. Set 3 or more, or choose protocol leave_one_speaker_out."
        )
    groups = _balanced_groups(clips, "speaker", "sex", split.n_folds, seed)
    yield from _rotated(clips, groups, n_validation=1)


def _need_two_speakers(clips: pd.DataFrame, split: Split) -> None:
    speakers = clips["speaker"].unique()
    if len(speakers) < 2:
        raise InputError(
            f"params.split.protocol {split.protocol}: needs two speakers, but there is only {speakers[0]}. "
            "Add recordings of others, or choose random, which tests on the speaker that it trains on."
        )


def leave_one_speaker_out(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields a fold per speaker; `validation_fraction` of the other speakers, at least one, validate.

    Every clip is tested once. With only two speakers (TESS), `validation_fraction` of the training speaker's
    sentences validate instead. The test speaker is still not in the training data, but validation, on a
    training speaker, is easier than test.

    Raises:
        InputError: there is only one speaker, or of two speakers one has a single sentence.

    >>> clips = pd.DataFrame({"corpus": "c", "clip": list("abc"), "speaker": list("123"), "sex": "female"})
    >>> split = Split.model_construct(protocol="leave_one_speaker_out", validation_fraction=0.5)
    >>> for roles in leave_one_speaker_out(clips, split, seed=20):
    ...     print(*roles)
    validation test train
    test train validation
    train validation test
    """
    _need_two_speakers(clips, split)
    speakers = _interleaved(clips, seed)
    n_validation = _n_validation(len(speakers) - 1, split.validation_fraction)
    if len(speakers) > 2 or not n_validation:
        yield from _rotated(clips, [[speaker] for speaker in speakers], n_validation)
        return
    for speaker in speakers:
        test = clips["speaker"] == speaker
        spoken = clips["sentence"].fillna(clips["clip"])  # an unknown sentence counts as one of its own
        sentences = _shuffled(spoken[~test], seed)
        if len(sentences) < 2:
            raise InputError(
                f"params.split.protocol {split.protocol}: with two speakers, the training speaker needs "
                f"two sentences, one to train and one to validate, but has only {sentences[0]}. "
                "Set params.split.validation_fraction: 0 to train without validation."
            )
        held_out = sentences[: _n_validation(len(sentences), split.validation_fraction)]
        yield _roles(test, ~test & spoken.isin(held_out), ~test)


def speaker_and_text_independent(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields `n_folds` folds whose test speakers and test sentences are both absent from training.

    Speakers and sentences are each split into groups. Fold i tests speaker group i on sentence group i
    (modulo the number of sentence groups), validates speaker group i + 1 on sentence group i + 1 and trains
    on the others of both; all other combinations are left out of the fold. So each speaker is tested once, on
    one group of sentences.

    With only two sentences (RAVDESS), train and validation share one; with only two speakers (TESS, with
    `n_folds` 2), they share the speaker. Test shares neither.

    Raises:
        InputError: too few speakers, sentences or folds, or clips whose sentence is not known.
    """
    others = " Choose speaker_independent or leave_one_speaker_out."
    _known(clips, "sentence", split, others)
    n_speakers, n_sentences = clips["speaker"].nunique(), clips["sentence"].nunique()
    if min(n_speakers, n_sentences) < 2 or max(n_speakers, n_sentences) < 3:
        raise InputError(
            f"params.split.protocol {split.protocol}: needs two speakers and two sentences, and three of one "
            f"of them, but there are {n_speakers} speakers and {n_sentences} sentences.{others}"
        )
    fewest_folds = min(n_speakers, 3)
    if split.n_folds < fewest_folds:
        raise InputError(
            f"params.split.n_folds: {split.n_folds} is too few for {split.protocol} with {n_speakers} "
            f"speakers. Set {fewest_folds} or more."
        )
    speakers = _balanced_groups(clips, "speaker", "sex", split.n_folds, seed)
    spoken_as = clips.groupby("sentence")["label"].agg(lambda labels: "+".join(sorted(set(labels))))
    sentences = _balanced_groups(
        clips.assign(spoken_as=clips["sentence"].map(spoken_as)),
        "sentence",
        "spoken_as",
        min(n_sentences, max(3, split.n_folds)),
        seed,
    )
    for fold in range(split.n_folds):
        by_speaker = _masks(clips["speaker"], speakers, fold)
        by_sentence = _masks(clips["sentence"], sentences, fold)
        yield _roles(*(speaker & sentence for speaker, sentence in zip(by_speaker, by_sentence, strict=True)))


def cross_corpus(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields a fold per corpus: it tests, and the models are trained on the other corpora.

    Only labels that every corpus has are kept. `validation_fraction` of the other corpora's speakers, at
    least one, validate.

    Raises:
        InputError: there is only one corpus, the corpora share too few labels, or there are too few speakers.
    """
    corpora = sorted(clips["corpus"].unique())
    if len(corpora) < 2:
        raise InputError(
            f"params.split.protocol {split.protocol}: needs two corpora, but params.corpus has only "
            f"{corpora[0]}."
        )
    labels = set.intersection(*(set(own["label"]) for _, own in clips.groupby("corpus")))
    if len(labels) < 2:
        raise InputError(
            f"params.split.protocol {split.protocol}: needs two labels that all of {', '.join(corpora)} "
            f"have, but they share {', '.join(labels) or 'none'}. Merge labels or choose other corpora."
        )
    if left_out := sorted(set(clips["label"]) - labels):
        logger.warning("labels that not every corpus has are left out: %s", ", ".join(left_out))
    shared = clips["label"].isin(labels)
    for corpus in corpora:
        test = clips["corpus"] == corpus
        train = shared & ~test
        speakers = clips.loc[train, "speaker"].unique()
        if split.validation_fraction and len(speakers) < 2:
            raise InputError(
                f"params.split.protocol {split.protocol}: to test {corpus}, the other corpora need two "
                f"speakers, one to train and one to validate, but have only {speakers[0]}."
            )
        yield _roles(test & shared, _held_out(clips, train, split, seed), train)


def random(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields `n_folds` folds of clips, stratified by label. Test speakers are also in the training data.

    With one fold `test_fraction` of the clips test; with more every clip is tested once.
    `validation_fraction` of the clips that do not test validate.

    Raises:
        InputError: a label has too few clips.

    >>> clips = pd.DataFrame({"clip": list("abcd"), "label": ["anger", "anger", "fear", "fear"]})
    >>> split = Split.model_construct(protocol="random", n_folds=2, validation_fraction=0.0)
    >>> for roles in random(clips, split, seed=20):
    ...     print(*roles)
    test train train test
    train test test train
    """
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, train_test_split

    labels = clips["label"].to_numpy()
    folds = (
        StratifiedShuffleSplit(1, test_size=split.test_fraction, random_state=seed)
        if split.n_folds == 1
        else StratifiedKFold(split.n_folds, shuffle=True, random_state=seed)
    )
    try:
        for rest, test in folds.split(labels, labels):
            roles = np.full(len(clips), "train", dtype=object)
            roles[test] = "test"
            if split.validation_fraction:
                try:
                    _, validation = train_test_split(
                        rest, test_size=split.validation_fraction, stratify=labels[rest], random_state=seed
                    )
                except ValueError as error:
                    raise InputError(
                        f"params.split.validation_fraction: {split.validation_fraction:g} of {len(rest)} "
                        f"clips is too few for {len(set(labels))} labels. Change it, or set it to 0."
                    ) from error
                roles[validation] = "validation"
            yield roles
    except ValueError as error:
        n_clips = clips["label"].value_counts()
        key = "test_fraction" if split.n_folds == 1 else "n_folds"
        raise InputError(
            f"params.split.{key}: {getattr(split, key):g} with protocol {split.protocol} needs more than "
            f"{len(clips)} clips of {len(n_clips)} labels, {n_clips.iloc[-1]} of them of "
            f"{n_clips.index[-1]}. Change it, or add recordings."
        ) from error


def fixed(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields the folds of the list `fixed_list`; `validation_fraction` of the other speakers validate.

    At least one speaker validates, others in each fold, unless the fraction is 0. A list
    must contain every speaker of the corpus once, so every clip is tested once. A listed speaker
    without clips, as in a partial copy, is logged.

    Raises:
        InputError: there is no such list, it has too few folds or speakers, or does not match the
            speakers.
    """
    if split.fixed_list not in split.lists:
        raise unknown("params.split.fixed_list", split.fixed_list, split.lists)
    place = f"params.split.lists.{split.fixed_list}"
    folds = [_names(line) for line in split.lists[split.fixed_list]]
    if len(folds) < 2:
        raise InputError(f"{place}: needs two folds, one to test and one to train.")
    speakers = pd.Series(sorted(clips["speaker"].unique()))
    names = speakers.str.partition("/")[2]
    _check_list(place, pd.Series([name for fold in folds for name in fold]), names)
    by_name = dict(zip(names, speakers, strict=True))
    groups = [[by_name[name] for name in fold if name in by_name] for fold in folds]
    for fold, group in enumerate(groups):
        test = clips["speaker"].isin(group)
        others = _interleaved(clips[~test], seed)
        n_validation = _n_validation(len(others), split.validation_fraction)
        if n_validation >= max(len(others), 1):
            raise InputError(
                f"{place}: fold {fold} has only {', '.join(others) or 'no speaker'} to train and validate. "
                "Set params.split.validation_fraction: 0 to train without validation."
            )
        first = fold * n_validation
        chosen = [others[i % len(others)] for i in range(first, first + n_validation)]
        yield _roles(test, clips["speaker"].isin(chosen), ~test)


def official(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields the folds of the partition that comes with the corpora.

    Where a fold has no validation clips, `validation_fraction` of its training speakers, at least one unless
    it is 0, validate.

    Raises:
        InputError: a clip has no partition, or clips have partitions of different numbers of folds.

    >>> clips = pd.DataFrame({"clip": ["a", "b"], "partition": ["train test", "test train"]})
    >>> split = Split.model_construct(protocol="official", validation_fraction=0.0)
    >>> for roles in official(clips, split, seed=20):
    ...     print(*roles)
    train test
    test train
    """
    _known(clips, "partition", split)
    roles_of = clips["partition"].str.split(" ")
    n_folds = roles_of.map(len)
    if (n_folds != n_folds.iloc[0]).any():
        at_odds = clips.loc[n_folds != n_folds.iloc[0], "clip"].iloc[0]
        raise InputError(
            f"params.split.protocol {split.protocol}: the partition of {clips['clip'].iloc[0]} has "
            f"{n_folds.iloc[0]} folds, but that of {at_odds} has another number."
        )
    for fold in range(n_folds.iloc[0]):
        roles = roles_of.str[fold]
        train = roles == "train"
        validation = roles == "validation"
        if not validation.any():
            validation = _held_out(clips, train, split, seed)
        yield _roles(roles == "test", validation, train)


def session(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields a fold per recording session: it tests; `validation_fraction` of the other speakers validate.

    Raises:
        InputError: a clip has no session, or there is only one.
    """
    _known(clips, "session", split)
    names = sorted(clips["session"].unique())
    if len(names) < 2:
        raise InputError(
            f"params.split.protocol {split.protocol}: needs two sessions, but there is only {names[0]}."
        )
    for name in names:
        test = clips["session"] == name
        yield _roles(test, _held_out(clips, ~test, split, seed), ~test)


def group(clips: pd.DataFrame, split: Split, seed: int) -> Iterator[Roles]:
    """Yields `n_folds` folds of whole values of the column `group_by`, with similar numbers of clips.

    `validation_fraction` of the speakers who do not test validate.

    Raises:
        InputError: there is no such column, a clip has no value, or there are fewer values than folds.
    """
    if split.group_by not in clips.columns:
        choices = [name for name in map(str, clips.columns) if name not in OF_ONE_RECORDING]
        error = unknown("params.split.group_by", split.group_by, choices)
        raise InputError(
            f"{error} For another column of a corpus's table, set group_by: group, and name the column in "
            "params.corpora.<corpus>.columns.group."
        )
    _known(clips, split.group_by, split)
    values = clips.assign(all="")
    values[split.group_by] = clips[split.group_by].astype(str)
    for names in _balanced_groups(values, split.group_by, "all", split.n_folds, seed):
        test = values[split.group_by].isin(names)
        yield _roles(test, _held_out(clips, ~test, split, seed), ~test)


PROTOCOLS: dict[str, Protocol] = {
    protocol.__name__: protocol
    for protocol in (
        speaker_independent,
        leave_one_speaker_out,
        speaker_and_text_independent,
        cross_corpus,
        random,
        fixed,
        official,
        session,
        group,
    )
}


def _train_only(clips: pd.DataFrame, split: Split) -> pd.Series:
    """Returns which clips train only.

    Raises:
        InputError: `split.train_only` names what no clip has, or leaves nothing to test.
    """
    extra = pd.Series(data=False, index=clips.index)
    for key, column, names in (
        ("corpora", "corpus", split.train_only.corpora),
        ("channels", "channel", split.train_only.channels),
    ):
        for name in names:
            found = clips[column] == name
            if not found.any():
                error = unknown(f"params.split.train_only.{key}", name, map(str, clips[column].unique()))
                # Both keys narrow down what another key has chosen.
                chosen_by = {"corpora": "params.corpus", "channels": "params.split.channels"}[key]
                raise InputError(f"{error} What only trains must be in {chosen_by} too.")
            extra |= found
    if extra.all():
        raise InputError("params.split.train_only: has all clips, so none is left to test.")
    return extra


def _known(clips: pd.DataFrame, column: str, split: Split, remedy: str = "") -> None:
    """Raises InputError if a clip has no value in `column`; names the first one."""
    missing = clips.loc[clips[column].isna(), "clip"]
    if len(missing):
        if column in FROM_TABLE:
            corpus = missing.iloc[0].partition("/")[0]
            remedy = (
                f" If {corpus} is described by a table, name the table's column in "
                f"params.corpora.{corpus}.columns.{column}; otherwise choose another protocol."
            )
        raise InputError(
            f"params.split.protocol {split.protocol}: {len(missing)} of {len(clips)} clips have no {column}, "
            f"the first is {missing.iloc[0]}.{remedy}"
        )


def _held_out(clips: pd.DataFrame, train: pd.Series, split: Split, seed: int) -> pd.Series:
    """Returns which training clips validate: those of `validation_fraction` of the training speakers.

    That is at least one speaker, unless the fraction is 0 or there is only one.
    """
    if not split.validation_fraction:
        return pd.Series(data=False, index=clips.index)
    speakers = _interleaved(clips[train], seed)
    n_validation = min(_n_validation(len(speakers), split.validation_fraction), len(speakers) - 1)
    return train & clips["speaker"].isin(speakers[:n_validation])


def _check_list(place: str, listed: pd.Series, names: pd.Series) -> None:
    """Checks that each name of a corpus's speakers is listed once; logs listed names without clips."""
    if not listed.isin(names).any():
        raise InputError(
            f"{place}: has none of the speakers {first_of(names)}, so it is for another corpus. Choose "
            "another params.split.fixed_list."
        )
    faults = {
        "lists twice": listed[listed.duplicated()],
        "cannot distinguish, because two corpora have them,": names[names.duplicated()],
        "does not list": names[~names.isin(listed)],
    }
    for fault, those in faults.items():
        if len(those):
            raise InputError(f"{place}: {fault} the speakers {first_of(those)}. List each speaker once.")
    if len(absent := listed[~listed.isin(names)]):
        logger.warning("%s: lists speakers who have no clips: %s", place, first_of(absent))


def _roles(test: pd.Series, validation: pd.Series, train: pd.Series) -> Roles:
    """Returns the role of each clip: the first of the three masks that is true, "" if none is."""
    roles: Roles = np.select([test, validation, train], ["test", "validation", "train"], "").astype(object)
    return roles


def _rotated(clips: pd.DataFrame, groups: Sequence[Sequence[str]], n_validation: int) -> Iterator[Roles]:
    """Yields a fold per group of speakers: it tests, the next `n_validation` validate, the others train."""
    for fold, group in enumerate(groups):
        following = [groups[(fold + step) % len(groups)] for step in range(1, n_validation + 1)]
        test = clips["speaker"].isin(group)
        validation = clips["speaker"].isin([speaker for other in following for speaker in other])
        yield _roles(test, validation, ~test)


def _masks(values: pd.Series, groups: list[list[str]], fold: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Returns which values test, validate and train; with two groups the last two are the same."""
    test = values.isin(groups[fold % len(groups)])
    if len(groups) == 2:
        return test, ~test, ~test
    validation = values.isin(groups[(fold + 1) % len(groups)])
    return test, validation, ~test & ~validation


def _shuffled(values: pd.Series, seed: int) -> list[str]:
    """Returns the distinct values in random order; other values do not affect the order of two."""
    return sorted(values.unique(), key=lambda value: fingerprint(seed, value))


def _interleaved(clips: pd.DataFrame, seed: int) -> list[str]:
    """Returns the speakers in random order, with each corpus and sex spaced evenly."""
    places: dict[str, tuple[float, Any]] = {}
    for stratum, own in clips.groupby(["corpus", clips["sex"].fillna("")]):
        speakers = _shuffled(own["speaker"], seed)
        places |= {speaker: ((i + 0.5) / len(speakers), stratum) for i, speaker in enumerate(speakers)}
    return sorted(places, key=lambda speaker: places[speaker])


def _n_validation(n: int, fraction: float) -> int:
    """Returns how many of `n` are `fraction`: none for 0, else at least one, and not all if n > 1."""
    return max(1, min(round(fraction * n), n - 1)) if fraction else 0


def _balanced_groups(
    clips: pd.DataFrame, column: str, stratum: str, n_groups: int, seed: int
) -> list[list[str]]:
    """Returns the values of `column` in groups with similar numbers of clips within each stratum.

    In each stratum, largest value first, each value joins the group with the fewest clips of that stratum
    and, among equals, the fewest in all: the greedy rule of multiprocessor scheduling (Graham 1969). No group
    stays empty.

    Raises:
        InputError: there are fewer values than groups.
    """
    n_values = clips[column].nunique()
    if n_values < n_groups:
        raise InputError(
            f"params.split.n_folds: {n_groups} folds need {n_groups} {column}s, but there are {n_values}."
        )
    groups: list[list[str]] = [[] for _ in range(n_groups)]
    n_total = [0] * n_groups
    for _, own in clips.groupby(clips[stratum].fillna("")):
        n_clips = own[column].value_counts()
        n_own = [0] * n_groups
        for value in sorted(_shuffled(own[column], seed), key=lambda value: -n_clips[value]):
            group = min(range(n_groups), key=lambda group: (n_own[group], n_total[group]))
            groups[group].append(value)
            n_own[group] += n_clips[value]
            n_total[group] += n_clips[value]
    return groups


def _names(line: str) -> list[str]:
    """Returns the names in one line of a list.

    >>> _names("1001-1003 1091")
    ['1001', '1002', '1003', '1091']
    """
    names = []
    for word in line.split():
        if ends := re.fullmatch(r"(\d+)-(\d+)", word):
            first, last = ends.groups()
            names += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        else:
            names.append(word)
    return names


def _left_out(clips: pd.DataFrame, n_kept: int, seed: int) -> pd.Index:
    """Returns the index of all clips but `n_kept` random ones, in which each label keeps its fraction.

    >>> clips = pd.DataFrame({"clip": list("abcdef"), "label": ["anger"] * 4 + ["fear"] * 2})
    >>> clips.loc[_left_out(clips, n_kept=3, seed=20), "label"].tolist()
    ['anger', 'fear', 'anger']
    """
    drawn = clips.assign(key=[fingerprint(seed, clip) for clip in clips["clip"]])
    of_label = drawn.groupby("label")["key"]
    drawn["place"] = of_label.rank() / of_label.transform("size")
    return drawn.sort_values(["place", "key"]).index[n_kept:]


def _check_classes(splits: Splits) -> None:
    """Checks that every fold tests something and trains on every label; logs labels that it does not test."""
    labels = set(splits.clips["label"])
    if len(labels) < 2:
        raise InputError(
            f"params.split.labels: {', '.join(labels)} is the only label left, but two are needed."
        )
    for fold, counts in splits.counts.reset_index().groupby("fold"):
        own = {role: set(of_role["label"]) for role, of_role in counts.groupby("role")}
        if "test" not in own:
            raise InputError(
                f"params.split: fold {fold} has no test clip. Choose other folds or another protocol."
            )
        if untrained := labels - own.get("train", set()):
            raise InputError(
                f"params.split: fold {fold} has no training clip of {', '.join(sorted(untrained))}. "
                "Choose other folds or another protocol, or merge or drop labels."
            )
        if untested := labels - own["test"]:
            logger.warning("fold %d: no test clip of %s", fold, ", ".join(sorted(untested)))
