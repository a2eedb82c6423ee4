"""The bits of results are a contract: every processor with fused multiply-add, any number of threads."""

import json

import bits
import pytest

import fastrnn

KNOWN = json.loads(bits.FILE.read_text())


@pytest.mark.skipif(fastrnn.config()["isa"] == "baseline", reason="no fused multiply-add: other bits")
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_bits_are_those_of_every_version_before(num_threads):
    sums = {name: bits.checksum(number, num_threads) for number, name in enumerate(bits.names())}
    different = [name for name in KNOWN if sums[name] != KNOWN[name]]
    assert sums.keys() == KNOWN.keys() and not different
