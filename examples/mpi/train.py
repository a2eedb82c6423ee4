"""Trains a tagger on several processes, or several machines: each step's batches are shared by the ranks of MPI.

    mpiexec -n 2 python -m mpi4py examples/mpi/train.py run.safetensors

`-m mpi4py` ends all ranks where one of them raises an exception; without it the others would wait for it for ever.
Started again, the run goes on from its checkpoint, also on another number of ranks, as long as ranks times accumulated
batches are as many: the weights are the same bit for bit.
"""

import sys
from functools import partial

import numpy as np
from mpi4py import MPI

import fastrnn


def sequences(n, seed):
    """Random walks, and at each step whether the walk has ever been above 4."""
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal((length, 1)).astype(np.float32) for length in rng.integers(20, 60, n)]
    return inputs, [np.maximum.accumulate(one[:, 0].cumsum() > 4).astype(np.int64) for one in inputs]


def main(checkpoint):
    comm = MPI.COMM_WORLD
    gru = fastrnn.GRU(1, 32, seed=1)
    model = fastrnn.SequenceModel(gru, fastrnn.Linear(32, 2, seed=2))
    history = fastrnn.fit(
        model,
        *sequences(400, seed=3),
        validation=sequences(100, seed=4),
        epochs=6,
        batch_size=16,
        accumulate=max(1, 2 // comm.Get_size()),  # two batches a step on one rank and on two
        optimizer=partial(fastrnn.Adam, lr=0.01),
        checkpoint=checkpoint,
        resume=True,
        comm=comm,
        ordered=True,
        num_threads=1,  # ranks times threads: not more than there are cores
    )
    if comm.Get_rank() == 0:
        loss = history.validation_loss[-1]
        print(f"{comm.Get_size()} ranks, {len(history.epochs)} epochs, validation loss {loss:.6f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"train.py: expected one argument, the checkpoint\n\n{__doc__}")
    main(sys.argv[1])
