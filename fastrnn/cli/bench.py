"""`fastrnn bench`: this package beside others and beside what the processor can do (see `fastrnn.bench`)."""

import argparse

from fastrnn.cells import CELLS
from fastrnn.errors import UserError

from . import output
from .options import Commands, file_name
from .picture import picture

_MOST_SECONDS = 24 * 3600


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure the speed beside other packages'",
        description="Measures the processor, then every case by fastrnn and by every peer, turn by turn on the same "
        "weights and inputs and the same cores, after checking that their results agree.",
    )
    parser.add_argument(
        "--cases",
        nargs="*",
        metavar="CASE",
        help="inference, training or [MODE:]B,T,I,H[,LAYERS]; nothing for no cases [both tables]",
    )
    parser.add_argument("--quick", action="store_true", help="few small cases, little time")
    parser.add_argument(
        "--cell", nargs="+", choices=tuple(CELLS), default=tuple(CELLS), help="only these cells"
    )
    parser.add_argument(
        "--cores", nargs="+", type=int, default=[1], metavar="INT", help="one table for each number of cores [1]"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="torch, torch-kept (malloc kept), ort, openvino, jax, keras, no-onednn (PyTorch without it), "
        "numpy (the twin) [those of the first six that are installed]",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="FLOAT", help="for each case [2, quick 0.2]"
    )
    parser.add_argument("--rounds", type=int, metavar="INT", help="at least so many [5, quick 2]")
    parser.add_argument("--latency", action="store_true", help="percentiles of single steps too")
    parser.add_argument(
        "--busy", action="store_true", help="a few cases beside a process that uses 5 to 100 %% of a core too"
    )
    parser.add_argument(
        "--char-model", action="store_true", help="the character model's whole training step too"
    )
    parser.add_argument("--memory", action="store_true", help="memory of the training steps too")
    parser.add_argument(
        "--json", type=file_name, metavar="FILE", help="write everything, with machine and versions"
    )
    parser.add_argument("--plot", type=file_name, metavar="FILE", help="draw the cases (needs matplotlib)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    # Here, so that the other subcommands need not wait for it.
    from fastrnn.bench import cores, measure, peers, worker

    from . import bench_run

    quick = arguments.quick
    seconds = (0.2 if quick else 2.0) if arguments.seconds is None else arguments.seconds
    rounds = (2 if quick else 5) if arguments.rounds is None else arguments.rounds
    if not 0 <= seconds <= _MOST_SECONDS:
        raise UserError(f"--seconds is {seconds}; expected at least 0 and at most {_MOST_SECONDS}")
    if not 1 <= rounds <= measure.MOST_ROUNDS:
        raise UserError(f"--rounds is {rounds}; expected at least 1 and at most {measure.MOST_ROUNDS}")
    try:
        for count in arguments.cores:
            cores.choose(count)
        request = bench_run.Request(
            cases=bench_run.choose_cases(arguments.cases, arguments.cell, quick),
            cores=arguments.cores,
            rivals=peers.choose(arguments.peers),
            seconds=seconds,
            rounds=rounds,
            latency=arguments.latency,
            busy=arguments.busy,
            model=arguments.char_model,
            memory=arguments.memory,
            json=None if arguments.json is None else bench_run.json_file(arguments.json),
            plot=None if arguments.plot is None else picture(arguments.plot),
        )
        bench_run.run(request)
    except worker.WorkerError as error:
        raise UserError(str(error)) from error
    return output.exit_code()
