"""Runs programs of other libraries on PyTorch's recurrent layers and, unchanged, on fastrnn's: what does it gain?

    python benchmarks/clients/run.py --all                    every program; hours
    python benchmarks/clients/run.py ppo darts-gru --rounds 3
    python benchmarks/clients/run.py --all --check            do they agree? half an hour

A program runs in turn with PyTorch and with fastrnn, each with glibc's malloc as it comes and kept, in processes pinned
to one core with one thread. The losses of the first training steps, and all results of a program that does not train,
must agree. A line of Markdown for each program goes to standard output, all figures to a file of JSON lines.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import environment

TOLERANCE = 1e-4
KEPT = {  # as in fastrnn/bench/apart.py, which says why
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
OURS = ("-m", "fastrnn.torch", "--report")
WHOLE = str(environment.HERE / "whole_sequences.py")


@dataclass(frozen=True)
class Way:
    """How a program is started: what stands before its name, and whether malloc is kept."""

    before: tuple[str, ...]
    kept: bool = False


WAYS = {
    "torch": Way(()),
    "torch, kept": Way((), kept=True),
    "fastrnn": Way(OURS),
    "fastrnn, kept": Way(OURS, kept=True),
}
# RecurrentPPO calls its LSTM step by step. What whole sequences gain, by PyTorch and by `fastrnn.torch.sb3`.
WHOLE_WAYS = {
    "torch whole": Way((WHOLE, "torch")),
    "torch whole, kept": Way((WHOLE, "torch"), kept=True),
    "fastrnn whole": Way((*OURS, WHOLE, "fastrnn")),
    "fastrnn whole, kept": Way((*OURS, WHOLE, "fastrnn"), kept=True),
}

PROGRAMS = {
    "ppo": ("sb3-contrib RecurrentPPO, 1 environment", "recurrent_ppo.py"),
    "ppo-8": ("sb3-contrib RecurrentPPO, 8 environments", "recurrent_ppo.py --environments 8"),
    "neuralforecast-lstm": ("neuralforecast LSTM 2x128", "neuralforecast_train.py lstm"),
    "neuralforecast-recurrent": ("neuralforecast LSTM 2x128, projection", "neuralforecast_train.py lstm --recurrent"),
    "neuralforecast-gru": ("neuralforecast GRU 2x200", "neuralforecast_train.py gru"),
    "neuralforecast-deepar": ("neuralforecast DeepAR 2x128", "neuralforecast_train.py deepar"),
    "neuralhydrology-64": ("neuralhydrology CudaLSTM 64", "neuralhydrology_cudalstm.py --hidden 64 --updates 60"),
    "neuralhydrology-128": ("neuralhydrology CudaLSTM 128", "neuralhydrology_cudalstm.py --hidden 128 --updates 40"),
    "neuralhydrology-256": ("neuralhydrology CudaLSTM 256", "neuralhydrology_cudalstm.py --hidden 256 --updates 20"),
    "gluonts-40": ("gluonts DeepAR 2x40", "gluonts_deepar.py"),
    "gluonts-128": ("gluonts DeepAR 2x128", "gluonts_deepar.py --hidden 128 --epochs 15"),
    "forecasting-lstm": ("pytorch-forecasting DeepAR LSTM 2x30", "pytorch_forecasting_deepar.py LSTM"),
    "forecasting-ragged": ("the same, ragged", "pytorch_forecasting_deepar.py LSTM --ragged"),
    "forecasting-gru": ("pytorch-forecasting DeepAR GRU 2x30, ragged", "pytorch_forecasting_deepar.py GRU --ragged"),
    "darts-lstm": ("darts RNNModel LSTM 25, float64", "darts_rnn.py LSTM"),
    "darts-lstm-32": ("darts RNNModel LSTM 25, float32", "darts_rnn.py LSTM --float32"),
    "darts-gru": ("darts RNNModel GRU 25, float64", "darts_rnn.py GRU"),
    "metapredict": ("metapredict, 8000 proteins", "metapredict_predict.py"),
}


def ways_of(name, kept=True):
    """The ways a program is run, without those that keep malloc unless `kept`."""
    ways = WAYS | (WHOLE_WAYS if name.startswith("ppo") else {})
    return {each: way for each, way in ways.items() if kept or not way.kept}


# ---------------------------------------------------------------------------------------------------------- one run


class ProgramFailed(Exception):  # noqa: N818  # not an error of this script
    """A program ended with an error, or without its line."""


@dataclass(frozen=True)
class Machine:
    """Where the programs run: the environment's Python, the processor, and this checkout where it is used in place."""

    python: Path
    core: int
    in_place: bool

    def run(self, program, way, *options):
        """Run a program; return the line it prints, with the seconds of its whole process.

        Raises
        ------
        ProgramFailed
        """
        script, *arguments = program.split()
        script = str(environment.HERE / script)
        command = [self.python, "-W", "ignore", *way.before, script, *arguments, *options]
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            process = subprocess.run(
                command,
                cwd=folder,
                env=self._variables(way),
                capture_output=True,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {self.core}),
            )
            seconds = time.perf_counter() - begin
        lines = [line for line in process.stdout.splitlines() if line.startswith("{")]
        if process.returncode or not lines:
            raise ProgramFailed(f"{' '.join(map(str, command))} failed:\n{process.stderr[-3000:]}")
        return json.loads(lines[-1]) | {"process_seconds": seconds, "calls": calls(process.stderr)}

    def _variables(self, way):
        variables = {name: value for name, value in os.environ.items() if name not in (*KEPT, "PYTHONPATH")}
        variables |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
        if self.in_place:
            variables["PYTHONPATH"] = str(environment.CHECKOUT)
        return variables | KEPT if way.kept else variables


