"""Every cell, forward and training step: fastrnn, its NumPy twin, and PyTorch where it is installed."""

import pytest

from fastrnn.bench import cases, peers, problem

WHO = {"fastrnn": peers.OURS, "numpy": peers.PEERS["numpy"], "torch": peers.PEERS["torch"]}


def rows():
    """Every case with everyone who has its cell."""
    for case in cases.table():
        for name, peer in WHO.items():
            if peer.supports(case):
                yield pytest.param(case, name, id=f"{case.mode} {case}-{name}")


@pytest.mark.parametrize(("case", "name"), list(rows()))
def test_case(case, name, cores, timed, benchmark):
    if WHO[name].version() is None:
        pytest.skip(f"{name} is not installed")
    benchmark.group = f"{case.mode} {case}"
    timed(WHO[name].build(problem.make(case), cores).run, case.flops())
