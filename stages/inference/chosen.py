"""The model that a command uses: of a bundle, or of this workspace."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from stages.inference import bundle
from stages.inference.bundle import Bundle


def add_arguments(parser: ArgumentParser) -> None:
    """Adds --bundle and --speech, with which a command's user chooses the model."""
    parser.add_argument("--bundle", type=Path, help="a folder that `ser bundle` wrote; default: data/model")
    parser.add_argument(
        "--speech",
        choices=bundle.SPEECH,
        default="levels",
        help="how speech is detected; silero needs the extra `speech`",
    )


def model(folder: Path | None = None, speech: str = "levels") -> Bundle:
    """Returns the bundle in the folder, or without one the workspace's model, as docs/quickstart.ipynb.

    Args:
        folder: that `ser bundle` wrote, or None.
        speech: see `Bundle`.

    Raises:
        InputError: see `bundle.load` and `workspace.bundle`.
    """
    if folder is not None:
        return bundle.load(folder, speech)
    from stages.base import registry  # these load much more than a bundle needs
    from stages.base.params import read
    from stages.compute import hardware
    from stages.inference import workspace

    params = read()
    hardware.limit(params.train.threads)
    with hardware.quiet():
        registry.load("models", params.model, "params.model")
    return workspace.bundle(params, speech)
