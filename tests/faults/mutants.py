"""Corrupted audio files: mutated good ones, wrong headers, and samples that no microphone records."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence

import numpy as np
import soundfile

Generator = np.random.Generator
RATE_HZ = 16_000

CONTAINERS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AU", "PCM_16"),
    ("W64", "PCM_16"),
    ("CAF", "PCM_16"),
]

# Offset, struct format and name of what the header of a canonical WAV says.
WAV_FIELDS = [
    (4, "<I", "size of the file"),
    (16, "<I", "size of the format"),
    (20, "<H", "format"),
    (22, "<H", "channels"),
    (24, "<I", "rate"),
    (28, "<I", "bytes a second"),
    (32, "<H", "bytes a frame"),
    (34, "<H", "bits"),
    (40, "<I", "bytes of audio"),
]
AIFF_FIELDS = [
    (4, ">I", "size of the file"),
    (8, ">H", "channels"),
    (10, ">I", "frames"),
    (14, ">H", "bits"),
    (16, ">H", "exponent of the rate"),
    (18, ">Q", "mantissa of the rate"),
]
FLAC_FIELDS = [(20, "rate"), (3, "channels"), (5, "bits"), (36, "frames")]  # bits of the 8 bytes at 18
WRONG_SIZES = [
    0,
    1,
    2,
    3,
    8,
    32,
    255,
    1024,
    0x7FFF,
    0xFFFF,
    192_000,
    768_001,
    10**9,
    2**31 - 1,
    2**32 - 1,
    2**36 - 1,
]


def voiced(rng: Generator, n_samples: int) -> np.ndarray:
    """Returns a buzz with four syllables a second and noise, float64 (n_samples,)."""
    time_s = np.arange(n_samples) / RATE_HZ
    phase = 2 * np.pi * rng.uniform(80, 300) * time_s
    buzz = sum(np.sin(k * phase) / k for k in range(1, 8))
    return 0.2 * np.sin(4 * np.pi * time_s) ** 2 * buzz + rng.normal(0, 0.01, n_samples)


def encoded(
    samples: np.ndarray, rate_hz: int = RATE_HZ, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """Returns `samples` (n_samples,) or (n_samples, n_channels) as a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


def good(rng: Generator) -> bytes:
    """Returns a sound file in one of CONTAINERS, a third of a second or more."""
    container, subtype = CONTAINERS[rng.integers(len(CONTAINERS))]
    return encoded(voiced(rng, int(rng.integers(5_000, 12_000))), RATE_HZ, container, subtype)


def flip_bits(rng: Generator, content: bytes, most: int = 64) -> bytes:
    """Flips some bits anywhere."""
    changed = np.frombuffer(content, np.uint8).copy()
    at = rng.integers(len(changed), size=rng.integers(1, most + 1))
    changed[at] ^= (1 << rng.integers(8, size=len(at))).astype(np.uint8)
    return changed.tobytes()


def flip_bits_of_the_header(rng: Generator, content: bytes) -> bytes:
    """Flips a few bits of the first bytes."""
    return flip_bits(rng, content[:100], most=4) + content[100:]


def truncate(rng: Generator, content: bytes) -> bytes:
    """Keeps the beginning: of the whole, or of the header."""
    return content[: rng.integers(len(content) if rng.random() < 0.7 else 100)]


def behead(rng: Generator, content: bytes) -> bytes:
    """Drops the beginning."""
    return content[rng.integers(1, len(content) if rng.random() < 0.5 else 100) :]


def splice(rng: Generator, content: bytes) -> bytes:
    """Cuts a piece out, doubles one, or puts noise, zeros or ones in its place."""
    start, stop = np.sort(rng.integers(len(content), size=2))
    piece = content[start:stop]
    put = [b"", piece * 2, rng.bytes(len(piece)), bytes(len(piece)), b"\xff" * len(piece)]
    return content[:start] + put[rng.integers(len(put))] + content[stop:]


def cross(rng: Generator, content: bytes) -> bytes:
    """Puts the end of another file after the beginning."""
    other = good(rng)
    return content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]


def noise(rng: Generator, content: bytes) -> bytes:
    """Keeps the magic number and makes all the rest up."""
    return content[: rng.integers(4, 13)] + rng.bytes(int(rng.integers(1, 20_000)))


MUTATIONS: dict[str, Callable[[Generator, bytes], bytes]] = {
    "bits flipped": flip_bits,
    "bits of the header flipped": flip_bits_of_the_header,
    "truncated": truncate,
    "beginning lost": behead,
    "spliced": splice,
    "two files in one": cross,
    "noise after the magic number": noise,
}


