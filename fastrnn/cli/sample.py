"""`fastrnn sample`: write text with a model."""

import argparse
import itertools

import numpy as np

from fastrnn.charlm.sample import check_options, default_prime, generate
from fastrnn.errors import UserError

from . import output, paths
from .options import Commands, add_threads, add_unknown, file_name, load_model, set_threads


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "sample",
        help="write text with a model",
        description="Write text with a model. On a terminal, control characters that it writes are shown as escapes, "
        "but for line ends and tabs; elsewhere the text is as the model makes it.",
    )
    parser.add_argument("model", type=file_name, help="model file that `fastrnn train` wrote")
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


def run(arguments: argparse.Namespace) -> int:
    check_options(arguments.length, arguments.temperature, arguments.top_k, arguments.top_p)
    if arguments.seed is not None and arguments.seed < 0:
        raise UserError(f"--seed is {arguments.seed}; expected at least 0")
    set_threads(arguments)
    paths.check([paths.Input(arguments.model, f"the model {arguments.model}")], [])
    model_file = load_model(arguments.model)
    vocabulary = model_file.vocabulary
    prime = vocabulary.encode(arguments.prime, skip_unknown=arguments.unk == "skip")
    begin = vocabulary.decode(prime)
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
    for text in itertools.chain([begin], characters, ["\n"]):
        if not output.out.text(text):  # nobody reads on, as after `| head`
            break
    return output.exit_code()
