"""Many sequences scored, and many small models trained, on all cores: by joblib, or by Dask on one machine or more.

    python examples/parallel/many.py joblib
    python examples/parallel/many.py dask

Each process has one thread, so that processes times threads are as many as there are cores. The results are those of
one process, bit for bit: the program compares them.
"""

import sys
from functools import partial

import numpy as np

import fastrnn

WORKERS = 2


def series(seed, length=300):
    """A noisy wave of an unknown frequency, as pairs of one step and the next."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(length + 1) * rng.uniform(0.1, 0.5)) + 0.1 * rng.standard_normal(length + 1)
    wave = wave.astype(np.float32)[:, None]
    return wave[:-1], wave[1:]


def make(seed):
    gru = fastrnn.GRU(1, 16, seed=seed)
    return fastrnn.SequenceModel(gru, fastrnn.Linear(16, 1, seed=seed), fastrnn.squared_error)


def train(seed):
    """A model of one series: the loss that it reaches, and its weights."""
    model, (inputs, targets) = make(seed), series(seed)
    optimizer = partial(fastrnn.Adam, lr=0.01)
    history = fastrnn.fit(model, [inputs], [targets], epochs=30, optimizer=optimizer, num_threads=1)
    return history.train_loss[-1], model.state_dict()


def score(model, sequences):
    """The summed squared error of each sequence."""
    return [model.measure([inputs], [targets], num_threads=1)[0] for inputs, targets in sequences]


def with_joblib(function, chunks):
    from joblib import Parallel, delayed

    return Parallel(n_jobs=WORKERS)(delayed(function)(chunk) for chunk in chunks)


def with_dask(function, chunks):
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        return client.gather(client.map(function, chunks))


def main(how):
    run = {"joblib": with_joblib, "dask": with_dask}[how]
    seeds = range(8)
    trained, alone = run(train, seeds), [train(seed) for seed in seeds]
    assert all(np.array_equal(a, b) for one, other in zip(trained, alone, strict=True)
               for a, b in zip(one[1].values(), other[1].values(), strict=True))  # fmt: skip
    print(f"{len(trained)} models trained by {WORKERS} workers: the bits of one process")
    model, sequences = make(0), [series(seed) for seed in range(100, 164)]
    chunks = [sequences[at : at + 16] for at in range(0, len(sequences), 16)]
    scores = [value for part in run(partial(score, model), chunks) for value in part]
    assert scores == score(model, sequences)
    print(f"{len(scores)} sequences scored by {WORKERS} workers: the bits of one process")


if __name__ == "__main__":
    if sys.argv[1:] not in (["joblib"], ["dask"]):
        sys.exit(f"many.py: expected one argument, joblib or dask\n\n{__doc__}")
    main(sys.argv[1])
