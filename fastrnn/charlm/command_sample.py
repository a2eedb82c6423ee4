"""`fastrnn sample`: write text with a model."""

import argparse
import io
import sys

import numpy as np

from .options import Commands, add_threads, add_unknown, load_model, set_threads
from .sample import check_options, default_prime, generate


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "sample", help="write text with a model", description="Write text with a model."
    )
    parser.add_argument("model", help="model file that `fastrnn train` wrote")
    parser.add_argument(
        "--prime", default="", metavar="TEXT", help="text to go on from [a line end]"
    )
    parser.add_argument(
        "--length", type=int, default=1000, metavar="INT", help="characters to write [1000]"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="FLOAT",
        help="below 1 the likely ones more often, above 1 less; 0: always the likeliest character [0.8]",
    )
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="INT", help="draw from the K likeliest only"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="FLOAT",
        help="draw from the likeliest that together have this probability",
    )
    parser.add_argument(
        "--seed", type=int, metavar="INT", help="same seed, same text [another one each time]"
    )
    add_unknown(parser)
    add_threads(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    check_options(arguments.length, arguments.temperature, arguments.top_k, arguments.top_p)
    set_threads(arguments)
    model_file = load_model(arguments.model)
    vocabulary = model_file.vocabulary
    prime = vocabulary.encode(arguments.prime, skip_unknown=arguments.unk == "skip")
    # A terminal that cannot show a character gets its escape instead of an error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(vocabulary.decode(prime))
    if prime.size == 0:
        prime = vocabulary.encode(default_prime(vocabulary))
    characters = generate(
        model_file.build_model(),
        vocabulary,
        prime,
        arguments.length,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        rng=np.random.default_rng(arguments.seed),
    )
    for character in characters:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
