"""Serve a web page to try a model: `ser app --bundle BUNDLE`, then open http://127.0.0.1:7860.

The page takes a file or the microphone, and deletes a recording within two minutes. Only this machine can
open it unless `--host` says otherwise. Without `--bundle` it shows the model in data/model, similar training
clips, and what training on the speaker changes. Needs the extra `app`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.audio import recording
from stages.audio.spectrum import Spectrum
from stages.base.errors import InputError, extra, one_line, parser_of, run, shown
from stages.inference import chosen, occlusion
from stages.inference.bundle import Bundle, Prediction
from stages.inference.occlusion import Part
from stages.page import picture
from stages.reporting.page import render

if TYPE_CHECKING:
    from stages.page.training_clips import TrainingClips

LARGEST_UPLOAD = "50mb"
KEPT_S = 60  # a recording can be played so long
DETAIL_S = 30  # longer recordings have no spectrogram
WIDEST_PX = 720  # of the picture
N_TOP = 3
LAST_PORT = 65_535
TEMPLATES = Path(picture.__file__).parent
UAR = "UAR is how often an emotion was found, the mean of all emotions."
LIMITS = """
- The answer is how a voice *sounds* beside acted recordings. It is not what a person feels.
- Other languages, rooms, microphones and spontaneous speech are harder than the score above says.
- Decide nothing about a person with it.
"""
LESSON = """
## Why new speakers count

The same recording, judged by models that were not trained on its speaker, and by models that were, on this
recording too.
"""


def main() -> None:
    parser = parser_of(__doc__)
    chosen.add_arguments(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 opens the page to others; default: %(default)s"
    )
    parser.add_argument("--port", type=port_number, default=7860, help="default: %(default)s")
    arguments = parser.parse_args()
    model = chosen.model(arguments.bundle, arguments.speech)
    if (normalize := model.facts.train.normalize) != "global":
        raise InputError(f"app: a model trained with train.normalize '{normalize}' needs other recordings.")
    check_address(arguments.host, arguments.port)
    clips = training_clips() if arguments.bundle is None else None
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}  # read at the import
        page(model, clips).launch(
            server_name=arguments.host,
            server_port=arguments.port,
            max_file_size=LARGEST_UPLOAD,
            share=False,
            footer_links=[],
            enable_monitoring=False,
        )


def port_number(text: str) -> int:
    """Returns the number of a port; argparse reports the error of any other."""
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= LAST_PORT:
            return int(text)
    raise argparse.ArgumentTypeError(f"{shown(text)} is not possible. Give a number from 1 to {LAST_PORT}.")


def check_address(host: str, port: int) -> None:
    """Checks that the page can be served, where gradio would end in a traceback.

    Raises:
        InputError: the port is in use, or the host is not of this machine.
    """
    for each in dict.fromkeys([host, "127.0.0.1"]):  # gradio needs the port there, too
        bare = each.removeprefix("[").removesuffix("]")
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        try:
            socket.create_server((bare, port), family=family).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: an impossible name
            reason = (getattr(error, "strerror", None) or one_line(error)).partition(" (while")[0]
            raise InputError(
                f"app: no page at {shown(host)}, port {port}: {reason}. Choose another --port or --host."
            ) from error


def training_clips() -> TrainingClips:
    """Returns the clips of the workspace's model."""
    from stages.base.params import read
    from stages.page.training_clips import TrainingClips  # loads more than a bundle needs

    return TrainingClips(read())


