"""`fastrnn inspect`: which gates of a model are saturated, and how far back its gradient reaches."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastrnn import inspect
from fastrnn.charlm.model import CharacterModel, describe
from fastrnn.charlm.reach import Norms, of_fresh_cells, of_model, windows
from fastrnn.charlm.text import Codes
from fastrnn.errors import UserError

from . import output, paths
from .options import Commands, add_text, add_threads, add_unknown, file_name, load_model, read_text, set_threads
from .picture import picture, picture_bytes

_SHOWN = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # steps before the last one in the table, and the first one
_STYLES = ("-", "--", "-.", ":")
_LOWEST, _HIGHEST = 1e-12, 1e12  # of the picture: what leaves it is gone, or beyond all use


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "inspect",
        help="look for saturated gates, and vanishing and exploding gradients",
        description="How often the gates of a model are nearly closed or open on a text, the first number that is not "
        "finite, and the norm of the gradient of the last prediction's loss by the state of every step before it. "
        "--plot draws that, and beside it the same for each cell with fresh weights.",
    )
    parser.add_argument("model", type=file_name, help="model file that `fastrnn train` wrote")
    add_text(parser)
    parser.add_argument("--steps", type=int, default=200, metavar="INT", help="characters of a window [200]")
    parser.add_argument("--plot", type=file_name, metavar="FILE", help="draw the gradients into this picture")
    add_unknown(parser)
    add_threads(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.steps < 2:
        raise UserError(f"--steps is {arguments.steps}; expected at least 2")
    set_threads(arguments)
    names = [arguments.model, *(name for name in arguments.text if name != "-")]
    drawn = None if arguments.plot is None else picture(arguments.plot)
    paths.check([paths.Input(name, f"the input {name}") for name in names], [] if drawn is None else [drawn])
    model_file = load_model(arguments.model)
    vocabulary = model_file.vocabulary
    text, _ = read_text(arguments)
    codes = vocabulary.encode(text, skip_unknown=arguments.unk == "skip")
    if codes.size <= arguments.steps:
        raise UserError(
            f"the text has {codes.size} characters that the model knows; expected at least {arguments.steps + 1}, "
            "or fewer --steps"
        )
    model, chosen = model_file.build_model(), windows(codes, arguments.steps)
    title = describe(model_file.settings, len(vocabulary))
    output.out.line(f"{title}; {chosen.shape[1]} windows of {arguments.steps} characters")
    _print_gates(model, chosen)
    norms = of_model(model, chosen)
    _print_norms(norms)
    if drawn is not None:
        hidden = model_file.settings.hidden
        fresh = of_fresh_cells(chosen, len(vocabulary), hidden)
        fresh_title = f"fresh weights, 1 layer of {hidden} units"
        drawn.replace(picture_bytes(lambda: figure(title, norms, fresh_title, fresh), drawn.path))
    return output.exit_code()


def _print_gates(model: CharacterModel, codes: Codes) -> None:
    model.recurrent.dropout = 0.0  # this copy's
    _, _, tape = model.recurrent.forward(codes[:-1])
    output.out.line("first number that is not finite: " + str(inspect.first_nan(tape) or "none"))
    output.out.line("")
    output.out.line("share of steps and units  closed    open")
    for one in inspect.saturation(tape):
        name = f"layer {one.layer}  {one.gate}"
        output.out.line(f"{name:<24}  {one.closed.mean():>6.1%}  {one.open.mean():>6.1%}")
    output.out.line("(logistic gates below 0.1 and above 0.9, tanh below -0.9 and above 0.9)")


def _print_norms(norms: Norms) -> None:
    layers, steps = norms.shape
    output.out.line("")
    output.out.line("steps before the last   " + "  ".join(f"{f'layer {layer}':>8}" for layer in range(layers)))
    for before in sorted({step for step in _SHOWN if step < steps} | {steps - 1}):
        output.out.line(f"{before:<22}  " + "  ".join(f"{norm:>8.1e}" for norm in norms[:, steps - 1 - before]))
    factors = norms[:, 0] ** (1 / (steps - 1))
    output.out.line("factor of a step        " + "  ".join(f"{factor:>8.3f}" for factor in factors))
    output.out.line("(norm of the gradient of the last prediction's loss by h, relative to the last step's)")


# ------------------------------------------------------------------------------------------------------------ pictures


def figure(title: str, norms: Norms, fresh_title: str, fresh: Mapping[str, Norms]) -> Any:
    """A matplotlib figure of two panels, a model's layers and fresh cells: norms over the steps that they have passed.

    Parameters
    ----------
    title, fresh_title : str
    norms : (layers, T)
    fresh : dict of (T,)
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = drawing.subplots(1, 2)
    _draw(left, title, [f"layer {layer}" for layer in range(len(norms))], list(norms))
    left.legend()
    _draw(right, fresh_title, list(fresh), list(fresh.values()))
    lines = sorted(right.get_lines(), key=lambda line: -fresh[line.get_label()][0])  # as they end, from above
    right.legend(lines, [line.get_label() for line in lines], loc="upper left", bbox_to_anchor=(1, 1))
    drawing.suptitle("How the gradient of the last prediction shrinks and grows on its way back")
    return drawing


def _draw(axis: Any, title: str, names: Sequence[str], lines: Sequence[Norms]) -> None:
    for i, (name, line) in enumerate(zip(names, lines, strict=True)):
        axis.plot(line[::-1], _STYLES[i // 2 % len(_STYLES)], color=f"C{i}", linewidth=1.6, label=name)
    shown = np.clip(np.concatenate(lines), _LOWEST, _HIGHEST)
    axis.set_ylim(shown.min() / 2, shown.max() * 2)
    axis.set_xlim(0, len(lines[0]) - 1)
    axis.set_yscale("log")
    axis.set_title(title)
    axis.set_xlabel("steps before the last one")
    axis.set_ylabel("norm of dh, relative to the last step")
    axis.grid(alpha=0.3)
