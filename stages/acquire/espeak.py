"""eSpeak NG, the formant synthesiser, from the library that the package espeakng-loader carries.

Its breath is random, seeded by the clock, and its flutter continues from one utterance to the next while the
library is loaded, so the same call twice gives different samples. Here the seed is set and each series is
spoken in order in a separate process: the same series gives the same samples.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.base.errors import InputError
from stages.compute.lifetime import check_semaphores, end_with_parent

SAMPLE_RATE_HZ = 22_050

# From the library's speak_lib.h.
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: espeak_Synth returns when all is spoken
_DONT_EXIT = 0x8000  # espeak_Initialize returns an error where it would end the process
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER


class _Voice(ctypes.Structure):  # the beginning of espeak_VOICE
    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p))


_Receiver = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

_REMEDY = "The corpus 'demo' needs it: `pip install --force-reinstall espeakng-loader`."


@dataclass(frozen=True)
class Utterance:
    """What to say, and how.

    Attributes:
        voice: language and variant, as in `en-us+f2`.
        text: in English spelling.
        rate_wpm: words per minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own, 100 would be an octave up and 0 an octave down.
        pitch_range: 0 to 99; 50 is the voice's own in Hz, 100 would be twice that and 0 is a monotone.
    """

    voice: str
    text: str
    rate_wpm: int
    pitch: int
    pitch_range: int


class Synthesiser:
    """The library, loaded and ready to speak.

    Raises:
        InputError: the package is missing, or its library or voices do not load.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            voices = espeakng_loader.get_data_path()
        except ImportError as error:
            raise InputError(f"The package espeakng-loader is not installed. {_REMEDY}") from error
        except (OSError, RuntimeError) as error:
            raise InputError(f"eSpeak NG does not load ({error}). {_REMEDY}") from error
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, voices.encode(), _DONT_EXIT) != SAMPLE_RATE_HZ:
            raise InputError(f"eSpeak NG finds no voices in {voices}. {_REMEDY}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,  # text
            ctypes.c_size_t,  # its size
            ctypes.c_uint,  # position
            ctypes.c_int,  # kind of position
            ctypes.c_uint,  # end position
            ctypes.c_uint,  # flags
            ctypes.c_void_p,  # identifier
            ctypes.c_void_p,  # user data
        ]
        self._library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self._pieces: list[bytes] = []
        self._receiver = _Receiver(self._receive)  # the library keeps a bare pointer to it
        self._library.espeak_SetSynthCallback(self._receiver)

    def _receive(self, samples: int | None, n_samples: int, _events: Any) -> int:
        if samples:
            self._pieces.append(ctypes.string_at(samples, 2 * n_samples))
        return 0

    def say(self, utterance: Utterance) -> np.ndarray:
        """Returns int16 (n_samples,) at SAMPLE_RATE_HZ.

        Raises:
            InputError: the voice is missing.
        """
        self._pieces.clear()
        self._set_voice(utterance.voice)
        self._library.espeak_SetParameter(_RATE, utterance.rate_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, utterance.pitch, 0)
        self._library.espeak_SetParameter(_RANGE, utterance.pitch_range, 0)
        text = utterance.text.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 0, 0, _UTF8, None, None)
        return np.frombuffer(b"".join(self._pieces), np.int16)

    def _set_voice(self, name: str) -> None:
        """Sets a voice; without it the library would speak as the previous one, or without the variant."""
        missing = self._library.espeak_SetVoiceByName(name.encode()) != 0
        found = self._library.espeak_GetCurrentVoice().contents.identifier.decode()
        if missing or found.partition("+")[2] != name.partition("+")[2]:
            raise InputError(f"eSpeak NG has no voice '{name}'. {_REMEDY}")


def speak(utterances: Iterable[Utterance]) -> Iterator[np.ndarray]:
    """Yields each utterance as int16 (n_samples,) at SAMPLE_RATE_HZ, spoken one after the other.

    Raises:
        InputError: see Synthesiser and `Synthesiser.say`.
    """
    check_semaphores()
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the library where it is loaded
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, initializer=end_with_parent) as process:
        yield from process.map(_say, utterances)


def _say(utterance: Utterance) -> np.ndarray:
    return _synthesiser().say(utterance)


@functools.cache
def _synthesiser() -> Synthesiser:
    return Synthesiser()
