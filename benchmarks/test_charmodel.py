"""The whole training step of the character model: gather, loss, backward, clip, RMSprop."""

import pytest

from fastrnn.bench import charmodel, peers


@pytest.mark.parametrize("name", ["fastrnn", "torch", "numpy"])  # those of this process
@pytest.mark.parametrize("model", charmodel.MODELS, ids=str)
def test_model(model, name, cores, timed, benchmark):
    if name != "fastrnn" and peers.PEERS[name].version() is None:
        pytest.skip(f"{name} is not installed")
    benchmark.group = str(model)
    timed(charmodel.RIVALS[name](model, cores), model.flops())
