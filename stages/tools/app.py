"""A page to try a model: `ser app --bundle BUNDLE`, then open http://127.0.0.1:7860.

Takes a file or the microphone. Only this machine can open the page unless `--host` says otherwise; a
recording is deleted within two minutes. Needs the extra `app`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.audio import recording
from stages.base.errors import InputError, run
from stages.inference import bundle
from stages.inference.bundle import Bundle, Prediction

LARGEST_UPLOAD = "50mb"
KEPT_S = 60  # a recording can be played so long
N_TOP = 3
N_COLUMNS = 1500  # of the waveform
UAR = "UAR is how often an emotion was found, the mean of all emotions."
LIMITS = """
- The answer is how a voice *sounds* beside acted recordings. It is not what a person feels.
- Other languages, rooms, microphones and spontaneous speech are harder than the score above says.
- Decide nothing about a person with it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundle"), help="default: %(default)s")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 opens the page to others; default: %(default)s"
    )
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--speech", choices=bundle.SPEECH, default="levels", help="see `ser predict`")
    arguments = parser.parse_args()
    model = bundle.load(arguments.bundle, arguments.speech)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}  # read at the import
        page(model).launch(
            server_name=arguments.host,
            server_port=arguments.port,
            max_file_size=LARGEST_UPLOAD,
            share=False,
            footer_links=[],
            enable_monitoring=False,
        )


def page(model: Bundle) -> Any:
    """Returns the page, a `gradio.Blocks`.

    Raises:
        InputError: the extra `app` is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise InputError("app: needs the extra `app`. Run `pip install -e '.[app]'`.") from error
    with gradio.Blocks(
        title="Speech emotion", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S)
    ) as blocks:
        gradio.Markdown(f"# How does it sound?\n\nModel: {model.facts.notice()}. {UAR}")
        sound = gradio.Audio(
            sources=["upload", "microphone"], type="filepath", label="A recording of one person", buttons=[]
        )
        text = gradio.Markdown(elem_id="answer")
        figure = gradio.Plot(label="Waveform and probabilities over time", show_label=False)
        gradio.Markdown(f"## Limits\n{LIMITS}")
        sound.input(lambda path: answer(model, path), sound, [text, figure], api_name="predict")
    return blocks.queue(max_size=128, default_concurrency_limit=1)


def answer(model: Bundle, file: str | None) -> tuple[str, Figure | None]:
    """Returns what the page says about an uploaded file, and the picture."""
    if file is None:
        return "", None
    path = Path(file)
    (prediction,) = model.predict_files([path])
    if prediction.status == "failed":
        return f"**This is not a usable recording:** {prediction.reason}.", None
    return words(model, prediction), picture(model, prediction, path)


def words(model: Bundle, prediction: Prediction) -> str:
    """Returns the answer in Markdown: the most probable emotions and how sure they are."""
    if not prediction.probabilities:
        return f"**No answer:** {prediction.reason}."
    lines = [f"| {name} | {p:.0%} |" for name, p in prediction.top(N_TOP)]
    often = model.how_often_right(prediction.confidence)
    right = (
        f"Answers as confident as this were right {often:.0%} of the time on validation clips."
        if often
        else ""
    )
    sure = {
        "answered": f"## {prediction.emotion}",
        "unsure": f"## Not sure, perhaps {prediction.emotion}",
        "warned": f"## {prediction.emotion}, with a warning\n\n{prediction.reason}.",
    }[prediction.status]
    return "\n".join([sure, "", right, "", "| emotion | probability |", "|---|---|", *lines])


def picture(model: Bundle, prediction: Prediction, path: Path) -> Figure:
    """Returns the waveform above the probabilities of each window; windows without an answer are empty."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[1, 2])
    envelope, duration_s = outline(path)
    time_s = np.linspace(0, duration_s, len(envelope))
    above.fill_between(time_s, -envelope, envelope, color="0.4", linewidth=0)
    above.set(yticks=[], ylabel="waveform")
    windows = prediction.timeline
    edges = [window.start_s for window in windows] + [windows[-1].end_s]
    rows = np.array(
        [[window.probabilities.get(name, np.nan) for name in model.classes] for window in windows]
    )
    below.stackplot(
        edges,
        np.vstack([rows, rows[-1:]]).T,
        labels=model.classes,
        step="post",
        colors=colours(len(model.classes)),
    )
    below.set(xlim=(0, duration_s), ylim=(0, 1), xlabel="seconds", ylabel="probability")
    figure.legend(loc="outside right center")
    return figure


def colours(n: int) -> NDArray[np.float64]:
    """Returns `n` colours that differ in lightness too, (n, 4)."""
    import matplotlib

    return np.asarray(matplotlib.colormaps["viridis"](np.linspace(0, 1, n)))


def outline(path: Path) -> tuple[NDArray[np.float32], float]:
    """Returns the largest magnitude in each of about N_COLUMNS parts of a file, and its duration in s."""
    parts, n_samples = [], 0
    with recording.opened(path) as (rate_hz, _, blocks):
        n = max(1, rate_hz // 100)
        for block in blocks:
            n_samples += len(block)
            mono = np.abs(block).max(axis=1)
            parts.append(np.maximum.reduceat(mono, np.arange(0, len(mono), n)))
    peaks = np.concatenate(parts)
    step = -(-len(peaks) // N_COLUMNS)
    return np.maximum.reduceat(peaks, np.arange(0, len(peaks), step)), n_samples / rate_hz


if __name__ == "__main__":
    run(main)