def calls(text):
    """What `--report` printed: {"lstm: fastrnn": 120, ...}."""
    found = {}
    for line in text.splitlines():
        name, _, count = line.rpartition(": ")
        if name.split(": ")[-1] == "fastrnn" or ": torch: " in name:
            found[name] = int(count)
    return found


# ---------------------------------------------------------------------------------------------------------- compare


def distance(theirs, ours):
    """The largest relative difference of two runs' losses; where a program does not train, of its results."""
    if theirs["losses"]:
        pairs = list(zip(theirs["losses"], ours["losses"], strict=True))
        return max(abs(one - other) / abs(one) for one, other in pairs)
    worst = 0.0
    for name, one in theirs["results"].items():
        other = ours["results"][name]
        if one["shape"] != other["shape"]:
            return math.inf
        pairs = [(one["mean"], other["mean"]), *zip(one["first"], other["first"], strict=True)]
        worst = max(worst, *(abs(a - b) / one["largest"] for a, b in pairs))
    return worst


def in_turn(machine, name, rounds, ways):
    """A list of runs for each way; each round begins with another."""
    runs = {way: [] for way in ways}
    order = list(ways)
    for _ in range(rounds):
        for way in order:
            run = machine.run(PROGRAMS[name][1], ways[way])
            runs[way].append(run)
            print(f"{name}: {way}: {run['seconds']:.2f} s of {run['process_seconds']:.2f}", file=sys.stderr)
        order = order[1:] + order[:1]
    return runs


def agreement(name, runs):
    """How far each way is from PyTorch, whether runs repeat, and which calls went where."""
    first = runs["torch"][0]
    return {
        "name": name,
        "distances": {way: distance(first, taken[0]) for way, taken in runs.items()},
        "repeats": all(distance(taken[0], run) == 0 for taken in runs.values() for run in taken),
        "calls": runs["fastrnn"][0]["calls"],
    }


def check(machine, name):
    """What two runs with PyTorch and one of each other way agree on."""
    runs = in_turn(machine, name, 1, ways_of(name, kept=False))
    runs["torch"] += in_turn(machine, name, 1, {"torch": WAYS["torch"]})["torch"]
    return agreement(name, runs)


def measure(machine, name, rounds):
    """All figures of one program."""
    runs = in_turn(machine, name, rounds, ways_of(name))
    seconds = {way: statistics.median(run["seconds"] for run in taken) for way, taken in runs.items()}
    recurrent = machine.run(PROGRAMS[name][1], WAYS["torch"], "--profile")
    return agreement(name, runs) | {
        "rounds": rounds,
        "seconds": seconds,
        "process_seconds": {
            way: statistics.median(run["process_seconds"] for run in taken) for way, taken in runs.items()
        },
        "recurrent": recurrent["recurrent_seconds"] / recurrent["seconds"],
        "processor": processor(),
        "when": time.strftime("%Y-%m-%d %H:%M"),
    }


