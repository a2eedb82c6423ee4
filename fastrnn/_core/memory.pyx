"""Arrays whose memory is kept for the next call of a like shape.

A training step wants the same few buffers every time. If they went back to the operating system between steps, each of
their pages would cost a fault at its first touch: on a virtual machine a quarter of the step (Z3-56). So freed blocks
wait here for the next request.

Design
a) A block returns when the last array over it is gone: NumPy's own reference counting, no calls to forget.
b) The pool follows the working set: live and waiting blocks together stay below 1.25 times the recent peak of live
   bytes. Changing shapes do not pile up. The quarter is for what forward and backward do not need at the same time:
   without it a step could give back in its second half what its first half needs (Z3-57).
c) The recent peak is the most that was live at once in this period or the one before. A period ends when PERIOD times
   the recent peak has been handed out. So a loop whose steps hand out less than that keeps the peak of its steps. A
   working set that has shrunk gives the rest back within two periods. And memory that is given back too early costs
   little: for each byte that a lower peak gives back, at least six have been handed out.
d) Waiting blocks never exceed a quarter of the memory that this process may use.
e) When there is no memory, waiting blocks go back first, then garbage in cycles is collected. MemoryError comes last.
   `release` gives all waiting blocks back.
f) Blocks start on a cache line; large ones on a huge page, where the system has them: fewer faults, fewer TLB misses.
g) No lock: what keeps the books is C that runs under the interpreter's lock from its first line to its last.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

import gc
import os
from pathlib import Path

import numpy as np

cimport numpy as cnp

cnp.import_array()

cdef extern from "native/allocate.h":
    void *fr_allocate(size_t bytes, size_t alignment) nogil
    void fr_return_freed() nogil

cdef enum:
    LINE = 64
    HUGE_PAGE = 1 << 21
    SMALL = 1 << 14    # bytes; below this malloc itself recycles, and numpy.empty is the shorter way
    PERIOD = 8         # see c)
    MOST_AXES = 64     # NumPy's own limit

SMALL_BYTES = SMALL

cdef struct Waiting:
    Py_ssize_t capacity
    void *memory

cdef Waiting *waiting = NULL    # the longest waiting first
cdef Py_ssize_t waiting_count = 0
cdef Py_ssize_t waiting_room = 0
cdef Py_ssize_t waiting_bytes = 0
cdef Py_ssize_t most_waiting_bytes = 0
cdef Py_ssize_t live_bytes = 0
cdef Py_ssize_t peak_bytes = 0      # the most that was live in this period,
cdef Py_ssize_t earlier_peak = 0    # and in the one before
cdef Py_ssize_t handed_out = 0      # bytes, in this period
cdef Py_ssize_t allocations = 0


# -------------------------------------------------------------------------------------------------- the pool


cdef class Block:
    """One piece of memory, which an array has for its base."""

    cdef void *memory
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        if self.memory != NULL:
            put_back(self.capacity, self.memory)


cdef void *take(Py_ssize_t capacity) noexcept:
    """A waiting block of that capacity, the last returned first, or a new one; NULL if there is no memory."""
    cdef void *memory = take_waiting(capacity)
    if memory == NULL:
        memory = allocate(capacity)
    if memory != NULL:
        count(capacity)
    return memory


cdef void *take_waiting(Py_ssize_t capacity) noexcept:
    global waiting_count, waiting_bytes
    cdef void *memory
    cdef Py_ssize_t i
    for i in range(waiting_count - 1, -1, -1):
        if waiting[i].capacity == capacity:
            memory = waiting[i].memory
            waiting_count -= 1
            memmove(waiting + i, waiting + i + 1, (waiting_count - i) * sizeof(Waiting))
            waiting_bytes -= capacity
            return memory
    return NULL


cdef void *allocate(Py_ssize_t capacity) noexcept:
    global allocations
    cdef void *memory
    # What the new block will displace goes first, lest both be there for a moment.
    trim(min(most_waiting_bytes, most_bytes(live_bytes + capacity) - live_bytes - capacity))
    memory = fr_allocate(capacity, HUGE_PAGE if capacity >= 2 * HUGE_PAGE else LINE)
    if memory == NULL:
        trim(0)
        memory = fr_allocate(capacity, LINE)
    allocations += memory != NULL
    return memory


cdef void count(Py_ssize_t capacity) noexcept:
    """Count a block that is handed out, and end the period if it is time."""
    global live_bytes, peak_bytes, earlier_peak, handed_out
    live_bytes += capacity
    peak_bytes = max(peak_bytes, live_bytes)
    handed_out += capacity
    if handed_out // PERIOD > max(peak_bytes, earlier_peak):
        earlier_peak, peak_bytes, handed_out = peak_bytes, live_bytes, 0
        keep_to_limits()


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
    keep_to_limits()


cdef Py_ssize_t most_bytes(Py_ssize_t live) noexcept:
    """The most that live and waiting blocks may come to when so many bytes are live."""
    cdef Py_ssize_t peak = max(live, max(peak_bytes, earlier_peak))
    return peak + peak // 4


cdef void keep_to_limits() noexcept:
    trim(min(most_waiting_bytes, most_bytes(live_bytes) - live_bytes))


cdef void trim(Py_ssize_t limit) noexcept:
    """Free the longest waiting blocks until the rest are no more than `limit` bytes."""
    global waiting_count, waiting_bytes
    cdef Py_ssize_t gone = 0
    while gone < waiting_count and waiting_bytes > limit:
        waiting_bytes -= waiting[gone].capacity
        free(waiting[gone].memory)
        gone += 1
    if gone:
        waiting_count -= gone
        memmove(waiting, waiting + gone, waiting_count * sizeof(Waiting))


cdef Py_ssize_t rounded(Py_ssize_t n) noexcept:
    """n rounded up by at most an eighth, so that slightly different shapes share a capacity."""
    cdef Py_ssize_t step = LINE
    while step * 8 < n:
        step *= 2
    return (n + step - 1) // step * step


def release():
    """Give all waiting blocks back to the operating system. Arrays in use stay as they are."""
    trim(0)
    fr_return_freed()


def kept():
    """Bytes that wait for the next call."""
    return waiting_bytes


def statistics():
    """Bytes live, bytes waiting, the recent peak of live bytes, and how many blocks have ever been allocated."""
    return {
        "live": live_bytes, "waiting": waiting_bytes, "peak": max(peak_bytes, earlier_peak), "allocations": allocations
    }


# ------------------------------------------------------------------------------------- memory of the machine


def usable_memory(groups="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Bytes of memory that this process may use: the machine's, or less if a control group says so.

    groups, root: files of the system, other ones for tests
    """
    limits = [2 << 30]  # where the system does not tell
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        pass
    for path in group_limits(groups, Path(root)):
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            pass
    return min(limits)


