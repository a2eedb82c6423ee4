"""`fit`: its arguments, checked, and a run made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fastrnn import _check, runtime
from fastrnn.optim import Adam, Optimizer
from fastrnn.trainable import Model
from fastrnn.words import AnyPath

from .callbacks import Callback
from .history import History
from .ranks import Alone, Ranks
from .run import Data, Run
from .schedules import Factor, Schedule

MakeOptimizer = Callable[[Any], Optimizer]


def fit(
    model: Model,
    inputs: Sequence[Any],
    targets: Sequence[Any],
    *,
    validation: Data | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    optimizer: Optimizer | MakeOptimizer | None = None,
    schedule: Factor | None = None,
    clip_norm: float | None = 1.0,
    accumulate: int = 1,
    bucket: bool = True,
    patience: int | None = None,
    seed: int = 0,
    callbacks: Iterable[Callback] = (),
    log: AnyPath | None = None,
    progress: bool = False,
    checkpoint: AnyPath | None = None,
    save_every: int | None = None,
    resume: bool = False,
    comm: Any = None,
    ordered: bool = False,
    num_threads: int | None = None,
) -> History:
    """Train a model on sequences and return what was measured.

    Parameters
    ----------
    model : SequenceModel or EncoderDecoder
    inputs, targets : sequences of N items
        A batch is a list of them, as the model takes it: for most models lists of arrays (T_i, ...).
    validation : (inputs, targets), optional
        Measured after each epoch. The model then ends with the weights of the best epoch, else with the last ones.
    epochs : int
    batch_size : int
        Sequences of a batch.
    optimizer : callable (modules) -> Optimizer, or an Optimizer over the model's layers
        `fastrnn.Adam` itself, or `functools.partial(fastrnn.Adam, lr=0.01)`. None is Adam with a rate of 0.001.
    schedule : callable (epoch, losses) -> factor, optional
        Of the optimiser's learning rate: one of `fastrnn.training`, or any other.
    clip_norm : float or None
        Greatest norm of the mean gradient (see `clip_grad_norm_`); None clips nothing.
    accumulate : int
        Batches whose gradients are summed before an update.
    bucket : bool
        Whether a batch has sequences of like lengths; otherwise batches are drawn from all.
    patience : int, optional
        Epochs without a better loss (of the validation, or else of the training) after which the run ends.
    seed : int
        Of the order and of dropout: the layers' own generators are set from it. The same seed gives the same bits.
    callbacks : iterable of Callback
    log : path, optional
        A file with a line for each epoch: JSON lines, or CSV if the name ends in .csv.
    progress : bool
        Whether a tqdm bar is shown on standard error.
    checkpoint : path, optional
        A safetensors file, replaced in one step after each epoch, after every `save_every` steps, and on Ctrl-C.
    save_every : int, optional
    resume : bool
        Go on from the checkpoint, bit for bit as a run that was never interrupted; the settings and the data must be
        the same, but there may be more epochs. Where there is no checkpoint yet, the run begins.
    comm : mpi4py communicator, optional
        The ranks share the batches of a step, `accumulate` for each rank. Every rank calls with the same arguments;
        they begin with rank 0's weights, and rank 0 alone writes files and shows the bar.
    ordered : bool
        Sum gradients in the order of the ranks: n ranks then give the bits of one that accumulates n times.
    num_threads : int, optional
        At most so many threads in each call; the result does not depend on it.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        The loss or a gradient is not finite; the weights are those before the step.
    UserError
        The checkpoint or the log is another file, or one of another run.
    ValueError, TypeError
        An argument is out of its range, or inputs and targets do not go together. Nothing has changed.
    """
    who = "fit"
    ranks = Alone() if comm is None else Ranks(comm, _check.flag(who, "ordered", ordered))
    run = Run(
        model=_model(who, model),
        data=_data(who, "inputs", (inputs, targets)),
        validation=None if validation is None else _data(who, "validation", validation),
        optimizer=_optimizer(who, model, optimizer),
        schedule=schedule,
        settings={
            "batch_size": _check.count(who, "batch_size", batch_size),
            "together": _check.count(who, "accumulate", accumulate) * ranks.size,
            "bucket": _check.flag(who, "bucket", bucket),
            "clip_norm": None if clip_norm is None else _check.positive(who, "clip_norm", clip_norm),
            "patience": None if patience is None else _check.count(who, "patience", patience),
            "seed": _check.integer(who, "seed", seed, 0, 2**63, "an integer >= 0"),
            "schedule": _name(schedule),
        },
        callbacks=list(callbacks),
        ranks=ranks,
        num_threads=runtime.resolve(who, num_threads) or None,
    )
    epochs = _check.count(who, "epochs", epochs)
    save_every = None if save_every is None else _check.count(who, "save_every", save_every)
    if (resume or save_every) and checkpoint is None:
        raise ValueError(f"{who}: resume or save_every is given without a checkpoint; expected its path")
    run.open(checkpoint, _check.flag(who, "resume", resume), save_every, log)
    with _bar(progress and ranks.rank == 0, run, epochs) as bar:
        return run.go(epochs, bar)


def _model(who: str, model: Any) -> Model:
    if not isinstance(model, Model):
        raise TypeError(f"{who}: model is a {type(model).__name__}; expected a SequenceModel or an EncoderDecoder")
    return model


def _data(who: str, name: str, data: Any) -> Data:
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"{who}: {name} is {_check.shown(data)}; expected a pair (inputs, targets)")
    sizes = [len(one) for one in data]
    if sizes[0] != sizes[1] or not sizes[0]:
        raise ValueError(f"{who}: {name} has {sizes[0]} sequences and {sizes[1]} targets; expected as many, and some")
    return data


def _optimizer(who: str, model: Model, given: Any) -> Optimizer:
    if isinstance(given, Optimizer):
        return given
    made = Adam(list(model.modules.values())) if given is None else given(list(model.modules.values()))
    if not isinstance(made, Optimizer):
        raise TypeError(f"{who}: optimizer made a {type(made).__name__}; expected one of fastrnn's optimisers")
    return made


def _name(schedule: Any) -> str | None:
    """What tells a schedule from another one, in a checkpoint."""
    if schedule is None or isinstance(schedule, Schedule):
        return None if schedule is None else repr(schedule)
    return str(getattr(schedule, "__qualname__", type(schedule).__qualname__))


class _NoBar:
    def update(self, steps: int) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        pass


def _bar(shown: bool, run: Run, epochs: int) -> AbstractContextManager[Any]:
    if not shown:
        return nullcontext(_NoBar())
    from tqdm import tqdm  # type: ignore[import-untyped]

    bar: AbstractContextManager[Any] = tqdm(
        total=epochs * run.steps_per_epoch, initial=run.step, unit="step", dynamic_ncols=True
    )
    return bar
