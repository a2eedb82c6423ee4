"""Owns the kernel table: which instruction set this process uses, chosen once at import."""

import os

import numpy as np


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


cdef const fr_kernels *table_of(str who, dtype) except NULL:
    """The table in use for arrays of a type."""
    if np.dtype(dtype) == np.float32:
        return kernels
    if np.dtype(dtype) == np.float64:
        return kernels_f64
    raise TypeError(f"{who}: got elements of type {np.dtype(dtype)}; expected float32 or float64")


def isa(dtype=np.float32):
    """The instruction set in use, with its vector width and register tile for elements of a type."""
    cdef const fr_kernels *table = table_of("isa", dtype)
    return {"name": table.name.decode(), "vector": table.vector, "tile_rows": table.rows}


def openmp():
    """Whether the build has threads."""
    return bool(fr_has_openmp())


def cells():
    """Name, gates and states of every compiled cell."""
    return {
        kernels.cells[i].name.decode(): {
            "gates": kernels.cells[i].gates, "states": kernels.cells[i].states
        }
        for i in range(kernels.cell_count)
    }


cdef void *start(array) except NULL:
    """Where the elements of a contiguous array begin."""
    return <void *> <size_t> array.ctypes.data


def activation(name, x):
    """tanh or sigmoid of a float32 or float64 array by the kernels' own vector code (for tests of its accuracy)."""
    x = np.ascontiguousarray(x)
    cdef const fr_kernels *table = table_of("activation", x.dtype)
    result = np.empty_like(x)
    if x.size == 0:
        return result
    if name == "tanh":
        table.tanh(x.size, start(x), start(result))
    elif name == "sigmoid":
        table.sigmoid(x.size, start(x), start(result))
    else:
        raise ValueError(f"activation: got name {name!r}; expected 'tanh' or 'sigmoid'")
    return result


def product(init, x, weight):
    """init (M, N) + x (M, K) @ weight (K, N), all float32 or all float64, by one product of the kernels (for tests)."""
    cdef const fr_kernels *table = table_of("product", init.dtype)
    result, x = np.array(init), np.ascontiguousarray(x)
    cdef Py_ssize_t M = init.shape[0], N = init.shape[1], K = x.shape[1]
    if not (x.dtype == weight.dtype == init.dtype and x.shape == (M, K) and weight.shape == (K, N) and M and N and K):
        raise ValueError("product: got arrays that do not fit each other; expected (M, N), (M, K), (K, N) of one type")
    cdef fr_matrix matrix = table.layout(K, N)
    panels = np.empty(matrix.groups * matrix.panel // table.size, init.dtype)
    matrix.at = start(panels)
    table.pack(&matrix, 0, 0, K, N, start(weight), weight.strides[0] // table.size, weight.strides[1] // table.size)
    cdef fr_product product = fr_product(
        M=M, groups=matrix.groups, K=K, a=start(x), a_row=K, w=matrix.at, w_panel=matrix.panel, far=False,
        init=start(result), init_row=N, c=start(result), c_row=N, c_group=FR_GROUP,
        edge=N - (matrix.groups - 1) * FR_GROUP,
    )
    cdef unsigned before = fr_flush_begin()
    table.gemm(&product)
    fr_flush_end(before)
    return result


choose(os.environ.get("FASTRNN_ISA") or None)
