"""`fastrnn convert`: a model of another system's file in another one's, every tensor shown."""

import argparse
import tempfile
from pathlib import Path

from fastrnn import convert

from . import output, paths
from .options import Commands, add_assumptions, assumptions, file_name


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "convert",
        help="convert weights between systems",
        description="Read a model's file and write it for another system: formats are found by content, OUT's by its "
        "name. Prints each tensor: from, to, shape. A tensor unused, missing or of a wrong shape is an error. No code "
        "in a file is run.",
    )
    parser.add_argument("source", metavar="IN", type=file_name, help="file to read")
    parser.add_argument("target", metavar="OUT", type=file_name, help="file to write")
    parser.add_argument(
        "--leave-out", action="store_true", help="leave out tensors of layers that fastrnn has not, with a note of each"
    )
    add_assumptions(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    assume = assumptions(arguments)
    convert.for_writing(arguments.target)
    target = paths.Output(Path(arguments.target), "the converted model", convert.written_here, "OUT")
    paths.check([paths.Input(arguments.source, f"the input {arguments.source}")], [target])
    model = convert.read(arguments.source, **assume)
    left = list(model.rest) if arguments.leave_out else []
    if arguments.leave_out:
        model.rest.clear()
    try:
        data = _written(model, target.path.name)
    except ValueError as error:
        raise ValueError(f"{arguments.source}: {error}") from error
    target.replace(data)
    for row in model.rows():
        output.out.line(f"{row.source} -> {row.target} {row.shape}")
    for name in left:
        output.out.line(f"{name} -> left out")
    for name, words in model.notes.items():
        output.out.line(f"note: {name}: {words}")
    return output.exit_code()


def _written(model: convert.Model, name: str) -> bytes:
    """The bytes of the file: it is put in its place in one step, as all that the command writes."""
    with tempfile.TemporaryDirectory(prefix="fastrnn-") as folder:
        path = Path(folder) / name
        convert.write(model, path)
        return path.read_bytes()
