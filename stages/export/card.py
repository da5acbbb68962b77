"""The model card of a bundle (Mitchell et al. 2019, "Model cards for model reporting"), in Markdown."""

from __future__ import annotations

from pathlib import Path

from stages.base import registry
from stages.inference.bundle import OF_SPEAKER
from stages.inference.facts import Facts
from stages.reporting.page import render

FILE = "CARD.md"
TEMPLATE = Path(__file__).with_name("card.md.j2")


def text(facts: Facts) -> str:
    """Returns the card."""
    modules = [registry.load("features", name, "features") for name in facts.features]
    licences = [module.LICENCE for module in modules if hasattr(module, "LICENCE")]
    return f"{render(TEMPLATE, facts=facts, licences=licences, of_speaker=OF_SPEAKER)}\n"
