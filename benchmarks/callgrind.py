"""Guards the number of instructions of a few fixed workloads against `budget.json`, within 2 %.

    python benchmarks/callgrind.py            compare and print a table; exit code 1 if anything costs more
    python benchmarks/callgrind.py --update   write today's counts as the new budget

Callgrind simulates a processor, so the counts do not depend on the machine or on what else it does,
and it knows AVX2 but not AVX-512: FASTRNN_ISA=avx2 on every machine. They do depend on the compiler
and a little on Python: with other versions than the budget's the comparison is printed but is no
verdict. Without Valgrind, or on a processor without AVX2, nothing is checked.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGET = Path(__file__).with_name("budget.json")
TOLERANCE = 0.02
FRAME = "fr_bench_counted"  # the C function of fastrnn._core.probe that calls what is counted
ISA = "avx2"


def workloads():
    """By name: callables, each small enough for a simulated processor and large enough for Python not to count."""
    import numpy as np

    import fastrnn

    rng = np.random.default_rng(0)

    def training(kind, batch, time, inputs, hidden):
        layer = kind(inputs, hidden, seed=0)
        x = rng.standard_normal((time, batch, inputs), dtype=np.float32)
        dy = rng.standard_normal((time, batch, hidden), dtype=np.float32)

        def run():
            _, _, tape = layer.forward(x)
            layer.backward(tape, dy)

        return run

    def inference(kind, batch, time, inputs, hidden):
        layer = kind(inputs, hidden, seed=0)
        x = rng.standard_normal((time, batch, inputs), dtype=np.float32)
        return lambda: layer(x)

    def steps(kind, hidden, calls):
        stream = kind(hidden, hidden, seed=0).stream()
        x = rng.standard_normal((1, hidden), dtype=np.float32)

        def run():
            for _ in range(calls):
                stream.step(x)

        return run

    def chosen_steps(kind, hidden, calls):
        stream = kind(hidden, hidden, seed=0).stream()
        x = rng.standard_normal((1, hidden), dtype=np.float32)
        mask, reset = np.ones(1, bool), np.zeros(1, bool)

        def run():
            for _ in range(calls):
                stream.step(x, mask=mask, reset=reset)

        return run

    return {
        "lstm training 16,10,64,96": training(fastrnn.LSTM, 16, 10, 64, 96),
        "gru training 16,10,64,96": training(fastrnn.GRU, 16, 10, 64, 96),
        "rnn training 16,10,64,96": training(fastrnn.RNN, 16, 10, 64, 96),
        "ugrnn training 16,10,64,96": training(fastrnn.UGRNN, 16, 10, 64, 96),
        "lstm training 3,7,33,53": training(fastrnn.LSTM, 3, 7, 33, 53),
        "lstm inference 1,50,64,128": inference(fastrnn.LSTM, 1, 50, 64, 128),
        "lstm stream.step 64, 100 calls": steps(fastrnn.LSTM, 64, 100),
        "gru stream.step 64, 100 calls": steps(fastrnn.GRU, 64, 100),
        "lstm stream.step 64, mask and reset, 100 calls": chosen_steps(fastrnn.LSTM, 64, 100),
    }


def run_workloads():
    """Under Valgrind: run everything, inside the frame the last time alone."""
    from fastrnn._core import probe

    for run in workloads().values():
        for _ in range(2):  # packs weights, allocates what is kept
            run()
        probe.counted(run)


def count():
    """Instructions of every workload."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        # Leaving the frame writes a file and starts from zero: one file for each workload, in order.
        options = [
            f"--toggle-collect={FRAME}",
            f"--dump-after={FRAME}",
            f"--callgrind-out-file={out}",
        ]
        environment = {
            **os.environ,
            "FASTRNN_ISA": ISA,
            "FASTRNN_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        command = ["valgrind", "--tool=callgrind", *options, sys.executable, __file__, "--run"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(
                f"callgrind.py: valgrind ended with code {result.returncode}:\n{result.stderr}"
            )
        return {name: _total(Path(f"{out}.{i}")) for i, name in enumerate(workloads(), start=1)}


def _total(path):
    return int(re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)[1])


def made_with():
    """Versions that a count depends on."""
    from fastrnn._core import probe

    python = ".".join(platform.python_version_tuple()[:2])
    return {"compiler": probe.compiler(), "python": python}


def compare(counts, budget):
    """Print the table; return whether anything costs more than it may."""
    worse = better = False
    print(f"{'instructions':48}{'now':>12}{'budget':>12}{'change':>10}")
    for name in dict.fromkeys([*budget, *counts]):
        now, before = counts.get(name), budget.get(name)
        if now is None or before is None:
            print(f"{name:48}{now or '-':>12}{before or '-':>12}{'no pair':>10}")
            worse = True
            continue
        change = now / before - 1
        worse |= change > TOLERANCE
        better |= change < -TOLERANCE
        mark = "  TOO MANY" if change > TOLERANCE else ""
        print(f"{name:48}{now:12}{before:12}{change:+10.2%}{mark}")
    if better:
        print("Some cost less: keep that with --update.")
    return worse


def missing():
    """Why nothing can be counted here, or None."""
    from fastrnn._core import kernels

    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if ISA not in kernels.available():
        return f"this processor has no {ISA}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write today's counts as the budget")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return run_workloads()
    reason = missing()
    if reason:
        print(f"callgrind.py: nothing checked, {reason}")
        return None
    counts, here = count(), made_with()
    if arguments.update:
        budget = {"made_with": here, "instructions": counts}
        BUDGET.write_text(json.dumps(budget, indent=2) + "\n")
    budget = json.loads(BUDGET.read_text())
    worse = compare(counts, budget["instructions"])
    if budget["made_with"] != here:
        print(f"No verdict: the budget was made with {budget['made_with']}, this is {here}")
        return None
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
