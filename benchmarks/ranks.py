"""Training on two ranks of MPI with one thread each, against one process with two threads and with one.

    python benchmarks/ranks.py [--rounds 5]

Strong: the same batches of a step for all. Weak: a step of the two ranks has twice the batches of the single thread's.
Needs mpi4py and mpiexec. Each timing is one run of its own, in turn with the others; the median of the rounds is shown,
as sequences a second over those of one thread, and the time that a step's Allreduce takes by itself.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CASES = {  # hidden units, steps of time, sequences of a batch
    "GRU 64, T 50, batches of 32": (64, 50, 32),
    "GRU 256, T 50, batches of 32": (256, 50, 32),
    "GRU 512, T 25, batches of 8": (512, 25, 8),
}
WAYS = {  # ranks, threads of each, batches of a step
    "1 thread": (1, 1, 2),
    "1 process of 2 threads": (1, 2, 2),
    "2 ranks of 1 thread, strong": (2, 1, 2),
    "2 ranks of 1 thread, weak": (2, 1, 4),
}
STEPS = 20


def train(case: str, threads: int, batches: int) -> None:
    """One run, inside of its process or rank; rank 0 prints seconds a sequence."""
    import numpy as np

    import fastrnn

    H, T, size = CASES[case]
    rng = np.random.default_rng(0)
    n = size * batches * STEPS
    inputs = list(rng.standard_normal((n, T, 32)).astype(np.float32))
    targets = list(rng.integers(0, 8, (n, T)))
    comm, ranks = None, 1
    if "OMPI_COMM_WORLD_SIZE" in os.environ or "PMI_SIZE" in os.environ:
        from mpi4py import MPI

        comm, ranks = MPI.COMM_WORLD, MPI.COMM_WORLD.Get_size()
    model = fastrnn.SequenceModel(fastrnn.GRU(32, H, seed=1), fastrnn.Linear(H, 8, seed=2))
    options = {"batch_size": size, "accumulate": batches // ranks, "comm": comm, "num_threads": threads}
    fastrnn.fit(model, inputs[: size * batches], targets[: size * batches], epochs=2, **options)
    begin = time.perf_counter()
    fastrnn.fit(model, inputs, targets, epochs=1, **options)
    seconds = (time.perf_counter() - begin) / n
    reduce = 0.0
    if comm is not None:
        vector = np.zeros(model.parameter_count, np.float32)
        comm.Barrier()
        begin = time.perf_counter()
        for _ in range(50):
            comm.Allreduce(MPI.IN_PLACE, vector)
        reduce = (time.perf_counter() - begin) / 50
    if comm is None or comm.Get_rank() == 0:
        print(json.dumps({"seconds": seconds, "reduce": reduce, "parameters": model.parameter_count}))


def run(case: str, way: str) -> dict[str, float]:
    """One run in processes of its own."""
    ranks, threads, batches = WAYS[way]
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    own = [sys.executable, str(Path(__file__)), "--one", case, str(threads), str(batches)]
    line = own if ranks == 1 else [str(mpiexec), "-n", str(ranks), *own]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        train(arguments.one[0], int(arguments.one[1]), int(arguments.one[2]))
        return
    for case in CASES:
        rounds = [{way: run(case, way) for way in WAYS} for _ in range(arguments.rounds)]
        base = statistics.median(one["1 thread"]["seconds"] for one in rounds)
        print(f"{case}: {rounds[0]['1 thread']['parameters']} parameters")
        for way in WAYS:
            seconds = statistics.median(one[way]["seconds"] for one in rounds)
            reduce = statistics.median(one[way]["reduce"] for one in rounds)
            told = f", Allreduce {1e3 * reduce:.2f} ms" if reduce else ""
            print(f"    {way:30} {base / seconds:.2f} x the sequences a second of one thread{told}")


if __name__ == "__main__":
    main()
