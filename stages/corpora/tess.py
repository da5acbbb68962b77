"""TESS: a younger and an older woman say "Say the word ..." with 200 words in seven emotions.

Names: `OAF_back_angry.wav`: speaker, word, emotion, in cases and spellings that vary between distributions.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from stages.acquire.download import read_json
from stages.base.errors import InputError
from stages.base.params import Block
from stages.data.vocabulary import Corpus, Download, Emotion, ParsedName

ABOUT = Corpus(
    title="TESS, the Toronto emotional speech set",
    licence="CC-BY-NC-ND-4.0",
    citation="Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, Borealis, doi:10.5683/SP2/E8H2MF",
    url="https://doi.org/10.5683/SP2/E8H2MF",
    n_clips=2800,
    n_speakers=2,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<speaker>_<word>_<emotion>.wav, as in OAF_back_angry.wav, with speakers OAF, YAF and "
    "emotions angry, disgust, fear, happy, neutral, ps (pleasant surprise), sad",
    access="`ingest.download: true` fetches it, or take all files, which come as one zip, from "
    "https://doi.org/10.5683/SP2/E8H2MF.",
    language="en",
)

EMOTIONS: dict[str, Emotion] = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sadness",
}
DATAVERSE = "https://borealisdata.ca/api"
DOI = "doi:10.5683/SP2/E8H2MF"

# Of each speaker's recordings (data.published), from the decoded samples: they do not depend on the format.
CHECKSUMS_OF = "audio_sha256"
CHECKSUMS = {"OAF": "912315c7c5c3", "YAF": "169d49564f5e"}

# One published name has `OA` for `OAF`.
_NAME = re.compile(
    r"([OY])AF?_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|pleasant[ _]surprised?|sad)",
    re.ASCII | re.IGNORECASE,
)
_FOLDER = re.compile(
    r"([OY])AF?_(angry|disgust|fear|happy|neutral|ps|pleasant[ _]surprised?|sad)", re.ASCII | re.IGNORECASE
)


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, word, code = f"{match[1].upper()}AF", match[2].lower(), _code(match[3])
    return ParsedName(
        clip=f"{speaker}_{word}_{code}",
        speaker=speaker,
        sex="female",
        sentence=word,
        emotion=EMOTIONS[code],
        contradiction=_contradiction(path, speaker, code),
    )


def _code(emotion: str) -> str:
    return "ps" if emotion.lower().startswith("pleasant") else emotion.lower()


def _contradiction(path: PurePosixPath, speaker: str, code: str) -> str:
    """Returns the folder of another speaker or emotion that a file is in, "" if there is none."""
    folder = _FOLDER.fullmatch(path.parent.name)
    if folder and (f"{folder[1].upper()}AF", _code(folder[2])) != (speaker, code):
        return f"folder {folder[0]}"
    return ""


def downloads(config: Block) -> list[Download]:
    """Returns the recordings that the publisher's server lists now, each with its checksum.

    API: https://guides.dataverse.org/en/latest/api/native-api.html, "List Files in a Dataset".

    Raises:
        InputError: the server does not answer, or not with such a list.
    """
    url = f"{DATAVERSE}/datasets/:persistentId/versions/:latest-published/files?persistentId={DOI}"
    answer = read_json(url)
    try:
        found = [entry["dataFile"] for entry in answer["data"]]
        return [
            Download(
                url=f"{DATAVERSE}/access/datafile/{file['id']}",
                checksum=f"{file['checksum']['type'].replace('-', '').lower()}:{file['checksum']['value']}",
                filename=PurePosixPath(file["filename"]).name,
                n_bytes=file["filesize"],
            )
            for file in found
            if parse(PurePosixPath(file["filename"]))
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{url}: the answer is not a list of files (missing {error}).") from error
