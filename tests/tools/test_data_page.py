"""The page of the recordings, on a small `demo` corpus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stages import augment, featurize, ingest, manifest
from stages.base.errors import InputError
from stages.tools import data_page
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped.values()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Moves into a folder with four speakers' features; returns its parameters."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_page.workspace, "reproduce", lambda *_, **__: None)
    monkeypatch.setattr("sys.argv", ["data_page"])
    values: dict[str, Any] = SHIPPED | {
        "corpora": SHIPPED["corpora"] | {"demo": {"n_speakers": 4, "sentences": ["IEO"], "variability": 1.0}},
        "compute": SHIPPED["compute"] | {"workers": 1},
        "augment": SHIPPED["augment"] | {"copies": 0},
    }
    Path("params.yaml").write_text(json.dumps(values))
    for stage in (ingest, manifest, augment, featurize):
        stage.main()
    return values


def test_the_page_shows_corpora_effects_and_neighbours(
    project: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data_page.main()
    page = data_page.PAGE.read_text()
    assert re.findall(r'<figure id="(\w+)">', page) == ["corpora", "by_speaker", "measures", "space"]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)  # complete in one file
    for text in ("24 of 24 usable clips", "<td>en</td>", "2 female, 2 male", "same label, other speaker"):
        assert text in page
    assert page.count('scope="row"') == 1 + 8 + 3  # corpora, measures, neighbours
    seen = re.search(r"same speaker ([\d.]+) \(chance ([\d.]+)\)", capsys.readouterr().out)
    assert seen and float(seen[1]) > float(seen[2])
    first = data_page.PAGE.read_bytes()
    data_page.main()
    assert data_page.PAGE.read_bytes() == first


@pytest.mark.slow
def test_measures_whose_feature_is_not_computed_are_left_out(project: dict[str, Any]) -> None:
    Path("params.yaml").write_text(
        json.dumps(project | {"featurize": SHIPPED["featurize"] | {"features": ["zcr"]}})
    )
    featurize.main()
    data_page.main()
    page = data_page.PAGE.read_text()
    assert "zero-crossing rate" in page
    assert "signal-to-noise ratio, dB" not in page


def test_features_with_frames_of_their_own_alone_are_refused(project: dict[str, Any]) -> None:
    featurized = SHIPPED["featurize"] | {"features": ["byol_s"]}
    Path("params.yaml").write_text(json.dumps(project | {"featurize": featurized}))
    with pytest.raises(InputError, match=r"params\.featurize\.features.*byol_s"):
        data_page.main()
