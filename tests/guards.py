"""Arrays flush with pages that nobody may touch: one byte too far ends the process. Linux only."""

import ctypes
import mmap
import sys
from contextlib import contextmanager

import numpy as np

protect = ctypes.CDLL(None).mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def between_guards(size, at_end=True):
    """Memory between two such pages, and where in it the bytes lie that are flush with one of them."""
    page = mmap.PAGESIZE
    whole = -(-size // page) * page
    memory = mmap.mmap(-1, whole + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (start, start + page + whole):
        assert protect(guard, page, 0) == 0
    return memory, start, page + (whole - size if at_end else 0)


def guarded(shape, dtype=np.float32, at_end=True):
    """An array of NaN, or zeros if of integers, between two such pages: flush with the one behind it or before it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory, _, first = between_guards(size, at_end)
    array = np.frombuffer(memory, np.uint8)[first : first + size].view(dtype).reshape(shape)
    array[...] = np.nan if np.dtype(dtype).kind == "f" else 0
    assert array.flags.c_contiguous and array.flags.aligned
    return array


def guarded_copy(array, at_end=True):
    copy = guarded(array.shape, array.dtype, at_end)
    copy[...] = array
    return copy


# NumPy's PyDataMem_Handler: who gives the memory of arrays that NumPy allocates.
MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
SET_HANDLER = 304  # its place in NumPy's table of C functions
blocks = {}  # by address: the memory, and how many bytes of it were asked for


class Handler(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", MALLOC),
        ("calloc", CALLOC),
        ("realloc", REALLOC),
        ("free", FREE),
    ]


def allocate(size, byte):
    """As malloc, with every byte set. No array is made here: NumPy would ask for its memory."""
    memory, start, first = between_guards(size)
    ctypes.memset(start + first, byte, size)
    blocks[start + first] = memory, size
    return start + first


def reallocate(_, address, size):
    new = allocate(size, 0xFF)
    if address:
        old = blocks.pop(address)  # to be held until it has been copied
        ctypes.memmove(new, address, min(size, old[1]))
    return new


handler = Handler(
    b"guarded",
    1,
    None,
    MALLOC(lambda _, size: allocate(size, 0xFF)),  # NaN, of either type
    CALLOC(lambda _, count, size: allocate(count * size, 0)),
    REALLOC(reallocate),
    FREE(lambda _, address, size: blocks.pop(address, None)),
)


def set_handler(capsule):
    """Let NumPy allocate through it; returns the one before."""
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p
    table = api.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
    function = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[SET_HANDLER]
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(function)(capsule)


@contextmanager
def guards_everywhere():
    """Every array that is made inside is guarded: NumPy's, and those of the package's own memory.

    They refer to this module until they are gone: a process that may have kept some ends by os._exit.
    """
    api = ctypes.pythonapi
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    before = set_handler(api.PyCapsule_New(ctypes.addressof(handler), b"mem_handler", None))
    users = [m for name, m in sys.modules.items() if name.startswith("fastrnn") and hasattr(m, "empty")]
    kept = [module.empty for module in users]
    for module in users:
        module.empty = guarded
    try:
        yield
    finally:
        for module, empty in zip(users, kept, strict=True):
            module.empty = empty
        set_handler(before)
