from __future__ import annotations

import io
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from stages.audio.recording import (
    BLOCK_SAMPLES,
    AudioError,
    Recording,
    _complete,
    _unknown_sizes,
    decode,
    load,
    load_listed,
    pre_emphasize,
    resample,
)
from stages.base.errors import InputError

RATE_HZ = 16_000
NOISE = np.random.default_rng(7).uniform(-0.5, 0.5, RATE_HZ).astype(np.float32)
NOISE -= NOISE.mean()


def encoded(container: str = "WAV", subtype: str = "PCM_16", samples: np.ndarray = NOISE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, format=container, subtype=subtype)
    return buffer.getvalue()


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def flac_of_length(n_frames: int) -> bytes:
    """FLAC whose STREAMINFO gives another length: the low 36 bits of the 8 bytes at offset 18."""
    content = encoded("FLAC")
    kept = int.from_bytes(content[18:26], "big") >> 36 << 36
    return patched(content, 18, (kept | n_frames).to_bytes(8, "big"))


# In a canonical WAV the number of channels is at offset 22, the rate at 24, the bytes of data at 40.
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty: 0 bytes"),
    "text": (lambda: b"no sound, " * 50, "not audio or damaged: Format not recognised$"),
    "pointer": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 72862\n",
        "a Git LFS pointer instead of audio: run `git lfs pull`",
    ),
    "half a wav": (
        lambda: encoded()[:16_044],
        "truncated: .*32000.* 16000 found",
    ),
    "half an aiff": (lambda: encoded("AIFF")[:16_054], "truncated: 32008 bytes"),
    "half a flac": (lambda: encoded("FLAC")[:9000], "not audio or damaged: .*lost sync"),
    "half an mp3": (
        lambda: encoded("MP3", "MPEG_LAYER_III")[:2500],
        r"truncated: 1\.000 s .* 0\.\d+ s found",
    ),
    "header alone": (lambda: encoded()[:44], "truncated: .*32000.* 0 found"),
    "half a header": (lambda: encoded()[:20], "not audio or damaged"),
    "no samples": (lambda: encoded(samples=NOISE[:0]), "empty: no samples"),
    "0 Hz": (lambda: patched(encoded(), 24, bytes(4)), "not audio or damaged"),
    "2 GHz": (lambda: patched(encoded(), 24, b"\xff\xff\xff\x7f"), "impossible header: 2147483647 Hz"),
    "60000 channels": (lambda: patched(encoded(), 22, b"\x60\xea"), "not audio or damaged"),
    "flac of unknown length": (lambda: flac_of_length(0), "unfinished header: "),
    "NaN": (
        lambda: encoded(subtype="FLOAT", samples=np.where(np.arange(RATE_HZ) < 3, np.nan, NOISE)),
        "not finite: 3 of 16000 samples are NaN, infinite or above",
    ),
    "garbage": (
        lambda: encoded(subtype="FLOAT", samples=np.float32([0.1, -1e30])),
        "not finite: 1 of 2 samples",
    ),
    "infinity": (
        lambda: encoded(subtype="DOUBLE", samples=np.full(10, 1e300)),
        "not finite: 10 of 10 samples",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_raises_the_reason(tmp_path: Path, kind: str) -> None:
    content, reason = BROKEN[kind]
    path = tmp_path / "clip.wav"
    path.write_bytes(content())
    with pytest.raises(AudioError, match=f"^{reason}"):
        decode(path)


def test_a_missing_file_raises_the_reason(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="unreadable: No such file"):
        decode(tmp_path / "clip.wav")


@pytest.mark.parametrize("n_frames", [2**36 - 1, 2**30])
def test_memory_is_bounded_by_the_content_not_the_header(tmp_path: Path, n_frames: int) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(flac_of_length(n_frames))
    with pytest.raises(AudioError, match=r"too long: \d+\.\d s by its header, limit 120 s"):
        decode(path, longest_s=120)
    tracemalloc.start()
    with pytest.raises(AudioError):
        decode(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**20  # although the header gives 256 GB or 4 GB


def test_longest_s_is_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded())
    assert decode(path, longest_s=1.0).duration_s == 1.0
    with pytest.raises(AudioError, match=r"too long: 1\.0 s by its header, limit 0\.99 s"):
        decode(path, longest_s=0.99)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF", "FLAC", "RF64", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_the_format_is_detected_from_the_content(tmp_path: Path, container: str, subtype: str) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(container, subtype))
    recording = decode(path)
    assert recording.samples.dtype == np.float32
    assert (recording.sample_rate_hz, recording.n_channels, recording.duration_s) == (RATE_HZ, 1, 1.0)
    np.testing.assert_allclose(recording.samples, NOISE, atol=2**-15)


@pytest.mark.parametrize("bitrate_mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_length_is_decoded(tmp_path: Path, bitrate_mode: str) -> None:
    path = tmp_path / "clip.mp3"
    soundfile.write(path, np.tile(NOISE, 3), 44_100, subtype="MPEG_LAYER_III", bitrate_mode=bitrate_mode)
    content = path.read_bytes()
    table = max(content.find(b"Xing"), content.find(b"Info"))
    path.write_bytes(content[content.find(content[:2], table) :])  # without the frame with the length
    assert decode(path).samples.size > 0


def test_an_mp3_of_several_blocks_is_decoded_as_a_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seconds = np.arange(10 * 22_050) / 22_050
    bursts = np.resize(NOISE, len(seconds)) * (np.sin(2 * np.pi * 3 * seconds) > 0.9)
    chirp = np.sin(2 * np.pi * (100 * seconds + 150 * seconds**2))
    path = tmp_path / "clip.mp3"
    soundfile.write(path, 0.5 * chirp + bursts, 22_050)
    recording = decode(path)
    assert len(recording.samples) > 2 * BLOCK_SAMPLES
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(recording.samples, whole - whole.mean(), atol=1e-5)
    assert not capfd.readouterr().err


def test_a_wav_written_to_a_pipe_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    for unknown in (b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"):  # ffmpeg's and SoX's
        path.write_bytes(patched(encoded(), 40, unknown))
        assert decode(path).samples.shape == (RATE_HZ,)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    noise = np.resize(NOISE, 100_000)
    noise -= noise.mean()
    channels = np.stack([0.5 * noise, -0.25 * noise, 0 * noise], axis=1)
    soundfile.write(path, channels, RATE_HZ, subtype="FLOAT")
    recording = decode(path)
    assert recording.n_channels == 3
    np.testing.assert_allclose(recording.samples, 0.25 / 3 * noise, atol=1e-7)


# From the publishers' own descriptions: RAVDESS is 48 kHz, TESS 24 414 Hz.
@pytest.mark.parametrize(
    ("name", "rate_hz", "n_channels", "container"),
    [
        ("ravdess/Actor_01/03-01-01-01-01-01-01.wav", 48_000, 1, "WAV"),
        ("ravdess/Actor_01/03-01-02-01-01-02-01.wav", 48_000, 2, "WAV"),
        ("tess/OAF_angry/OAF_back_angry.wav", 24_414, 1, "WAV"),
        ("tess/OAF_fear/OAF_food_fear.wav", 96_000, 1, "WAV"),
        ("tess/YAF_angry/YAF_germ_angry.wav", 24_414, 1, "AIFF"),
        ("tess/YAF_fear/YAF_neat_fear.wav", 24_414, 1, "AIFF"),
    ],
)
def test_files_from_the_publishers_are_decoded(
    corpora: Path, name: str, rate_hz: int, n_channels: int, container: str
) -> None:
    path = corpora / "originals" / name
    assert soundfile.info(path).format.startswith(container)
    recording = decode(path, longest_s=10)
    assert (recording.sample_rate_hz, recording.n_channels) == (rate_hz, n_channels)
    expected = soundfile.read(path, always_2d=True)[0].mean(axis=1)
    assert recording.dc_offset == pytest.approx(expected.mean(), abs=1e-9)
    np.testing.assert_allclose(recording.samples, expected - expected.mean(), atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 24_414, 48_000, 96_000])
def test_resampling_keeps_a_tone(rate_hz: int) -> None:
    def tone(at_hz: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1000 * np.arange(at_hz) / at_hz).astype(np.float32)

    resampled = resample(Recording(tone(rate_hz), rate_hz, 1), RATE_HZ)
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - RATE_HZ) <= 1
    inner = slice(1000, 15_000)  # soxr's filter rings at the ends
    np.testing.assert_allclose(resampled[inner], tone(RATE_HZ)[inner], atol=1e-4)


def test_resampling_to_no_sample_is_an_error() -> None:
    with pytest.raises(AudioError, match=r"^too short: .* 4000 Hz"):
        resample(Recording(np.ones(1, np.float32), 96_000, 1), 4000)


@pytest.mark.parametrize("coefficient", [0.5, 0.97])
def test_pre_emphasis_equals_librosas(coefficient: float) -> None:
    expected = librosa.effects.preemphasis(NOISE, coef=coefficient)
    np.testing.assert_allclose(pre_emphasize(NOISE, coefficient), expected, atol=1e-6)


def test_no_pre_emphasis_changes_nothing() -> None:
    assert pre_emphasize(NOISE, 0.0) is NOISE


def test_load_decodes_mixes_and_resamples(corpora: Path) -> None:
    path = corpora / "originals/ravdess/Actor_01/03-01-02-01-01-02-01.wav"
    mono = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    mono -= mono.mean()
    expected = librosa.resample(mono, orig_sr=48_000, target_sr=RATE_HZ, res_type="soxr_hq", fix=False)
    np.testing.assert_allclose(load(path, RATE_HZ), expected, atol=1e-6)


def test_a_usable_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"clip\.wav: empty: 0 bytes, "):
        load_listed(path, RATE_HZ)


