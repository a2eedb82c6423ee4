"""Arrays whose memory is kept for the next call of a like shape.

A training step wants the same few buffers every time. Returned to the operating system between steps, each page of
them costs a fault at its first touch: on a virtual machine a third of the step (benchmarks/README.md). So freed
blocks wait here for the next request.

Design
a) A block returns when the last array that looks into it is gone: NumPy's own reference counting, no calls to
   forget.
b) Live and waiting blocks together never exceed the most that was ever live at once and a quarter, nor the waiting
   ones KEPT_BYTES: a run over changing shapes does not grow. The quarter is for what forward and backward do not need
   at the same time: with none, a step could return in its second half what its first would miss.
c) Blocks start on a cache line; large ones on a huge page, where the system has them: fewer faults, fewer TLB
   misses.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free

import threading

import numpy as np

cimport numpy as cnp

cnp.import_array()

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif

    static void *fr_allocate(size_t bytes, size_t alignment)
    {
        void *memory = NULL;
        if (posix_memalign(&memory, alignment, bytes)) return NULL;
    #ifdef MADV_HUGEPAGE
        if (bytes >= (size_t)1 << 22) madvise(memory, bytes, MADV_HUGEPAGE);
    #endif
        return memory;
    }
    """
    void *fr_allocate(size_t bytes, size_t alignment) nogil

cdef enum:
    LINE = 64
    HUGE_PAGE = 1 << 21
    SMALL = 1 << 14   # below this malloc itself recycles, and numpy.empty is the shorter way

cdef Py_ssize_t KEPT_BYTES = 1 << 29
SMALL_BYTES = SMALL

lock = threading.RLock()  # a collection inside may return blocks
cdef list waiting = []          # blocks' (capacity, address), the longest waiting first
cdef Py_ssize_t waiting_bytes = 0
cdef Py_ssize_t live_bytes = 0
cdef Py_ssize_t most_live_bytes = 0


cdef class Block:
    """One piece of memory, which an array has for its base."""

    cdef void *memory
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        if self.memory != NULL:
            put_back(self.capacity, <uintptr_t> self.memory)


cdef put_back(Py_ssize_t capacity, uintptr_t address):
    global waiting_bytes, live_bytes
    if lock is None:  # the interpreter is shutting down and has cleared this module
        free(<void *> address)
        return
    block = (capacity, address)
    with lock:
        live_bytes -= capacity
        waiting_bytes += capacity
        waiting.append(block)
        trim(KEPT_BYTES)


cdef Py_ssize_t most_bytes() noexcept:
    """The most that live and waiting blocks may come to."""
    return most_live_bytes + most_live_bytes // 4


cdef trim(Py_ssize_t limit):
    """Free the longest waiting blocks until the rest keeps to the limits; called with the lock held."""
    global waiting_bytes
    while waiting and (waiting_bytes > limit or waiting_bytes + live_bytes > most_bytes()):
        capacity, address = waiting.pop(0)
        waiting_bytes -= capacity
        free(<void *> <uintptr_t> address)


cdef uintptr_t take(Py_ssize_t capacity) except? 0:
    """A waiting block of that capacity, the last returned first, or a new one."""
    global waiting_bytes, live_bytes, most_live_bytes
    cdef void *memory
    with lock:
        for i in range(len(waiting) - 1, -1, -1):
            if waiting[i][0] == capacity:
                waiting_bytes -= capacity
                live_bytes += capacity
                return waiting.pop(i)[1]
        trim(max(<Py_ssize_t> 0, min(KEPT_BYTES, most_bytes() - live_bytes - capacity)))
        memory = fr_allocate(capacity, HUGE_PAGE if capacity >= 2 * HUGE_PAGE else LINE)
        if memory == NULL:
            trim(0)
            memory = fr_allocate(capacity, LINE)
        if memory == NULL:
            raise MemoryError(f"fastrnn: no memory for an array of {capacity} bytes")
        live_bytes += capacity
        most_live_bytes = max(most_live_bytes, live_bytes)
        return <uintptr_t> memory


cdef Py_ssize_t rounded(Py_ssize_t n):
    """n rounded up by at most an eighth, so that slightly different shapes share a capacity."""
    cdef Py_ssize_t step = LINE
    while step * 8 < n:
        step *= 2
    return (n + step - 1) // step * step


def empty(shape):
    """An uninitialised C-contiguous float32 array that starts on a cache line, so that no vector straddles two."""
    cdef Block block
    cdef cnp.ndarray raw
    cdef uintptr_t first
    size = 1
    for n in shape:
        size *= int(n)
    if size * 4 > 1 << 62:
        raise MemoryError(f"fastrnn: no memory for an array of shape {tuple(shape)}")
    if size * 4 < SMALL:
        raw = np.empty(size + LINE // 4, dtype=np.float32)
        first = <uintptr_t> cnp.PyArray_DATA(raw) + LINE - 1
        return looking_into(raw, <void *> (first & ~<uintptr_t> (LINE - 1)), size).reshape(shape)
    block = Block()
    block.capacity = rounded(size * 4)
    block.memory = <void *> take(block.capacity)
    return looking_into(block, block.memory, size).reshape(shape)


cdef cnp.ndarray looking_into(owner, void *memory, cnp.npy_intp size):
    """A float32 vector over memory that `owner` holds for as long as the vector lives."""
    cdef cnp.ndarray vector = cnp.PyArray_SimpleNewFromData(1, &size, cnp.NPY_FLOAT32, memory)
    cnp.set_array_base(vector, owner)
    return vector


def renew_lock():
    """For the child of a fork, where the thread that held the lock may not exist."""
    global lock
    lock = threading.RLock()


def kept():
    """Bytes that wait for the next call."""
    return waiting_bytes


def free_kept():
    """Return all waiting memory to the system."""
    global most_live_bytes
    with lock:
        trim(0)
        most_live_bytes = live_bytes
