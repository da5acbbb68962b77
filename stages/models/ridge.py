"""Ridge classifier in closed form: its penalty and its temperature are chosen by leaving out each speaker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.base.params import Block, Positive
from stages.learning.pooling import Pooling
from stages.learning.preprocessing import Inputs
from stages.learning.ridge import RidgeTrainer

LAYOUTS = ("mean", "stats", "pooled")


class Config(Block):
    """The classifier's block in params.yaml.

    Attributes:
        pooling: of the layout `pooled`; null for the others. Streams of features that `inputs` does not name
            are left out.
        penalties: to choose from.
        class_weights: `balanced`: each class counts alike in the fit, however many clips it has.
    """

    inputs: Inputs
    pooling: Pooling | None
    penalties: Annotated[list[Positive], Field(min_length=1)]
    class_weights: Literal["none", "balanced"]

    @field_validator("pooling")
    @classmethod
    def _of_inputs(cls, pooling: Pooling | None, info: ValidationInfo) -> Pooling | None:
        inputs = info.data.get("inputs")  # none if they are not valid
        return pooling.of(inputs.features) if pooling and inputs else pooling


def trainer(config: Config) -> RidgeTrainer:
    return RidgeTrainer(config.penalties, balanced=config.class_weights == "balanced")