def test_channels_that_cancel_give_the_strongest_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([-0.9 * NOISE, NOISE], axis=1), RATE_HZ, subtype="FLOAT")
    recording = decode(path)
    assert recording.cancelled
    np.testing.assert_allclose(recording.samples, NOISE, atol=1e-6)


def test_independent_channels_are_averaged_and_their_agreement_is_a_half(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([NOISE, NOISE[::-1]], axis=1), RATE_HZ, subtype="FLOAT")
    recording = decode(path)
    assert not recording.cancelled
    assert recording.agreement == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(recording.samples, (NOISE + NOISE[::-1]) / 2, atol=1e-6)


def test_the_mean_is_removed_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, NOISE + 0.05, RATE_HZ, subtype="FLOAT")
    recording = decode(path)
    assert recording.dc_offset == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_allclose(recording.samples, NOISE, atol=1e-6)


@pytest.mark.parametrize("riff", [bytes(4), b"\xff\xff\xff\xff", (36).to_bytes(4, "little")])
def test_a_streamed_wav_with_sizes_of_zero_goes_to_the_end_of_the_file(tmp_path: Path, riff: bytes) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(patched(patched(encoded(), 40, bytes(4)), 4, riff))
    np.testing.assert_allclose(decode(path).samples, NOISE, atol=2**-15)
    assert path.read_bytes()[40:44] == bytes(4)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_flipped_bit_in_an_ogg_file_is_damage(tmp_path: Path, subtype: str) -> None:
    path, rng = tmp_path / "clip.ogg", np.random.default_rng(7)
    content = encoded("OGG", subtype)
    path.write_bytes(content)
    assert abs(len(decode(path).samples) - RATE_HZ) < 100
    for _ in range(100):
        at = int(rng.integers(len(content)))
        path.write_bytes(patched(content, at, bytes([content[at] ^ 1 << int(rng.integers(8))])))
        with pytest.raises(AudioError, match=r"^not audio or damaged"):
            decode(path)


