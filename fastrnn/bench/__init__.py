"""Measures fastrnn beside other packages and beside what the processor can do: `fastrnn bench`.

    cases      what is run: cell, sizes, arithmetic, bytes of weights
    cores      which processors, and how a process is kept on them
    machine    FMA peak, read bandwidth of each cache, barrier; the bound of a case
    problem    weights and inputs of a case, and whether two results agree
    peers/     fastrnn, its NumPy twin, PyTorch, ONNX Runtime, OpenVINO, JAX, Keras: a small class each
    apart      a peer in a process of its own, for settings that are read when a process starts
    measure    rounds in which everybody takes a turn
    sections   what is measured: cases, the character model, latencies, memory
    worker     one process per number of cores, pinned, prints results as JSON lines
    report     tables and geometric means
    plot       the picture

Nothing but the command (`cli/bench.py`, `cli/bench_run.py`) imports this.
`benchmarks/README.md` says how to read the figures.
"""
