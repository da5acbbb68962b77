"""Windows cover a recording, whatever the blocks are in which it is read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.inference.windows import cut


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 9), st.integers(0, 9), st.data())
def test_windows_cover_every_sample_once_or_more(
    sizes: list[int], window: int, longer: int, data: st.DataObject
) -> None:
    hop = data.draw(st.integers(1, window))
    samples = np.arange(sum(sizes), dtype=np.float32)[:, None]
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    if not len(samples):
        return
    found = [*cut(blocks, 1, window + longer, window, hop)]
    for start, part in found:
        np.testing.assert_array_equal(part, samples[int(start) : int(start) + len(part)])
    if len(samples) <= window + longer:
        assert len(found) == 1 and len(found[0][1]) == len(samples)
        return
    starts = [int(start) for start, _ in found]
    assert {len(part) for _, part in found} == {window}
    assert starts[0] == 0 and starts[-1] + window == len(samples)
    assert all(0 < step <= hop for step in np.diff(starts))
    assert all(step == hop for step in np.diff(starts)[:-1])
