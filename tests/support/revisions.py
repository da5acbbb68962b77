"""A Git and DVC repository whose commits hold predictions, without running a pipeline for them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.base.files import PREDICTIONS
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
CMD = "python -m stages.evaluate"
# As dvc.lock records a parameter and whole blocks.
PARAMS = {
    "model": "svm",
    "split": {"protocol": "speaker_independent", "n_folds": 6},
    "train": {"normalize": "global"},
}
yaml = YAML()


def git(folder: Path, *arguments: str) -> str:
    """Returns git's output; fails if git does."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Revisions:
    """A repository with the project's params and a pipeline of one stage.

    Attributes:
        folder: of the project, which may be a subfolder of its Git repository.
    """

    def __init__(self, top: Path, subfolder: str = ".") -> None:
        self.folder = folder = top / subfolder
        folder.mkdir(parents=True, exist_ok=True)
        git(top, "init", "--quiet", "--initial-branch", "main")
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
        (folder / ".gitignore").write_text("/data\n/.dvc/cache\n/.dvc/tmp\n")
        shipped.write(folder)
        self._dump({"stages": {"evaluate": {"cmd": CMD, "outs": [str(PREDICTIONS)]}}}, "dvc.yaml")

    def evaluate(self, predictions: pd.DataFrame, **params: Any) -> Path:
        """Writes what `dvc repro` would; in `params`, double underscores stand for dots.

        Returns:
            the predictions in DVC's cache.
        """
        path = self.folder / PREDICTIONS
        path.parent.mkdir(exist_ok=True)
        predictions.to_parquet(path, index=False)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        cached = self.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, cached)
        stage = {
            "cmd": CMD,
            "params": {"params.yaml": PARAMS | {key.replace("__", "."): own for key, own in params.items()}},
            "outs": [{"path": str(PREDICTIONS), "hash": "md5", "md5": md5, "size": path.stat().st_size}],
        }
        self._dump({"schema": "2.0", "stages": {"evaluate": stage}}, "dvc.lock")
        return cached

    def commit(self, tag: str) -> None:
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", tag)
        git(self.folder, "tag", tag)

    def _dump(self, values: dict[str, Any], name: str) -> None:
        with (self.folder / name).open("w") as file:
            yaml.dump(values, file)
