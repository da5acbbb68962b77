"""What a search says at its end."""

from __future__ import annotations

from optuna.trial import create_trial

from stages.searching import space
from stages.tools import search


def test_params_yaml_that_scored_0_was_tried() -> None:
    (parameter,), _ = space.parse(["seed=int(1, 9)"])
    done = [
        create_trial(
            params={"seed": seed},
            distributions={"seed": parameter.distribution},
            value=uar,
            user_attrs={"uars": {"fold_00": uar}, "seconds": 1.0, "failed": ""},
        )
        for seed, uar in ((3, 0.0), (4, 0.5))
    ]
    said = search.conclusion(done, done[1], [parameter], {"seed": 3})
    assert "with params.yaml 0.000; higher in 1 of 1 trainings" in said
