"""A model run in NumPy and fastrnn: refused as a whole when it is loaded, or run as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastrnn.convert.onnx import plumbing, recurrent
from fastrnn.convert.onnx.graph import Array, Graph, Input, Node, load
from fastrnn.convert.onnx.operators import OPERATORS

__all__ = ["Runner", "checked", "folded"]

_ = plumbing  # its operators are in the table now


def checked(graph: Graph) -> Graph:
    """The graph, if every node of it can run.

    Raises
    ------
    ValueError
        An operator that is not in the table, an attribute that it does not heed, or a value that nothing makes.
    """
    missing = sorted({node.op for node in graph.nodes if node.op not in OPERATORS})
    if missing:
        raise ValueError(f"ONNX: the model has the operators {', '.join(missing)}; expected of {_known()}")
    made = {*graph.constants, *(value.name for value in graph.inputs), ""}
    for node in graph.nodes:
        entry = OPERATORS[node.op]
        if node.opset < entry.since:
            raise ValueError(f"{node.who} in opset {node.opset}; expected opset {entry.since} or later")
        entry.check(node)
        if node.op in recurrent.LAYERS:
            recurrent.settings(node)
        if unknown := sorted(set(node.inputs) - made):
            raise ValueError(f"{node.who}: nothing makes its input {unknown[0]!r}; expected nodes in order")
        made.update(node.outputs)
    if unknown := sorted(set(graph.outputs) - made):
        raise ValueError(f"ONNX: nothing makes the output {unknown[0]!r}; expected a node that does")
    return graph


def _known() -> str:
    return ", ".join(sorted(OPERATORS))


def folded(graph: Graph) -> Graph:
    """The graph without the nodes whose inputs are constants: their outputs are constants, too."""
    constants, origins, nodes = dict(graph.constants), dict(graph.origins), []
    for node in graph.nodes:
        given = [name for name in node.inputs if name]
        if node.op in recurrent.LAYERS or not all(name in constants for name in given):
            nodes.append(node)
            continue
        results = outputs_of(node, OPERATORS[node.op].run, constants)
        constants |= results
        origin = frozenset[str]().union(*(origins[name] for name in given))
        origins |= {name: origin if given else frozenset([name]) for name in results}
    return replace(graph, nodes=tuple(nodes), constants=constants, origins=origins)


def outputs_of(node: Node, run: Callable[..., Any], values: Mapping[str, Array]) -> dict[str, Array]:
    """What a node makes of its inputs, by the names of its outputs. Its errors begin with the node."""
    try:
        with np.errstate(all="ignore"):  # inf and NaN are values as others are
            result = run(node, *[values[name] if name else None for name in node.inputs])
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        if str(error).startswith(node.who):
            raise
        what = f"the attribute {error} is missing" if isinstance(error, KeyError) else str(error)
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{node.who}: {what}") from error
    results = result if isinstance(result, tuple) else (result,)
    if len(node.outputs) > len(results):
        raise ValueError(f"{node.who} has {len(node.outputs)} outputs; expected at most {len(results)}")
    return {name: np.asarray(one) for name, one in zip(node.outputs, results, strict=False) if name}


@dataclass(frozen=True)
class Step:
    node: Node
    run: Callable[..., Any]
    done: tuple[str, ...]  # values that no later step reads


class Runner:
    """An ONNX model, ready to run.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto

    Attributes
    ----------
    inputs : tuple of (name, dtype, shape)
        What `run` takes. An axis is a number, or None where any length will do.
    outputs : tuple of str

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError
        Anything in the model that cannot run as the specification says; the message names it.
    """

    def __init__(self, model: Any) -> None:
        graph = folded(checked(load(model)))
        self.inputs: tuple[Input, ...] = graph.inputs
        self.outputs: tuple[str, ...] = graph.outputs
        self._steps = _steps(graph)
        kept = {name for step in self._steps for name in step.node.inputs} | set(graph.outputs)
        self._constants = {name: array for name, array in graph.constants.items() if name in kept}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Run once.

        Parameters
        ----------
        feeds : dict of arrays, by the names of `inputs`

        Returns
        -------
        dict
            Every output by its name.

        Raises
        ------
        ValueError, TypeError
            An input that is missing, unknown, or of another dtype or shape than the model says; or what a node cannot
            compute, and the message begins with its name.
        """
        if unknown := sorted(set(feeds) - {value.name for value in self.inputs}):
            names = ", ".join(repr(value.name) for value in self.inputs)
            raise ValueError(f"Runner.run: the model has no input {unknown[0]!r}; expected {names or 'none'}")
        values = dict(self._constants)
        values |= {value.name: _given(value, feeds) for value in self.inputs}
        for step in self._steps:
            values |= outputs_of(step.node, step.run, values)
            for name in step.done:
                values.pop(name, None)
        return {name: values[name] for name in self.outputs}


def _steps(graph: Graph) -> list[Step]:
    last = {name: place for place, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs)}
    for name in ("", *graph.outputs):
        last.pop(name, None)
    done: list[list[str]] = [[] for _ in graph.nodes]
    for name, place in last.items():
        done[place].append(name)
    return [
        Step(node, _function(node, graph.constants), tuple(names))
        for node, names in zip(graph.nodes, done, strict=True)
    ]


def _function(node: Node, constants: Mapping[str, Array]) -> Callable[..., Any]:
    return recurrent.prepared(node, constants) if node.op in recurrent.LAYERS else OPERATORS[node.op].run


def _given(value: Input, feeds: Mapping[str, Any]) -> Array:
    if value.name not in feeds:
        raise ValueError(f"Runner.run: input {value.name!r} is missing; expected an array for it")
    array = np.asarray(feeds[value.name])
    if array.dtype != value.dtype:
        raise TypeError(f"Runner.run: input {value.name!r} has dtype {array.dtype}; expected {value.dtype}")
    if value.shape is not None and (
        array.ndim != len(value.shape) or any(n not in (None, m) for n, m in zip(value.shape, array.shape, strict=True))
    ):
        expected = ", ".join("any" if n is None else str(n) for n in value.shape)
        raise ValueError(f"Runner.run: input {value.name!r} has shape {array.shape}; expected ({expected})")
    return array