def processor():
    """The name of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()


# ------------------------------------------------------------------------------------------------------------ print

HEADER = """| program | torch, s | ratio | malloc kept | with start | recurrent | bound | losses agree to |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def rows(figures):
    """The program's lines of the table."""
    seconds = figures["seconds"]
    share = figures["recurrent"]
    process = figures["process_seconds"]
    kinds = {"": ("torch", "fastrnn")}
    if "fastrnn whole" in seconds:
        kinds |= {"torch, whole sequences": ("torch", "torch whole"), "whole sequences": ("torch", "fastrnn whole")}
    for what, (theirs, ours) in kinds.items():
        cells = [
            PROGRAMS[figures["name"]][0] + (f": {what}" if what else ""),
            f"{seconds[theirs]:.1f}",
            f"{seconds[theirs] / seconds[ours]:.2f}",
            f"{seconds[f'{theirs}, kept'] / seconds[f'{ours}, kept']:.2f}",
            f"{process[theirs] / process[ours]:.2f}",
            f"{share:.2f}" if not what else "",
            f"{1 / (1 - share):.1f}" if not what else "",
            f"{figures['distances'][ours]:.0e}",
        ]
        yield "| " + " | ".join(cells) + " |"


def checked(figures):
    """What a check prints of the program."""
    distances = ", ".join(f"{way} {apart:.0e}" for way, apart in figures["distances"].items() if way != "torch")
    taken = ", ".join(f"{count} {name}" for name, count in figures["calls"].items())
    yield f"{figures['name']:26}{distances}; calls: {taken}"


def means(all_figures):
    """The geometric means of the two ratios, over the programs."""
    ratios = {
        words: [each["seconds"][f"torch{kept}"] / each["seconds"][f"fastrnn{kept}"] for each in all_figures]
        for words, kept in (("as it comes", ""), ("kept", ", kept"))
    }
    return ", ".join(f"{statistics.geometric_mean(values):.2f} with malloc {words}" for words, values in ratios.items())


def complaints(figures):
    """What is wrong with a program's runs."""
    for way, apart in figures["distances"].items():
        if not apart <= TOLERANCE:
            yield f"{figures['name']}: {way} is {apart:.1e} from torch; expected at most {TOLERANCE:.0e}"
    if not figures["repeats"]:
        yield f"{figures['name']}: two runs with the same seed differ"
    for name, count in figures["calls"].items():
        if not name.endswith(": fastrnn"):
            yield f"{figures['name']}: {count} calls went to PyTorch: {name}"
    if not figures["calls"]:
        yield f"{figures['name']}: no call reached fastrnn"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Programs: {', '.join(PROGRAMS)}",
    )
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="which to run")
    parser.add_argument("--all", action="store_true", help="run every program")
    parser.add_argument("--check", action="store_true", help="one run of each, with nothing but their agreement shown")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind; 5")
    parser.add_argument("--venvs", type=Path, default=environment.default_folder(), help="folder for the environment")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="processor to run on; the last")
    parser.add_argument("--json", type=Path, default=Path("clients.jsonl"), help="file that figures are added to")
    parser.add_argument("--in-place", action="store_true", help="use this checkout as built, not installed")
    options = parser.parse_args()
    names = list(PROGRAMS) if options.all else options.programs
    if not names or not set(names) <= set(PROGRAMS):
        parser.error(f"programs are {names}; expected --all or some of {', '.join(PROGRAMS)}")

    machine = Machine(environment.prepare(options.venvs, options.in_place), options.core, options.in_place)
    if not options.check:
        print(HEADER)
    figures, wrong = [], []
    for name in names:
        try:
            figures.append(check(machine, name) if options.check else measure(machine, name, options.rounds))
        except ProgramFailed as error:
            wrong.append(f"{name}: {error}")
            continue
        if not options.check:
            with options.json.open("a") as file:
                file.write(json.dumps(figures[-1]) + "\n")
        print(*(checked if options.check else rows)(figures[-1]), sep="\n", flush=True)
        wrong += complaints(figures[-1])
    if figures and not options.check:
        print(f"\nGeometric mean over {len(figures)}: {means(figures)}. {processor()}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
