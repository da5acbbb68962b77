"""A small corpus of synthetic speech, so that the pipeline runs without any download.

It is synthetic speech, made by eSpeak NG under textbook rules, and does not show how well a model
recognises the emotions of people. It imitates what makes real corpora hard: speakers differ in voice,
room and loudness, each has a personal way to act an emotion, kept from one sentence to the next,
and the acting differs from take to take, so that the classes overlap and a known speaker is easier.

The files are named as CREMA-D's, with speakers from 2001 on: `2001_IEO_ANG_XX.wav`.
"""

from __future__ import annotations

import io
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import scipy
import soundfile
import soxr
from pydantic import Field

from stages.acquire import espeak
from stages.base.errors import uninterrupted
from stages.base.files import write
from stages.base.params import Block
from stages.data.keys import rng
from stages.data.vocabulary import Corpus, Emotion, ParsedName, Sex

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class Speaker:
    """A voice variant of eSpeak NG, and the sex it sounds of."""

    voice: str
    sex: Sex


# Female and male alternate, so that the first n are balanced.
VOICES = (
    *("f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4", "f5", "m5", "Alicia", "m6", "Andrea", "m7"),
    *("Annie", "m8", "aunty", "Denis", "belinda", "ed", "grandma", "Mike", "linda", "Nguyen"),
)
SPEAKERS = {
    str(2001 + number): Speaker(voice, "male" if number % 2 else "female")
    for number, voice in enumerate(VOICES)
}

# Those of CREMA-D (Cao et al. 2014).
Sentence = Literal["DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI"]
SENTENCES: dict[Sentence, str] = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
EMOTIONS: dict[str, Emotion] = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}


@dataclass(frozen=True)
class Prosody:
    """How an utterance departs from the voice's plain one. Ratios multiply, the rest adds."""

    f0_ratio: float
    f0_range_ratio: float
    duration_ratio: float
    level_db: float
    tilt_db_per_octave: float


# Fully acted, beside neutral. The ratios are those of Emofilt (Burkhardt 2005), with which syntAct (Burkhardt
# et al. 2022) was made, for the emotions named beside; they rest on the perception tests of Burkhardt &
# Sendlmeier 2000. Durations are its speech rate with its vowel lengths. Disgust, which Emofilt does not have,
# follows the summary of Murray & Arnott 1993: very much lower, slightly wider, very much slower. So do the
# levels: higher in anger and happiness, lower in sadness and disgust. Tilt gives Emofilt's loud and soft
# vocal effort.
RULES: dict[Emotion, Prosody] = {
    "anger": Prosody(1.50, 2.00, 0.60, +6.0, +3.0),  # hotAnger
    "disgust": Prosody(0.70, 1.20, 1.40, -3.0, -1.0),
    "fear": Prosody(2.00, 1.60, 0.70, 0.0, 0.0),  # scared
    "happiness": Prosody(1.50, 2.00, 0.80, +4.0, +1.5),  # joy
    "neutral": Prosody(1.00, 1.00, 1.00, 0.0, 0.0),
    "sadness": Prosody(1.00, 0.80, 1.40, -6.0, -3.0),  # sad
}

# One standard deviation of what differs between speakers whatever they act, between the ways in which a
# speaker acts each emotion, and between takes. Set so that a plain support vector machine is well above
# chance and far from perfect on unknown speakers, and clearly better on known ones, as on real acted corpora.
SPEAKERS_DIFFER = Prosody(1.03, 1.10, 1.06, 2.0, 0.70)
MANNERS_DIFFER = Prosody(1.10, 1.15, 1.08, 1.5, 0.75)
TAKES_DIFFER = Prosody(1.05, 1.10, 1.04, 0.8, 0.40)
SPEAKER_STRENGTH = 0.8, 1.2  # fraction of the rule that the least and the most expressive speaker act out
TAKE_STRENGTH = 0.8, 1.0  # of that, in a speaker's weakest and strongest take

PLAIN_RATE_WPM = 165
PLAIN_LEVEL_DBFS = -30.0  # RMS over the speech
PEAK_LIMIT_DBFS = -1.0
ROOM_NOISE_DBFS = -75.0, -55.0  # quietest and loudest room
SILENCE_S = 0.15, 0.45  # shortest and longest, before and after the speech

ABOUT = Corpus(
    title="demo: synthetic speech, made on this machine; no measure of performance on people",
    licence="made on the user's machine, not shipped; eSpeak NG is GPL-3.0-or-later as a program, which does "
    "not extend to the audio it makes",
    citation="Burkhardt, F. and Sendlmeier, W. F. (2000). Verification of acoustical correlates of emotional "
    "speech using formant-synthesis. ISCA Workshop on Speech and Emotion, 151-156",
    url="https://github.com/espeak-ng/espeak-ng",
    n_clips=len(SPEAKERS) * len(SENTENCES) * len(EMOTIONS),
    n_speakers=len(SPEAKERS),
    emotions=tuple(EMOTIONS.values()),
    name_pattern="<speaker>_<sentence>_<EMOTION>_XX.wav, as in 2001_IEO_ANG_XX.wav",
    access="`python -m stages.ingest` synthesises it with the package espeakng-loader.",
    language="en",
)