def page(model: Bundle, clips: TrainingClips | None = None) -> Any:
    """Returns the page, a `gradio.Blocks`.

    Args:
        clips: of the workspace's model, or None to leave out what is shown of them.

    Raises:
        InputError: the extra `app` is not installed.
    """
    with extra("app", "ser app"):
        import gradio
    with gradio.Blocks(
        title="Speech emotion", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S)
    ) as blocks:
        gradio.Markdown(f"# How does it sound?\n\nModel: {model.facts.notice()}. {UAR}")
        sound = gradio.Audio(
            sources=["upload", "microphone"], type="filepath", label="A recording of one person", buttons=[]
        )
        text, shown = gradio.Markdown(elem_id="answer"), gradio.HTML()
        sound.input(lambda path: answer(model, path, clips), sound, [text, shown], api_name="predict")
        gradio.Markdown(f"## Limits\n{LIMITS}")
        if clips is not None and (names := clips.lesson_names):
            gradio.Markdown(LESSON)
            choice = gradio.Dropdown(names, value=names[0], label="Recording")
            about = gradio.HTML(taught(clips, names[0]), elem_id="lesson")
            choice.input(lambda name: taught(clips, name), choice, about, api_visibility="private")
    return blocks.queue(max_size=128, default_concurrency_limit=1)


def answer(model: Bundle, file: str | None, clips: TrainingClips | None = None) -> tuple[str, str]:
    """Returns what the page says about an uploaded file, as Markdown, and what it shows, as HTML."""
    if file is None:
        return "", ""
    path, rate_hz = Path(file), model.facts.audio.sample_rate_hz
    if not path.exists():
        return (
            "**Too many recordings were waiting,** and yours was deleted before its turn. Upload it again.",
            "",
        )
    (prediction,) = model.predict_files([path])
    if prediction.status == "failed":
        return f"**This is not a usable recording:** {prediction.reason}.", ""
    spectrum, parts, near = None, list[Part](), list[dict[str, Any]]()
    if prediction.probabilities and prediction.end_s <= max(DETAIL_S, model.whole_s):
        samples = recording.load(path, rate_hz)
        spectrum = Spectrum(samples, rate_hz, model.facts.spectrum)
        if len(prediction.timeline) == 1:
            parts = occlusion.effects(model, samples, rate_hz)
        if clips is not None:
            near = clips.similar(samples, [emotion for emotion, _ in prediction.top(N_TOP)])
    drawn = picture.of_answer(prediction, model.classes, path, spectrum, parts)
    shown = render(TEMPLATES / "answer.html.j2", picture=drawn, widest_px=WIDEST_PX, clips=near)
    return words(model, prediction) + decisive(parts, prediction), shown


def words(model: Bundle, prediction: Prediction) -> str:
    """Returns the answer in Markdown: the most probable emotions and how sure they are."""
    if not prediction.probabilities:
        return f"**No answer:** {prediction.reason}."
    lines = [f"| {name} | {p:.0%} |" for name, p in prediction.top(N_TOP)]
    often = model.how_often_right(prediction.confidence)
    right = (
        f"Answers as confident as this were right {often:.0%} of the time on validation clips."
        if often is not None
        else ""
    )
    sure = {
        "answered": f"## {prediction.emotion}",
        "unsure": f"## Not sure, perhaps {prediction.emotion}",
        "warned": f"## {prediction.emotion}, with a warning\n\n{prediction.reason}.",
    }[prediction.status]
    return "\n".join([sure, "", right, "", "| emotion | probability |", "|---|---|", *lines])


def decisive(parts: list[Part], prediction: Prediction) -> str:
    """Returns which part of the recording the answer rests on most, in Markdown; "" if on none."""
    found = max((part for part in parts if part.effect > 0), key=lambda part: part.effect, default=None)
    if found is None:
        return ""
    return (
        f"\n\nThe part from {found.start_s:.1f} to {found.end_s:.1f} s counts most: without it, the "
        f"probability of {prediction.emotion} is {prediction.confidence - found.effect:.0%}."
    )


def taught(clips: TrainingClips, name: str) -> str:
    """Returns the lesson about a clip as HTML: what models say with and without its speaker."""
    return render(TEMPLATES / "lesson.html.j2", **clips.taught(name))


if __name__ == "__main__":
    run(main)