def wrong_header(rng: Generator) -> bytes:
    """Returns a WAV, AIFF or FLAC file whose header says something else, once or twice."""
    container = ("WAV", "AIFF", "FLAC")[rng.integers(3)]
    subtype = "FLOAT" if container != "FLAC" and rng.random() < 0.3 else "PCM_16"
    content = bytearray(encoded(voiced(rng, 8_000), RATE_HZ, container, subtype))
    for _ in range(rng.integers(1, 3)):
        value = WRONG_SIZES[rng.integers(len(WRONG_SIZES))]
        if container == "FLAC":
            lie_to_flac(rng, content, value)
            continue
        fields = WAV_FIELDS if container == "WAV" else AIFF_FIELDS
        at, form, _ = fields[rng.integers(len(fields))]
        if container == "AIFF" and at > 4:
            at += content.find(b"COMM")
        struct.pack_into(form, content, at, value % 256 ** struct.calcsize(form))
    return bytes(content)


def lie_to_flac(rng: Generator, content: bytearray, value: int) -> None:
    """Overwrites one field of STREAMINFO."""
    chosen = rng.integers(len(FLAC_FIELDS))
    width, below = FLAC_FIELDS[chosen][0], sum(bits for bits, _ in FLAC_FIELDS[chosen + 1 :])
    fields = int.from_bytes(content[18:26], "big")
    mask = (2**width - 1) << below
    fields = fields & ~mask | (value % 2**width) << below
    content[18:26] = fields.to_bytes(8, "big")


def odd_samples(rng: Generator) -> bytes:
    """Returns a sound file, whole and honest, whose samples are none of speech."""
    n = int(rng.integers(4_000, 9_000))
    tone = voiced(rng, n)
    signals = [
        np.where(np.arange(n) == rng.integers(n), np.nan, tone),
        np.full(n, np.nan),
        np.where(np.arange(n) == rng.integers(n), rng.choice([-np.inf, np.inf]), tone),
        tone * 10.0 ** rng.integers(-45, 39),
        np.full(n, rng.uniform(-1, 1)),  # direct current
        np.sign(tone),  # clipped
        np.resize([1.0, -1.0], n),  # the highest frequency there is
        (np.arange(n) == rng.integers(n)).astype(float),  # a click
        np.zeros(n),
        tone[: rng.integers(3)],
        rng.normal(0, 1e-4, n),
        tone + 0.9,
    ]
    signal = signals[rng.integers(len(signals))]
    with np.errstate(over="ignore"):
        return encoded(signal.astype(np.float32), RATE_HZ, ("WAV", "AIFF")[rng.integers(2)], "FLOAT")


def odd_formats(rng: Generator) -> bytes:
    """Returns a sound file, whole and honest, with an uncommon rate, number of channels or length."""
    rate_hz = int(rng.choice([1, 999, 1_000, 8_000, 11_025, 96_000, 192_000, 768_000, 768_001, 10**6]))
    n_channels = int(rng.choice([1, 2, 3, 8, 32, 255]))
    n_samples = int(rng.choice([1, 2, 1_000, 100_000])) // n_channels + 1
    signal = np.stack([voiced(rng, n_samples) for _ in range(n_channels)], axis=1)
    return encoded(signal, rate_hz, "WAV", "PCM_16")


def no_audio(rng: Generator) -> bytes:
    """Returns nothing, text, a Git LFS pointer or another kind of file under a sound's name."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n".encode()
    return [b"", b"no sound\n" * 99, pointer, b"\x89PNG\r\n\x1a\n" + rng.bytes(500), b"PK\3\4" + bytes(99)][
        rng.integers(5)
    ]


MADE: dict[str, Callable[[Generator], bytes]] = {
    "wrong header": wrong_header,
    "samples that are no speech": odd_samples,
    "odd rate, channels or length": odd_formats,
    "no audio at all": no_audio,
}
KINDS = [*MUTATIONS, *MADE]


def mutant(rng: Generator, kind: str, real: Sequence[bytes] = ()) -> bytes:
    """Returns a file of the kind, made of a real recording in half of the cases where there are any."""
    if kind in MADE:
        return MADE[kind](rng)
    content = real[rng.integers(len(real))] if real and rng.random() < 0.5 else good(rng)
    return MUTATIONS[kind](rng, content)
