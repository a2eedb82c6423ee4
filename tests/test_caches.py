"""The sizes of the caches that tuned numbers are derived from."""

from pathlib import Path

import pytest

from fastrnn._core import probe

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def test_caches_have_plausible_sizes():
    first, second, third = probe.cache_sizes()
    assert 4096 <= first <= 2**20
    assert first < second <= 2**28
    assert third == 0 or third >= 2**18


@pytest.mark.skipif(not CACHES.is_dir(), reason="the system does not describe its caches")
def test_caches_are_those_that_the_system_describes():
    expected = [0, 0, 0]
    for folder in CACHES.glob("index*"):
        if (folder / "type").read_text().strip() != "Instruction":
            size = (folder / "size").read_text().strip()
            unit = {"K": 2**10, "M": 2**20}
            expected[int((folder / "level").read_text()) - 1] = int(size[:-1]) * unit[size[-1]]
    assert all(size == wanted for size, wanted in zip(probe.cache_sizes(), expected, strict=True) if wanted)
