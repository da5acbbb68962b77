"""The clips that trained a model: which resemble a recording, and what knowing the speaker changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from stages.audio import extractor
from stages.audio.recording import Samples
from stages.base.files import MANIFEST, SPLITS
from stages.base.params import Params
from stages.data import tables
from stages.data.splits import Splits
from stages.learning import dataset, trained_fold
from stages.learning.preprocessing import Frames, pool
from stages.reporting import clip_space
from stages.reporting.examples import player
from stages.splitting import leak

N_LESSON = 48  # clips that the lesson is about
COLUMNS = ["fold", "role", "clip", "speaker", "label"]


class TrainingClips:
    """The clips of a trained workspace.

    Attributes:
        rows: of the clips that trained a fold; columns clip, speaker, label and path, below data/raw.
        lesson: what the models of the folds say about some test clips: a row per clip and fold with clip,
            speaker, label, path, role (`test`, or `train` if the model was trained on this clip and speaker),
            predicted and p_label. No rows if the protocol is leaky, clips are standardised by others, or no
            clip has both roles.
    """

    def __init__(self, params: Params) -> None:
        """Reads the features of the training clips, a shard at a time.

        Raises:
            InputError: a table or a shard is missing or damaged, or is not what the model was trained with.
        """
        self.params, self.folds = params, trained_fold.trained(params)
        self.features = self.folds[0].config.inputs.features
        self._extract = extractor.extractor(params, self.features, "params.models")
        self._rows = self._stored()
        own = self._rows[self._rows["role"] == "train"].drop_duplicates("clip")
        self.rows = own[["clip", "speaker", "label", "path"]].reset_index(drop=True)
        points = np.concatenate(dataset.each_pooled(own, self.features, lambda clip: pool(clip, "stats")))
        self._mean, std = points.mean(axis=0), points.std(axis=0)
        self._std = np.where(std > 0, std, 1)
        self._points = (points - self._mean) / self._std

    def _stored(self) -> pd.DataFrame:
        """Returns a row for each clip and trained fold: COLUMNS, path and shard."""
        splits = Splits.read()
        records = {fold.folder.name: fold.record for fold in self.folds}
        trained_fold.check_tested(records, self.params, splits, [SPLITS, dataset.INDEX])
        index = tables.read(dataset.INDEX, tables.FEATURES, ["clip", "shard"])
        trained_fold.check_features(self.params, self.features, index)
        paths = tables.read(MANIFEST, tables.MANIFEST, ["clip", "path"])
        rows = pd.concat([splits.fold(number)[COLUMNS] for number in {fold.number for fold in self.folds}])
        return rows.merge(index, on="clip").merge(paths, on="clip")

    def nearest(self, samples: Samples) -> pd.DataFrame:
        """Returns the training clip of each label that resembles a recording most, the nearest first.

        The distance is Euclidean, of the model's features: their statistics over time, standardised. It is
        divided by its median to all training clips.

        Args:
            samples: float32 (n_samples,) at the model's rate.

        Returns:
            A row per label: the columns of `rows`, and distance.
        """
        frames: Frames = np.concatenate([*self._extract(samples).values()], axis=1)
        point = (pool(frames, "stats")[0] - self._mean) / self._std
        distance = np.linalg.norm(self._points - point, axis=1)
        found = self.rows.assign(distance=distance / np.median(distance)).sort_values("distance")
        return found.drop_duplicates("label")

    @cached_property
    def lesson(self) -> pd.DataFrame:
        rows = self._rows[self._rows["role"].isin(["test", "train"])]
        rows = rows[rows.groupby("clip")["role"].transform("nunique") == 2]
        if leak.leaky(self.params.split.protocol) or self.params.train.normalize != "global":
            rows = rows.iloc[:0]
        drawn = clip_space.drawn(rows.drop_duplicates("clip"), self.params.seed, N_LESSON)
        rows = rows[rows["clip"].isin(drawn["clip"])]
        found = []
        for fold in self.folds:
            own = rows[rows["fold"] == fold.number]
            if own.empty:
                continue
            said = fold.probabilities(dataset.load(own, self.features), own)
            p_label = [said[f"p_{label}"].iloc[i] for i, label in enumerate(own["label"])]
            found.append(own.assign(predicted=tables.most_probable(said).to_numpy(), p_label=p_label))
        return pd.concat(found, ignore_index=True) if found else rows.assign(predicted="", p_label=0.0)

    @property
    def lesson_names(self) -> list[str]:
        """The clips of the lesson."""
        return sorted(self.lesson["clip"].unique())

    def taught(self, clip: str) -> dict[str, Any]:
        """Returns what a page shows of the lesson about a clip: label, recording, and what models say."""
        own = self.lesson[self.lesson["clip"] == clip].sort_values(["role", "fold"])
        right = (self.lesson["predicted"] == self.lesson["label"]).groupby(self.lesson["role"]).mean()
        return {
            "label": own["label"].iloc[0],
            "player": self._player(own["path"].iloc[0]),
            "models": own.to_dict("records"),
            "n_clips": len(self.lesson_names),
            "right": right.to_dict(),
        }

    def similar(self, samples: Samples, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Returns a row of `nearest` for each label that has one, in their order, with a player."""
        rows: dict[str, Any] = {str(row["label"]): row for row in self.nearest(samples).to_dict("records")}
        found = [rows[name] for name in labels if name in rows]
        return [row | {"player": self._player(row["path"])} for row in found]

    def _player(self, path: str) -> str:
        return player(path, self.params.audio.sample_rate_hz)
