from __future__ import annotations

import numpy as np
import pytest

from stages.data.keys import rng


def test_the_same_key_gives_the_same_stream() -> None:
    np.testing.assert_array_equal(rng(1, "tess/a", 2).random(5), rng(1, "tess/a", 2).random(5))


@pytest.mark.parametrize("other", [(2, "tess/a", 2), (1, "tess/b", 2), (1, "tess/a", 3), (1, "tess/a", "2")])
def test_another_key_gives_another_stream(other: tuple) -> None:
    assert not np.array_equal(rng(*other).random(5), rng(1, "tess/a", 2).random(5))


def test_the_stream_never_changes() -> None:
    """By hand: PCG64 seeded with a SHA-256's half: `printf '[20, "demo/x", 1]' | sha256sum | cut -c-32`."""
    seed = 0x375EFCF40A41859F07E3CDECEDA61231
    expected = np.random.Generator(np.random.PCG64(seed)).random(3)
    np.testing.assert_array_equal(rng(20, "demo/x", 1).random(3), expected)
