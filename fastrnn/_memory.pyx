"""Arrays whose memory is kept for the next call of a like shape.

A training step wants the same few buffers every time. Returned to the operating system between steps, each page of
them costs a fault at its first touch: on a virtual machine a third of the step (benchmarks/README.md). So freed
blocks wait here for the next request.

Design
a) A block returns when the last array that looks into it is gone: NumPy's own reference counting, no calls to
   forget.
b) Live and waiting blocks together never exceed the most that was ever live at once, nor the waiting ones
   KEPT_BYTES: a run over changing shapes does not grow.
c) Blocks start on a cache line; large ones on a huge page, where the system has them: fewer faults, fewer TLB
   misses.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free

import threading

import numpy as np

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

cdef object KEPT_BYTES = 1 << 29
SMALL_BYTES = SMALL

lock = threading.RLock()  # a collection inside may return blocks
cdef list waiting = []          # blocks' (capacity, address), the longest waiting first
cdef object waiting_bytes = 0
cdef object live_bytes = 0
cdef object most_live_bytes = 0


cdef class Block:
    """One piece of memory, lent to NumPy through the buffer protocol."""

    cdef void *memory
    cdef size_t capacity

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.capacity, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            put_back(self.capacity, <uintptr_t> self.memory)


cdef put_back(size_t capacity, uintptr_t address):
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


cdef trim(limit):
    """Free the longest waiting blocks until the rest keeps to the limits; called with the lock held."""
    global waiting_bytes
    while waiting and (waiting_bytes > limit or waiting_bytes + live_bytes > most_live_bytes):
        capacity, address = waiting.pop(0)
        waiting_bytes -= capacity
        free(<void *> <uintptr_t> address)


cdef uintptr_t take(size_t capacity) except? 0:
    """A waiting block of that capacity, the last returned first, or a new one."""
    global waiting_bytes, live_bytes, most_live_bytes
    cdef void *memory
    with lock:
        for i in range(len(waiting) - 1, -1, -1):
            if waiting[i][0] == capacity:
                waiting_bytes -= capacity
                live_bytes += capacity
                return waiting.pop(i)[1]
        trim(max(0, min(KEPT_BYTES, most_live_bytes - live_bytes - capacity)))
        memory = fr_allocate(capacity, HUGE_PAGE if capacity >= 2 * HUGE_PAGE else LINE)
        if memory == NULL:
            trim(0)
            memory = fr_allocate(capacity, LINE)
        if memory == NULL:
            raise MemoryError(f"fastrnn: no memory for an array of {capacity} bytes")
        live_bytes += capacity
        most_live_bytes = max(most_live_bytes, live_bytes)
        return <uintptr_t> memory


cdef size_t rounded(size_t n):
    """n rounded up by at most an eighth, so that slightly different shapes share a capacity."""
    cdef size_t step = LINE
    while step * 8 < n:
        step *= 2
    return (n + step - 1) // step * step


def empty(shape):
    """An uninitialised C-contiguous float32 array that starts on a cache line, so that no vector straddles two."""
    size = 1
    for n in shape:
        size *= int(n)
    if size * 4 > 1 << 62:
        raise MemoryError(f"fastrnn: no memory for an array of shape {tuple(shape)}")
    if size * 4 < SMALL:
        raw = np.empty(size + LINE // 4, dtype=np.float32)
        first = -(raw.ctypes.data // 4) % (LINE // 4)
        return raw[first:first + size].reshape(shape)
    cdef Block block = Block()
    block.capacity = rounded(size * 4)
    block.memory = <void *> take(block.capacity)
    return np.frombuffer(block, dtype=np.float32, count=size).reshape(shape)


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
