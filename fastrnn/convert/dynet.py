"""DyNet's text files (`ParameterCollection.save`), read without DyNet.

A file has a line and a block of numbers for each parameter, named after the collection that made it:

    #Parameter# /birnn/vanilla-lstm-builder/_0 {200,64} 204801 ZERO_GRAD
    #LookupParameter# /_0 {32,3090} 1582081 ZERO_GRAD

Numbers go by columns, so that a parameter {rows,columns} is (rows, columns) here and a lookup {width,count} is
(count, width). 204801 are the block's bytes; FULL_GRAD says that they hold the gradients as well, which are left.

A VanillaLSTMBuilder (the LSTMBuilder of DyNet's Python) has three parameters a layer, x to gates, h to gates and bias,
gates in the order i f o g, and adds to the forget gate at run time what no file says.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.model import Model
from fastrnn.convert.orders import reordered

NAME = "DyNet text"
EXTENSIONS = (".dynet",)

_HEADER = re.compile(rb"#(Parameter|LookupParameter)# (\S+) \{(\d+(?:,\d+)*)\} (\d+) (ZERO_GRAD|FULL_GRAD)\n")
_LONGEST_HEADER = 10_000
_BUILDER = re.compile(r"(?P<builder>(?P<parent>.*?)/(?P<kind>[a-z-]*builder)(?:_\d+)?)/_\d+")
_BIRNN = re.compile(r"(^|/)birnn(_\d+)?$")
_VANILLA = "vanilla-lstm-builder"
_GATES = (0, 1, 3, 2)  # i f g o of i f o g


class Parameter(NamedTuple):
    """One parameter: its array, and whether it is a lookup, whose rows are vectors that an index names."""

    array: Array
    is_lookup: bool


def recognise(path: Path, head: bytes) -> bool:
    """The first parameter's line."""
    return head.startswith((b"#Parameter# ", b"#LookupParameter# "))


def parameters(path: str | Path) -> dict[str, Parameter]:
    """Every parameter of the file by its name, in its order, in float32.

    Raises
    ------
    ValueError
        A line that is no parameter's, numbers that are missing or too many, three axes, a name that comes twice.
    """
    found: dict[str, Parameter] = {}
    with open(path, "rb") as file:
        for name, parameter in _parameters(file):
            if name in found:
                raise ValueError(f"{name}: is there twice; expected each name once")
            found[name] = parameter
    return found


def read(path: str | Path, *, forget_bias: float = 1.0) -> Model:
    """The layers of a DyNet text file.

    A vanilla LSTM builder becomes an LSTM, all those of a BiRNNBuilder one of two directions. A lookup becomes an
    Embedding; a matrix a Linear, whose bias is the vector that comes right after it and has as many rows. Everything
    else, parameters of other builders too, is the model's rest.

    Parameters
    ----------
    path : str or Path
    forget_bias : float
        What the builder adds to the forget gate at run time; DyNet's default is 1.

    Raises
    ------
    ValueError
        As in `parameters`; an LSTM with layer normalisation.
    """
    given = parameters(path)
    parts = {name: match for name in given if (match := _BUILDER.fullmatch(name))}
    rest = {name: given.pop(name).array for name, match in parts.items() if match["kind"] != _VANILLA}
    stacks: dict[str, list[str]] = {}
    for name, match in parts.items():
        if name in given:
            stacks.setdefault(match["parent" if _BIRNN.search(match["parent"]) else "builder"], []).append(name)
    own = {stack: {name: given.pop(name).array for name in names} for stack, names in stacks.items()}
    layers = [_lstm(stack, arrays, forget_bias) for stack, arrays in own.items()]
    for name, (array, is_lookup) in given.items():
        if array.ndim == 2:
            layers.append(_matrix("Embedding" if is_lookup else "Linear", name, array))
        elif layers and _is_bias(array, layers[-1]):
            layers[-1].tensors["bias"], layers[-1].sources["bias"], layers[-1].options = array, name, {}
        else:
            rest[name] = array
    notes = {"forget_bias": f"{forget_bias:g}, in bias_ih; DyNet adds it at run time"} if stacks else {}
    return Model(layers, "dynet", notes, rest)