def group_limits(groups, root):
    """The files with the limits of our control groups and of the groups around them, of both versions."""
    try:
        lines = Path(groups).read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "none", "")
        if controllers == "":
            top, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder / name
            if folder == top:
                break


def set_most_waiting(bytes):
    """For tests: the most bytes that may wait. None: a quarter of the usable memory."""
    global most_waiting_bytes
    most_waiting_bytes = usable_memory() // 4 if bytes is None else bytes
    keep_to_limits()


set_most_waiting(None)


# -------------------------------------------------------------------------------------------------- arrays


cdef object FLOAT32 = np.float32


cdef int type_number(dtype) except -1:
    cdef int number = np.dtype(dtype).num
    if number != cnp.NPY_FLOAT32 and number != cnp.NPY_FLOAT64:
        raise TypeError(f"empty: dtype is {np.dtype(dtype)}; expected float32 or float64")
    return number


def empty(shape, dtype=np.float32):
    """An uninitialised C-contiguous array that starts on a cache line, so that no vector straddles two.

    shape: an iterable of integers >= 0;  dtype: float32 or float64
    """
    cdef cnp.npy_intp axes[MOST_AXES]
    cdef int number = cnp.NPY_FLOAT32 if dtype is FLOAT32 else type_number(dtype)
    cdef double bytes = sizeof(float) if number == cnp.NPY_FLOAT32 else sizeof(double)  # a double cannot overflow
    cdef int dimensions = 0
    cdef Block block
    for n in shape:
        axes[dimensions] = n
        bytes *= axes[dimensions]
        dimensions += 1
    if bytes < SMALL:
        return small(dimensions, axes, number, <cnp.npy_intp> bytes)
    block = Block()
    if bytes < <double> (1 << 62):
        block.capacity = rounded(<Py_ssize_t> bytes)
        block.memory = take(block.capacity)
        if block.memory == NULL:
            gc.collect()
            block.memory = take(block.capacity)
    if block.memory == NULL:
        raise MemoryError(f"fastrnn: no memory for an array of shape {tuple(shape)}, {bytes:.0f} bytes")
    return array_over(block, dimensions, axes, number, block.memory)


cdef cnp.ndarray small(int dimensions, cnp.npy_intp *axes, int number, cnp.npy_intp bytes):
    cdef cnp.npy_intp longer = bytes + LINE
    cdef cnp.ndarray raw = cnp.PyArray_EMPTY(1, &longer, cnp.NPY_UINT8, 0)
    cdef uintptr_t first = <uintptr_t> cnp.PyArray_DATA(raw) + LINE - 1
    return array_over(raw, dimensions, axes, number, <void *> (first & ~<uintptr_t> (LINE - 1)))


cdef cnp.ndarray array_over(owner, int dimensions, cnp.npy_intp *axes, int number, void *memory):
    """An array over memory that `owner` holds for as long as the array lives."""
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(dimensions, axes, number, memory)
    cnp.set_array_base(array, owner)
    return array


cdef class Owner:
    """Keeps an array's memory and shows nobody the array."""

    cdef cnp.ndarray array


def view_of(cnp.ndarray array not None, bint writeable):
    """A view of a C-contiguous array that does not lead back to it: nobody can resize what is behind a view, nor make
    a read-only one writable, because NumPy refuses the flag where no base of an array can be written."""
    cdef Owner owner = Owner()
    owner.array = array
    cdef cnp.ndarray view = array_over(
        owner, cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array), cnp.PyArray_DATA(array)
    )
    if not writeable:
        cnp.PyArray_CLEARFLAGS(view, cnp.NPY_ARRAY_WRITEABLE)
    return view
