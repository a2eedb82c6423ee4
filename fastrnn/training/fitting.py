"""`fit`: its arguments, checked, and a run made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fastrnn import _check, runtime
from fastrnn.naming import name_of
from fastrnn.optim import Adam, Optimizer
from fastrnn.trainable import Data, Model, as_data, as_model
from fastrnn.words import AnyPath

from .callbacks import Callback
from .history import History
from .ranks import Alone, Ranks
from .run import Place, Run
from .schedules import Factor

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
    callbacks: Sequence[Callback] = (),
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
        A batch is a list of them, as the model takes it. For a SequenceModel an input is an array (T_i, I), or (T_i,)
        integers, and a target what the loss takes for each step, (T_i,) labels or (T_i, F) numbers; with a pool one
        label or (F,) numbers; for `ctc_loss` (S_i,) labels. For an EncoderDecoder it is (S_i,) tokens. Integers and
        targets may be lists of Python's numbers.
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
        Whether a batch has sequences of like lengths; otherwise batches are drawn from all. A step's gradient is the
        mean over what its own batches count, so steps of short sequences then weigh more than without.
    patience : int, optional
        Epochs without a better loss (of the validation, or else of the training) after which the run ends.
    seed : int
        Of the order and of dropout: the layers' own generators are set from it. The same seed gives the same bits.
    callbacks : list of Callback
    log : path, optional
        A new file with a line for each epoch: JSON lines, or CSV if the name ends in .csv.
    progress : bool
        Whether a tqdm bar is shown on standard error.
    checkpoint : path, optional
        A safetensors file, replaced in one step after each epoch, after every `save_every` steps, and on Ctrl-C.
    save_every : int, optional
    resume : bool
        Go on from the checkpoint, bit for bit as a run that was never interrupted; the settings and the data must be
        the same, but there may be more epochs. Functions, as a schedule or a loss may be, are told apart by their
        names and their options alone. Where there is no checkpoint yet, the run begins.
    comm : mpi4py communicator, optional
        The ranks share the batches of a step, `accumulate` for each rank. Every rank calls with the same arguments
        and data, which is checked; callbacks, num_threads and the names of files may differ. They begin with rank 0's
        weights, and rank 0 alone writes files and shows the bar.
    ordered : bool
        Sum gradients in the order of the batches: n ranks then give the bits of one that accumulates n times as many.
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
    ValueError, TypeError, IndexError
        A batch holds what the layers or the loss refuse, such as a label that is none: found where its turn comes. The
        weights are those before its step.
    """
    who = "fit"
    model, ranks = as_model(who, model), _ranks(who, comm, ordered)
    settings = {
        "batch_size": _check.count(who, "batch_size", batch_size),
        "batches_per_step": _check.count(who, "accumulate", accumulate) * ranks.size,
        "bucket": _check.flag(who, "bucket", bucket),
        "clip_norm": None if clip_norm is None else _check.positive(who, "clip_norm", clip_norm),
        "patience": None if patience is None else _check.count(who, "patience", patience),
        "seed": _check.integer(who, "seed", seed, 0, _check.MOST, "an integer >= 0"),
        "schedule": _name(who, schedule),
    }
    epochs = _check.count(who, "epochs", epochs)
    place = Place(
        checkpoint=_check.path(who, "checkpoint", checkpoint),
        resume=_check.flag(who, "resume", resume),
        save_every=None if save_every is None else _check.count(who, "save_every", save_every),
        log=_check.path(who, "log", log),
    )
    if (place.resume or place.save_every) and checkpoint is None:
        raise ValueError(f"{who}: checkpoint is None beside resume or save_every; expected a path")
    if place.log and place.checkpoint and os.path.realpath(place.log) == os.path.realpath(place.checkpoint):
        raise ValueError(f"{who}: log and checkpoint are both {place.log!r}; expected two files")
    bars = _bars(who, _check.flag(who, "progress", progress), ranks.rank)
    runtime.resolve(who, num_threads)
    data = as_data(who, ("inputs", inputs), ("targets", targets))
    made = _optimizer(who, model, optimizer)
    settings |= {"optimizer": repr(made), **model.settings}
    run = Run(
        model=model,
        data=data,
        validation=None if validation is None else _validation(who, validation),
        optimizer=made,
        schedule=schedule,
        settings=settings,
        callbacks=_callbacks(who, callbacks),
        ranks=ranks,
        num_threads=num_threads,
    )
    run.open(place, {"epochs": epochs, "ordered": ordered})
    with bars(total=epochs * run.steps_per_epoch, initial=run.step, unit="step", dynamic_ncols=True) as bar:
        return run.go(epochs, bar)


def _validation(who: str, given: Any) -> Data:
    if not isinstance(given, tuple) or len(given) != 2:
        raise TypeError(f"{who}: validation is {_check.shown(given)}; expected a pair (inputs, targets)")
    return as_data(who, ("validation[0]", given[0]), ("validation[1]", given[1]))


def _ranks(who: str, comm: Any, ordered: Any) -> Alone:
    ordered = _check.flag(who, "ordered", ordered)
    if comm is None:
        return Alone()
    if not hasattr(comm, "Get_rank") or not hasattr(comm, "Allreduce"):
        raise TypeError(f"{who}: comm is {_check.shown(comm)}; expected a communicator of mpi4py (MPI.COMM_WORLD)")
    return Ranks(comm, ordered)


def _callbacks(who: str, given: Any) -> list[Callback]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, Callback) for one in given):
        raise TypeError(f"{who}: callbacks is {_check.shown(given)}; expected a list of fastrnn.training.Callback")
    return list(given)


def _optimizer(who: str, model: Model, given: Any) -> Optimizer:
    if isinstance(given, Optimizer):
        if not all(any(one is own for own in model.modules.values()) for one in given.modules):
            raise ValueError(f"{who}: optimizer is over other layers; expected those of model.modules, some or all")
        return given
    if given is not None:
        _check.function(who, "optimizer", given, "(modules) -> Optimizer, as fastrnn.Adam is, or an Optimizer")
    made = Adam(list(model.modules.values())) if given is None else given(list(model.modules.values()))
    if not isinstance(made, Optimizer):
        raise TypeError(f"{who}: optimizer made a {type(made).__name__}; expected one of fastrnn's optimisers")
    return made


def _name(who: str, schedule: Any) -> str | None:
    """What tells a schedule from another one, in a checkpoint."""
    if schedule is not None:
        _check.function(who, "schedule", schedule, "(epoch, losses) -> factor, or None")
    return None if schedule is None else name_of(schedule)


class _NoBar:
    def update(self, steps: int) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        pass


def _bars(who: str, shown: bool, rank: int) -> Callable[..., AbstractContextManager[Any]]:
    """What makes the bar: tqdm, or for other ranks and where none is to be shown one that nobody sees."""
    if shown:
        try:
            from tqdm import tqdm  # type: ignore[import-untyped]
        except ImportError:
            raise ImportError(
                f"{who}: progress is True and the package tqdm is missing; expected `pip install tqdm`, or "
                "progress=False"
            ) from None
        if rank == 0:
            return tqdm  # type: ignore[no-any-return]
    return lambda **options: nullcontext(_NoBar())