# --------------------------------------------------------------------------------------------- the file


def _parameters(file: BinaryIO) -> Iterator[tuple[str, Parameter]]:
    size_of_file = os.fstat(file.fileno()).st_size
    while line := file.readline(_LONGEST_HEADER):
        header = _HEADER.fullmatch(line)
        if header is None:
            raise ValueError(f"line {line[:60]!r}; expected one that begins with #Parameter# or #LookupParameter#")
        kind, name, dims, size, gradient = (group.decode() for group in header.groups())
        shape = tuple(int(number) for number in dims.split(","))
        if len(shape) > 2:
            raise ValueError(f"{name}: has {len(shape)} axes; expected one or two")
        if int(size) > (left := size_of_file - file.tell()):
            raise ValueError(f"{name}: the file ends after {left} of its bytes; expected {size}")
        numbers = _numbers(name, math.prod(shape), file.read(int(size)), gradient == "FULL_GRAD")
        array = numbers.reshape(shape[::-1])
        is_lookup = kind == "LookupParameter"
        yield name, Parameter(array if is_lookup else np.ascontiguousarray(array.T), is_lookup)


def _numbers(name: str, count: int, block: bytes, with_gradient: bool) -> Array:
    words = block.split()
    expected = 2 * count if with_gradient else count
    if len(words) != expected:
        raise ValueError(f"{name}: has {len(words)} numbers; expected {expected}")
    try:
        return np.array(words[:count], np.float32)
    except ValueError as error:
        raise ValueError(f"{name}: has a word that is no number ({error}); expected floats") from None


# ------------------------------------------------------------------------------------------- the layers


def _matrix(kind: str, name: str, weight: Array) -> Layer:
    options: dict[str, Any] = {"bias": False} if kind == "Linear" else {}
    return Layer(kind, name.lstrip("/"), {"weight": weight}, options, {"weight": name})


def _is_bias(vector: Array, layer: Layer) -> bool:
    """Whether a vector right after a layer is its bias."""
    return layer.kind == "Linear" and "bias" not in layer.tensors and len(layer.tensors["weight"]) == len(vector)


def _lstm(name: str, given: Mapping[str, Array], forget_bias: float) -> Layer:
    """An LSTM of the parameters of one builder, or of all builders of a BiRNNBuilder, in their order."""
    suffixes = ("", "_reverse") if _BIRNN.search(name) else ("",)
    if len(given) % (3 * len(suffixes)):
        raise ValueError(f"{name}: has {len(given)} parameters; expected {3 * len(suffixes)} a layer")
    layer = Layer("LSTM", name.lstrip("/"), {})
    if len(suffixes) == 2:
        layer.options["bidirectional"] = True
    if len(given) > 3 * len(suffixes):
        layer.options["num_layers"] = len(given) // (3 * len(suffixes))
    for place, three in enumerate(zip(*[iter(given)] * 3, strict=True)):
        suffix = f"_l{place // len(suffixes)}{suffixes[place % len(suffixes)]}"
        _add_direction(layer, suffix, {source: given[source] for source in three}, forget_bias)
    return layer


def _add_direction(layer: Layer, suffix: str, given: Mapping[str, Array], forget_bias: float) -> None:
    inputs, hidden, bias = given.values()
    width = len(bias) // 4
    if bias.shape != (4 * width,) or hidden.shape != (4 * width, width) or inputs.shape[0] != 4 * width:
        shapes = ", ".join(f"{source} {array.shape}" for source, array in given.items())
        raise ValueError(f"{shapes}; expected (4*H, I), (4*H, H) and (4*H,) of an LSTM without layer normalisation")
    arrays = [reordered(array, _GATES) for array in (inputs, hidden, bias)]
    arrays[2][width : 2 * width] += np.float32(forget_bias)
    arrays.append(np.zeros_like(bias))  # DyNet has one bias
    for part, array, source in zip(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), arrays, (*given, "zeros"), strict=True
    ):
        layer.tensors[part + suffix], layer.sources[part + suffix] = array, source
