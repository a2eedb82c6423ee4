"""Arrays whose memory is kept for the next call of a like shape.

A training step wants the same few buffers every time. Returned to the operating system between steps, each page of
them costs a fault at its first touch: on a virtual machine a quarter of the step (Z3-56). So freed blocks wait here
for the next request.

Design
a) A block returns when the last array that looks into it is gone: NumPy's own reference counting, no calls to
   forget.
b) Live and waiting blocks together never exceed the most that was ever live at once and a quarter, nor the waiting
   ones KEPT_BYTES: a run over changing shapes does not grow. The quarter is for what forward and backward do not need
   at the same time: with none, a step could return in its second half what its first would miss
   (Z3-57).
c) Blocks start on a cache line; large ones on a huge page, where the system has them: fewer faults, fewer TLB
   misses.
d) No lock: what keeps the books is C that runs under the interpreter's lock from its first line to its last.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

cimport numpy as cnp

import numpy as np

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
    MOST_AXES = 64    # NumPy's own limit

cdef Py_ssize_t KEPT_BYTES = 1 << 29
SMALL_BYTES = SMALL

cdef struct Waiting:
    Py_ssize_t capacity
    void *memory

cdef Waiting *waiting = NULL    # the longest waiting first
cdef Py_ssize_t waiting_count = 0
cdef Py_ssize_t waiting_room = 0
cdef Py_ssize_t waiting_bytes = 0
cdef Py_ssize_t live_bytes = 0
cdef Py_ssize_t most_live_bytes = 0


cdef class Block:
    """One piece of memory, which an array has for its base."""

    cdef void *memory
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        if self.memory != NULL:
            put_back(self.capacity, self.memory)


cdef void put_back(Py_ssize_t capacity, void *memory) noexcept:
    global waiting, waiting_room, waiting_count, waiting_bytes, live_bytes
    cdef void *larger
    live_bytes -= capacity
    if waiting_count == waiting_room:
        larger = realloc(waiting, (2 * waiting_room + 64) * sizeof(Waiting))
        if larger == NULL:
            free(memory)
            return
        waiting, waiting_room = <Waiting *> larger, 2 * waiting_room + 64
    waiting[waiting_count] = Waiting(capacity, memory)
    waiting_count += 1
    waiting_bytes += capacity
    trim(KEPT_BYTES)


cdef Py_ssize_t most_bytes() noexcept:
    """The most that live and waiting blocks may come to."""
    return most_live_bytes + most_live_bytes // 4


cdef void trim(Py_ssize_t limit) noexcept:
    """Free the longest waiting blocks until the rest keeps to the limits."""
    global waiting_count, waiting_bytes
    cdef Py_ssize_t gone = 0
    while gone < waiting_count and (waiting_bytes > limit or waiting_bytes + live_bytes > most_bytes()):
        waiting_bytes -= waiting[gone].capacity
        free(waiting[gone].memory)
        gone += 1
    if gone:
        waiting_count -= gone
        memmove(waiting, waiting + gone, waiting_count * sizeof(Waiting))


cdef void *take(Py_ssize_t capacity) noexcept:
    """A waiting block of that capacity, the last returned first, or a new one; NULL if there is no memory."""
    global waiting_count, waiting_bytes, live_bytes, most_live_bytes
    cdef void *memory
    cdef Py_ssize_t i
    for i in range(waiting_count - 1, -1, -1):
        if waiting[i].capacity == capacity:
            memory = waiting[i].memory
            waiting_count -= 1
            memmove(waiting + i, waiting + i + 1, (waiting_count - i) * sizeof(Waiting))
            waiting_bytes -= capacity
            live_bytes += capacity
            return memory
    trim(max(<Py_ssize_t> 0, min(KEPT_BYTES, most_bytes() - live_bytes - capacity)))
    memory = fr_allocate(capacity, HUGE_PAGE if capacity >= 2 * HUGE_PAGE else LINE)
    if memory == NULL:
        trim(0)
        memory = fr_allocate(capacity, LINE)
    if memory != NULL:
        live_bytes += capacity
        most_live_bytes = max(most_live_bytes, live_bytes)
    return memory


cdef Py_ssize_t rounded(Py_ssize_t n) noexcept:
    """n rounded up by at most an eighth, so that slightly different shapes share a capacity."""
    cdef Py_ssize_t step = LINE
    while step * 8 < n:
        step *= 2
    return (n + step - 1) // step * step


def empty(shape, dtype=np.float32):
    """An uninitialised C-contiguous array, float32 or float64, that starts on a cache line, so that no vector straddles
    two."""
    cdef cnp.npy_intp axes[MOST_AXES]
    cdef bint wide = dtype == np.float64
    cdef int kind = cnp.NPY_FLOAT64 if wide else cnp.NPY_FLOAT32
    cdef double bytes = sizeof(double) if wide else sizeof(float)  # as a double it cannot overflow
    cdef int dimensions = 0
    cdef Block block
    for n in shape:
        axes[dimensions] = n
        bytes *= axes[dimensions]
        dimensions += 1
    if bytes < SMALL:
        return small(dimensions, axes, kind, <cnp.npy_intp> bytes)
    block = Block()
    if bytes < <double> (1 << 62):
        block.capacity = rounded(<Py_ssize_t> bytes)
        block.memory = take(block.capacity)
    if block.memory == NULL:
        raise MemoryError(f"fastrnn: no memory for an array of shape {tuple(shape)}")
    return looking_into(block, dimensions, axes, kind, block.memory)


cdef cnp.ndarray small(int dimensions, cnp.npy_intp *axes, int kind, cnp.npy_intp bytes):
    cdef cnp.npy_intp longer = bytes + LINE
    cdef cnp.ndarray raw = cnp.PyArray_EMPTY(1, &longer, cnp.NPY_UINT8, 0)
    cdef uintptr_t first = <uintptr_t> cnp.PyArray_DATA(raw) + LINE - 1
    return looking_into(raw, dimensions, axes, kind, <void *> (first & ~<uintptr_t> (LINE - 1)))


cdef cnp.ndarray looking_into(owner, int dimensions, cnp.npy_intp *axes, int kind, void *memory):
    """An array of NumPy's type `kind` over memory that `owner` holds for as long as the array lives."""
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(dimensions, axes, kind, memory)
    cnp.set_array_base(array, owner)
    return array


cdef class Owner:
    """Keeps an array's memory and shows nobody the array."""

    cdef cnp.ndarray array


def view_of(cnp.ndarray array not None, bint writeable):
    """A view of a C-contiguous array that does not lead back to it: nobody can resize what is behind a view,
    nor make a read-only one writable, because NumPy refuses the flag where no base of an array can be written."""
    cdef Owner owner = Owner()
    owner.array = array
    cdef cnp.ndarray view = looking_into(
        owner, cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array), cnp.PyArray_DATA(array)
    )
    if not writeable:
        cnp.PyArray_CLEARFLAGS(view, cnp.NPY_ARRAY_WRITEABLE)
    return view


def kept():
    """Bytes that wait for the next call."""
    return waiting_bytes
