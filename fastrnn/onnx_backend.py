"""fastrnn as an ONNX backend: what `onnx.backend.base.Backend` has, as functions of a module.

    import fastrnn.onnx_backend as backend
    outputs = backend.prepare(onnx.load("model.onnx")).run([x])
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastrnn.convert.onnx.graph import NEWEST, OLDEST
from fastrnn.convert.onnx.library import library
from fastrnn.convert.onnx.runner import Runner

__all__ = ["Prepared", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class Prepared:
    """A model that is ready to run, as `prepare` returns it (`onnx.backend.base.BackendRep`)."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run once.

        Parameters
        ----------
        inputs : sequence or dict of arrays, or an array alone
            In the model's order, or by name.
        **kwargs
            None is known; any is refused.

        Returns
        -------
        namedtuple of arrays
            The outputs, in order and by name.
        """
        _no_options("run", kwargs)
        base = _base()
        runner = self._runner
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            names = [value.name for value in runner.inputs]
            if len(inputs) != len(names):
                raise ValueError(f"run: {len(inputs)} inputs are given; expected {len(names)}: {', '.join(names)}")
            inputs = dict(zip(names, inputs, strict=True))
        outputs = runner.run(inputs)
        result: tuple[Any, ...] = base.namedtupledict("Outputs", list(outputs))(*outputs.values())
        return result


def supports_device(device: str) -> bool:
    """Whether models run on a device.

    Parameters
    ----------
    device : str
        "CPU", with a number or without, does.
    """
    return device.partition(":")[0].upper() == "CPU"


def is_compatible(model: Any, device: str = "CPU", **kwargs: Any) -> bool:
    """Whether `prepare` would take the model.

    Parameters
    ----------
    model, device, **kwargs
        As in `prepare`.
    """
    try:
        prepare(model, device, **kwargs)
    except ValueError:
        return False
    return True


def prepare(model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
    """Return a ModelProto ready to run.

    Parameters
    ----------
    model : onnx.ModelProto
    device : str
    **kwargs
        None is known; any is refused.

    Raises
    ------
    onnx.checker.ValidationError
        The model is not valid.
    ValueError
        Another device than the CPU, or anything in the model that does not run here; the message names it.
    """
    _no_options("prepare", kwargs)
    if not supports_device(device):
        raise ValueError(f"prepare: device is {device!r}; expected 'CPU'")
    library().checker.check_model(model)
    return Prepared(Runner(model))


def run_model(model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
    """Run a ModelProto once: `prepare`, then `run`.

    Parameters
    ----------
    model : onnx.ModelProto
    inputs : sequence or dict of arrays, or an array alone
        As in `Prepared.run`.
    device, **kwargs
        As in `prepare`.

    Returns
    -------
    namedtuple of arrays
    """
    return prepare(model, device, **kwargs).run(inputs)


def run_node(
    node: Any,
    inputs: Any,
    device: str = "CPU",
    outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Run a NodeProto alone.

    Parameters
    ----------
    node : onnx.NodeProto
    inputs : sequence or dict of arrays
        Those that the node names, in order or by name.
    device : str
    outputs_info : sequence of (dtype, shape), optional
        Not needed: outputs have the dtypes and shapes that they come with.
    **kwargs
        Only opset_version : int, whose rules hold; the newest of 7 to 25 unless another is given.
    """
    opset = kwargs.pop("opset_version", NEWEST)
    _no_options("run_node", kwargs)
    if not OLDEST <= opset <= NEWEST:
        raise ValueError(f"run_node: opset_version is {opset}; expected {OLDEST} to {NEWEST}")
    if not supports_device(device):
        raise ValueError(f"run_node: device is {device!r}; expected 'CPU'")
    helper = library().helper
    names = list(dict.fromkeys(name for name in node.input if name))
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    if not isinstance(inputs, Mapping):
        if len(inputs) != len(names):
            raise ValueError(f"run_node: {len(inputs)} inputs are given; expected {len(names)}: {', '.join(names)}")
        inputs = dict(zip(names, inputs, strict=True))
    given = {name: np.asarray(array) for name, array in inputs.items()}

    def value(name: str) -> Any:
        array = given[name]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", [value(name) for name in names if name in given], outputs)
    runner = Runner(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
    return Prepared(runner).run(inputs)


def _base() -> Any:
    library()
    return importlib.import_module("onnx.backend.base")


def _no_options(who: str, options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(f"{who}: option {next(iter(options))!r} is unknown; expected none")
