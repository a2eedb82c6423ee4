"""Every rule about arguments and every message about a broken one: who, what, got, expected.

    values.py            what a value is, and what a message shows of it
    dtypes.py            types of numbers: float32 and float64, and what they hold
    mending.py           what to type for a value to make it what is expected
    numbers.py           single numbers in their ranges, and truth values
    options.py           options that are no numbers: names, objects, functions, paths, seeds
    sizes.py             sizes of layers and of their parameters
    float_arrays.py      arrays of floats, and of truth values, of given shapes
    integer_arrays.py    arrays of integers, and indices in their ranges
    batches.py           sequences: one, a batch of them, or a list
    states.py            initial and final states of layers
    state_dicts.py       parameters by name, as they are loaded
    gradients.py         layers that are trained, and their gradients
"""

from .batches import arrays, attention_lists, padded_sequence, same_batch, sequence, sequences
from .dtypes import FLOAT32, FLOAT64, DType, FloatArray, IndexArray, dtype, dtype_of, float_range
from .float_arrays import flags, floats, items, output, rows_of, shape
from .gradients import gradient_dicts, gradient_vectors, modules
from .integer_arrays import index_range, indices, integers, lengths, places, rows
from .numbers import (
    MOST,
    count,
    count_or_none,
    dropout,
    flag,
    index_or_none,
    integer,
    length_penalty,
    number,
    positive,
    probability,
    share,
    token,
)
from .options import checkpoint, choice, function, generator, instance, path, random_numbers
from .sizes import (
    attention_sizes,
    dimensions,
    layers_of,
    matrix,
    options_fit,
    padding_fits,
    parameter_bytes,
    projection,
    rows_per_gate,
    widths,
)
from .state_dicts import Keys, entries, mapping, state_dict, tensor
from .states import StateShape, list_of, state
from .values import array_of, is_index, plain, shown

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "MOST",
    "DType",
    "FloatArray",
    "IndexArray",
    "Keys",
    "StateShape",
    "array_of",
    "arrays",
    "attention_lists",
    "attention_sizes",
    "checkpoint",
    "choice",
    "count",
    "count_or_none",
    "dimensions",
    "dropout",
    "dtype",
    "dtype_of",
    "entries",
    "flag",
    "flags",
    "float_range",
    "floats",
    "function",
    "generator",
    "gradient_dicts",
    "gradient_vectors",
    "index_or_none",
    "index_range",
    "indices",
    "instance",
    "integer",
    "integers",
    "is_index",
    "items",
    "layers_of",
    "length_penalty",
    "lengths",
    "list_of",
    "mapping",
    "matrix",
    "modules",
    "number",
    "options_fit",
    "output",
    "padded_sequence",
    "padding_fits",
    "parameter_bytes",
    "path",
    "places",
    "plain",
    "positive",
    "probability",
    "projection",
    "random_numbers",
    "rows",
    "rows_of",
    "rows_per_gate",
    "same_batch",
    "sequence",
    "sequences",
    "shape",
    "share",
    "shown",
    "state",
    "state_dict",
    "tensor",
    "token",
    "widths",
]