class Config(Block):
    n_speakers: Annotated[int, Field(ge=1, le=len(SPEAKERS))]
    sentences: Annotated[list[Sentence], Field(min_length=1)]
    variability: Annotated[float, Field(ge=0, le=3)]  # times the standard deviations above; 0: none


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    match path.stem.split("_"):
        case [speaker, sentence, code, "XX"] if (
            speaker in SPEAKERS and sentence in SENTENCES and code in EMOTIONS
        ):
            return ParsedName(path.stem, speaker, SPEAKERS[speaker].sex, sentence, EMOTIONS[code])
    return None


def synthesise(folder: Path, config: Config, seed: int) -> int:
    """Writes mono PCM16 at SAMPLE_RATE_HZ, `folder/2001_IEO_ANG_XX.wav` and so on, and returns how many.

    The same config and seed give the same bytes in every process of one machine.

    Raises:
        InputError: eSpeak NG is missing or does not load.
    """
    takes = [
        _direct(speaker, sentence, code, config.variability, seed)
        for speaker in list(SPEAKERS)[: config.n_speakers]
        for sentence in sorted(set(config.sentences))
        for code in EMOTIONS
    ]
    sounds = espeak.speak(take.utterance for take in takes)
    for take, sound in zip(takes, sounds, strict=True):
        recorded = io.BytesIO()  # libsndfile does not report a full disk
        samples = _record(sound, take, seed)
        with uninterrupted():
            soundfile.write(recorded, samples, SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
        write(recorded.getvalue(), folder / f"{take.name}.wav")
    return len(takes)


@dataclass(frozen=True)
class _Take:
    name: str
    speaker: str
    utterance: espeak.Utterance
    level_db: float
    tilt_db_per_octave: float


def _direct(speaker: str, sentence: Sentence, code: str, variability: float, seed: int) -> _Take:
    """Samples how `speaker` acts the emotion `code` in `sentence`."""
    name = f"{speaker}_{sentence}_{code}_XX"
    person, manner, take = rng(seed, speaker), rng(seed, speaker, code), rng(seed, name)
    strength = _strength(SPEAKER_STRENGTH, variability, person) * _strength(TAKE_STRENGTH, variability, take)
    f0_octaves, f0_range_octaves, duration_octaves, level_db, tilt_db_per_octave = (
        strength * _vector(RULES[EMOTIONS[code]])
        + variability * _vector(SPEAKERS_DIFFER) * person.standard_normal(5)
        + variability * _vector(MANNERS_DIFFER) * manner.standard_normal(5)
        + variability * _vector(TAKES_DIFFER) * take.standard_normal(5)
    )
    utterance = espeak.Utterance(
        voice=f"en-us+{SPEAKERS[speaker].voice}",
        text=SENTENCES[sentence],
        rate_wpm=int(np.clip(PLAIN_RATE_WPM / 2**duration_octaves, 80, 450)),
        pitch=int(np.clip(50 + 50 * f0_octaves, 0, 99)),
        pitch_range=int(np.clip(50 * 2**f0_range_octaves, 0, 99)),
    )
    return _Take(name, speaker, utterance, level_db, tilt_db_per_octave)


def _strength(bounds: tuple[float, float], variability: float, draw: np.random.Generator) -> float:
    return 1 + variability * (draw.uniform(*bounds) - 1)


def _vector(prosody: Prosody) -> np.ndarray:
    """Returns float64 (5,): ratios in octaves, level and tilt in dB, so that departures add up."""
    *ratios, level_db, tilt_db_per_octave = astuple(prosody)
    return np.array([*np.log2(ratios), level_db, tilt_db_per_octave])


def _record(sound: np.ndarray, take: _Take, seed: int) -> np.ndarray:
    """Returns `sound`, int16 at the synthesiser's rate, as the take is recorded in the speaker's room.

    float64 (n_samples,) at SAMPLE_RATE_HZ, within -1 to 1.
    """
    signal = soxr.resample(sound / 2**15, espeak.SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)
    signal = _tilt(signal, take.tilt_db_per_octave)
    signal *= _amplitude(PLAIN_LEVEL_DBFS + take.level_db) / np.sqrt(np.mean(signal**2))
    signal *= min(1, _amplitude(PEAK_LIMIT_DBFS) / np.abs(signal).max())
    draw = rng(seed, take.name, "room")
    before, after = draw.uniform(*SILENCE_S, size=2) * SAMPLE_RATE_HZ
    signal = np.pad(signal, (int(before), int(after)))
    noise_dbfs = rng(seed, take.speaker, "room").uniform(*ROOM_NOISE_DBFS)
    return signal + _amplitude(noise_dbfs) * draw.standard_normal(len(signal))


def _tilt(signal: np.ndarray, db_per_octave: float) -> np.ndarray:
    """Returns `signal` with its spectrum turned about 1 kHz, level below 100 Hz."""
    n_fft = scipy.fft.next_fast_len(len(signal), real=True)
    frequency_hz = np.maximum(np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE_HZ), 100)
    gain = _amplitude(db_per_octave * np.log2(frequency_hz / 1000))
    return np.fft.irfft(np.fft.rfft(signal, n_fft) * gain, n_fft)[: len(signal)]


def _amplitude(db: np.ndarray | float) -> np.ndarray | float:
    return 10 ** (db / 20)
