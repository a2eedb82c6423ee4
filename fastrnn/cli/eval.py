"""`fastrnn eval`: how well a model predicts a text, beside general compressors."""

import argparse

from fastrnn.charlm.evaluate import bits, compressed_bits, mean_loss
from fastrnn.charlm.model import describe
from fastrnn.errors import UserError

from . import output, paths
from .options import Commands, add_text, add_threads, add_unknown, file_name, load_model, read_text, set_threads


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "eval",
        help="measure a model on a text",
        description="Mean loss of a model on a text, and what bz2 and xz make of the same text.",
    )
    parser.add_argument("model", type=file_name, help="model file that `fastrnn train` wrote")
    add_text(parser)
    parser.add_argument(
        "--streams",
        type=int,
        default=1,
        metavar="INT",
        help="cut the text into this many streams: faster, and a little worse, "
        "since each starts knowing nothing [1]",
    )
    parser.add_argument(
        "--last",
        type=float,
        default=1.0,
        metavar="FRACTION",
        help="only this last part of the text, as `train --val-frac` keeps it [1]",
    )
    add_unknown(parser)
    add_threads(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.streams < 1:
        raise UserError(f"--streams is {arguments.streams}; expected at least 1")
    if not 0 < arguments.last <= 1:
        raise UserError(f"--last is {arguments.last}; expected more than 0 and at most 1")
    set_threads(arguments)
    names = [arguments.model, *(name for name in arguments.text if name != "-")]
    paths.check([paths.Input(name, f"the input {name}") for name in names], [])
    model_file = load_model(arguments.model)
    vocabulary = model_file.vocabulary
    text, _ = read_text(arguments)
    text = text[len(text) - int(len(text) * arguments.last) :]
    known = vocabulary.known(text) if arguments.unk == "skip" else text
    codes = vocabulary.encode(known)
    if codes.size < arguments.streams + 1:
        raise UserError(
            f"the text has {codes.size} characters that the model knows; "
            f"expected at least {arguments.streams + 1}"
        )
    nats = mean_loss(model_file.build_model(), codes, arguments.streams)
    _print_table(describe(model_file.settings, len(vocabulary)), known, len(text) - len(known), nats)
    return output.exit_code()


def _print_table(model: str, text: str, left_out: int, nats: float) -> None:
    skipped = f", {left_out} unknown ones left out" if left_out else ""
    output.out.line(f"{model}; text of {len(text)} characters{skipped}")
    output.out.line("        nats/char  bits/char")
    output.out.line(f"model   {nats:9.4f}  {bits(nats):9.4f}")
    for name, size in compressed_bits(text).items():
        output.out.line(f"{name:<6}  {'':9}  {size:9.4f}")
