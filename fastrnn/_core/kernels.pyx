"""Owns the kernel table: which instruction set this process uses, chosen once at import."""

import os

import numpy as np

cdef extern from *:
    """
    #ifdef _OPENMP
    enum { built_with_openmp = 1 };
    #else
    enum { built_with_openmp = 0 };
    #endif
    """
    int built_with_openmp


def available():
    """Names of the instruction sets this machine can run, from the plainest to the best."""
    names = []
    while fr_available(len(names)) != NULL:
        names.append(fr_available(len(names)).name.decode())
    return names


def choose(limit):
    """The tables for `limit`, a name from `available()`, or None for the best."""
    global kernels, kernels_f64
    cdef bytes name = b"" if limit is None else limit.encode()
    cdef const char *only = NULL
    if limit is not None:
        only = name
    if fr_select(only, sizeof(float)) == NULL:
        raise ImportError(
            f"fastrnn: FASTRNN_ISA is {limit!r}; this machine can run: {', '.join(available())}. "
            "Set it to one of these or unset it."
        )
    kernels, kernels_f64 = fr_select(only, sizeof(float)), fr_select(only, sizeof(double))


def isa():
    """The instruction set in use, with its vector width and register tile."""
    return {"name": kernels.name.decode(), "vector": kernels.vector, "tile_rows": kernels.rows}


def openmp():
    """Whether the build has threads."""
    return bool(built_with_openmp)


def cells():
    """Name, gates and states of every compiled cell."""
    return {
        kernels.cells[i].name.decode(): {
            "gates": kernels.cells[i].gates, "states": kernels.cells[i].states
        }
        for i in range(kernels.cell_count)
    }


def activation(name, x):
    """tanh or sigmoid of a float32 array by the kernels' own vector code (for tests of its accuracy)."""
    cdef const float[::1] flat = np.ascontiguousarray(x, dtype=np.float32).reshape(-1)
    result = np.empty(np.shape(x), dtype=np.float32)
    cdef float[::1] out = result.reshape(-1)
    if flat.shape[0] == 0:
        return result
    if name == "tanh":
        kernels.tanh(flat.shape[0], &flat[0], &out[0])
    elif name == "sigmoid":
        kernels.sigmoid(flat.shape[0], &flat[0], &out[0])
    else:
        raise ValueError(f"activation: got name {name!r}; expected 'tanh' or 'sigmoid'")
    return result


choose(os.environ.get("FASTRNN_ISA") or None)
