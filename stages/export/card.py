"""The model card of a bundle (Mitchell et al. 2019, "Model cards for model reporting"), in Markdown."""

from __future__ import annotations

from stages.base import registry
from stages.inference.bundle import OF_SPEAKER
from stages.inference.facts import Facts
from stages.reporting.comparison import escaped

FILE = "CARD.md"


def text(facts: Facts) -> str:
    """Returns the card."""
    return (
        "\n\n".join([_title(facts), _use(facts), _data(facts), _score(facts), _limits(facts), _made(facts)])
        + "\n"
    )


def _title(facts: Facts) -> str:
    n = len(facts.folds)
    models = (
        f"The answer is the mean of {n} models, each trained without other speakers" if n > 1 else "One model"
    )
    return (
        f"# Speech emotion model: `{facts.model}`\n\n"
        f"Gives a probability to each of {', '.join(map(escaped, facts.classes))}, from a recording of one "
        f"person speaking. {models}."
    )


def _use(facts: Facts) -> str:
    return (
        "## Use\n\n```python\nfrom stages.inference import bundle\n\n"
        'model = bundle.load("this folder")\nprint(model.predict(samples, rate_hz))\n```\n\n'
        "or `ser predict --bundle FOLDER clip.wav`. "
        + _needed(facts)
        + "Nothing in the folder is executed or "
        "unpickled; a file that does not match its checksum in bundle.json is rejected."
    )


def _needed(facts: Facts) -> str:
    if facts.train.normalize == "global":
        return ""
    if facts.train.normalize in OF_SPEAKER:
        others, how = "other recordings of the speaker", "`ser predict --speaker-from FOLDER`"
    else:
        others, how = "a batch of recordings", "`ser predict` with all of them"
    return f"It needs {others}, without labels: `Bundle.adapted` or {how}. "


def _data(facts: Facts) -> str:
    corpora = [f"- {escaped(name)}: {escaped(about)}" for name, about in facts.trained_on.items()]
    modules = [registry.load("features", name, "features") for name in facts.features]
    notes = [f"- {module.LICENCE}" for module in modules if hasattr(module, "LICENCE")]
    synthetic = (
        f"\n\n**{', '.join(map(escaped, facts.synthetic))} is synthetic speech. "
        "The model's answers say nothing about people.**"
        if facts.synthetic
        else ""
    )
    return (
        "## Data and licences\n\nTrained on:\n\n" + "\n".join([*corpora, *notes]) + synthetic + "\n\n"
        "A corpus's licence may limit what a model trained on it may be used for: NC in a Creative Commons "
        "licence means not commercially."
    )


def _score(facts: Facts) -> str:
    if facts.score is None:
        return "## Score\n\nNot tested."
    score = facts.score
    return (
        f"## Score\n\n{score}. Protocol `{score.protocol}`, {score.n_clips} clips of {score.n_speakers} "
        "speakers; UAR is the mean of the recalls of all emotions, the interval is 95 % over speakers. Each "
        f"test clip was scored by one model; the mean of all cannot be tested on these speakers."
    )


def _limits(facts: Facts) -> str:
    profile = facts.folds[0].profile
    ranges = [
        f"- {name}: {quantiles[1]:.1f} to {quantiles[-2]:.1f}"
        for name, quantiles in profile.quantiles.items()
    ]
    sure = (
        f"An answer below a confidence of {facts.sure_above:.2f} is marked `unsure`: on validation clips, "
        f"such answers were right less than {facts.predict.sure:.0%} of the time."
        if facts.sure_above is not None
        else "No validation clips: how often an answer is right is not known."
    )
    return (
        "## Limits\n\nMost corpora are of acted emotion. The answer is how a recording sounds compared with "
        "them, not what a person feels. Recordings unlike the training clips (1st to 99th percentile) are "
        "answered with a warning:\n\n" + "\n".join(ranges) + f"\n\n{sure}"
    )


def _made(facts: Facts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"## Made with\n\n{versions}; format {facts.format}. All settings are in bundle.json."