def test_24_bit_samples_in_the_low_bits_of_32_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, (NOISE * 2**23).astype(np.int32), RATE_HZ, subtype="PCM_32")
    with pytest.raises(AudioError, match=r"^wrong scale: 24-bit"):
        decode(path)
    soundfile.write(path, (NOISE * 2**7).astype(np.int32) << 16, RATE_HZ, subtype="PCM_32")  # only quiet
    assert np.abs(decode(path).samples).max() <= 2**-8


def test_samples_of_32_bits_are_read_at_their_scale(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, NOISE, RATE_HZ, subtype="PCM_32")
    np.testing.assert_allclose(decode(path).samples, NOISE - NOISE.mean(), atol=1e-6)


def test_a_chunk_of_odd_size_has_a_byte_more(tmp_path: Path) -> None:
    head = b"RIFF\0\0\0\0WAVEnote\3\0\0\0abc\0fmt \2\0\0\0..data\0\0\0\0"
    assert _unknown_sizes(head) == (4, 38)


def test_a_file_without_samples_is_empty() -> None:
    with pytest.raises(AudioError, match=r"^empty"):
        list(_complete(iter([]), RATE_HZ, 0.0, 0.0))
    one = np.ones((1, 1), np.float32)
    assert list(_complete(iter([one]), RATE_HZ, 0.0, 0.0)) == [one]


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.wav")
    with pytest.raises(AudioError, match=r"^unreadable: not a file"):
        decode(tmp_path / "clip.wav")


def test_samples_without_a_header_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "clip.raw").write_bytes(b"abc" * 100)
    with pytest.raises(AudioError, match=r"^not audio or damaged"):
        decode(tmp_path / "clip.raw")


FFMPEG = [("clip.m4a", "mp4", "aac"), ("clip.webm", "webm", "libopus"), ("clip.wma", "asf", "wmav2")]


def write_with_ffmpeg(path: Path, container: str, codec: str) -> None:
    av = pytest.importorskip("av", reason="needs the extra `av`")
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(np.resize(NOISE, (1, 48_000)), format="fltp", layout="mono")
        frame.rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "container", "codec"), FFMPEG)
def test_what_libsndfile_does_not_read_is_decoded_by_ffmpeg(
    tmp_path: Path, name: str, container: str, codec: str
) -> None:
    path = tmp_path / name
    write_with_ffmpeg(path, container, codec)
    recording = decode(path, longest_s=2)
    assert (recording.sample_rate_hz, recording.n_channels) == (48_000, 1)
    assert recording.duration_s == pytest.approx(1.0, abs=0.1)
    assert recording.samples.std() == pytest.approx(NOISE.std(), rel=0.3)
    with pytest.raises(AudioError, match=r"^too long"):
        decode(path, longest_s=0.5)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"^(not audio or damaged|truncated)"):
        decode(path)


def test_without_the_extra_the_message_says_how_to_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"^no decoder for mp4: .*`av`.*ffmpeg"):
        decode(tmp_path / "clip.m4a")
