"""Stacks for callers who keep the weights themselves and may change them at any time, without saying so.

Design
a) A caller lends its arrays for one run. Nothing keeps them afterwards.
b) A workspace is a stack of given sizes with the memory of its packed copies. It is found by its sizes, used by one run
   at a time, and kept for the next run of those sizes.
c) Packed copies serve again only if the weights have the same bits as when the copies were made. All of them are
   compared: no address and no version tells whether an array has changed. First comes a sample of a few numbers:
   after a training step it nearly always differs. The whole is copied, for comparison, only where a sample came
   out equal, so a loop that trains never pays for it.
d) The copy for comparison is made before the packed ones. A write by somebody else in between makes the next
   comparison fail, so the weights are packed again.
e) A backward run names the stamp of its forward run. Where a workspace still has it, its copies are of those values,
   and nothing is compared. But where it is to pack more of them, beside copies that may serve later runs, it makes
   sure that they are still the same.
"""

from libc.string cimport memcmp, memcpy

import numpy as np

cimport numpy as cnp

from fastrnn._core.run cimport Stack
from fastrnn._core.weights cimport INPUT_TRANSPOSED, RECURRENT_TRANSPOSED, RecurrentWeights, Version

from fastrnn._core.memory import empty

cnp.import_array()

cdef enum:
    SAMPLED = 8         # numbers of each array
    MOST_ALIKE = 4      # workspaces of the same sizes that wait, for layers that take turns
    MOST_SIZES = 32

waiting = {}            # lists of workspaces that nobody uses, by their sizes, those of the latest use last


cdef class Workspace:

    def __init__(self, tuple key, str cell, Py_ssize_t layers, int directions, bint biases, bint projected,
                 list arrays):
        cdef Py_ssize_t n = 2 + 2 * biases + projected, i
        self.key, self.arrays_each, self.version, self.first, self.snapshot = key, n, Version(), None, None
        self.weights = [
            RecurrentWeights(cell, self.version, *parts_of(arrays[i * n:i * n + n], biases))
            for i in range(layers * directions)
        ]
        self.stack = Stack(
            [tuple(self.weights[i * directions:i * directions + directions]) for i in range(layers)],
            "concat" if directions == 2 else None,
        )
        self.sample = np.zeros((len(arrays), SAMPLED), dtype=arrays[0].dtype)
        self.return_arrays()

    cdef lend(self, list arrays, bint compare, bint inputs):
        """Let the weights be these. What was packed of others is stale, if they are to be compared."""
        cdef RecurrentWeights one
        cdef Py_ssize_t i = 0, n = self.arrays_each
        cdef bint biases = n >= 4
        for one in self.weights:
            one.weight_ih, one.weight_hh = arrays[i], arrays[i + 1]
            if biases:
                one.bias_ih, one.bias_hh = arrays[i + 2], arrays[i + 3]
            if n % 2:
                one.weight_hr = arrays[i + n - 1]
            i += n
        if (compare or (self.snapshot is not None and self.will_pack(inputs))) and self.changed(arrays):
            self.version.advance()
            self.stamp = object()

    cdef bint will_pack(self, bint inputs):
        """Whether a backward run packs anything, with or without the gradient of the inputs."""
        cdef RecurrentWeights one = self.weights[0]
        return one.is_stale(1 << RECURRENT_TRANSPOSED | (1 << INPUT_TRANSPOSED if inputs else 0))

    def return_arrays(self):
        """Keep none of the arrays."""
        cdef RecurrentWeights one
        for one in self.weights:
            one.weight_ih = one.weight_hh = one.bias_ih = one.bias_hh = None
            if one.weight_hr is not None:
                one.weight_hr = RETURNED

    cdef bint changed(self, list arrays):
        """Whether any bit may differ from when the copies were made."""
        cdef cnp.ndarray array, before
        if self.sample_differs(arrays):
            self.snapshot = None
            return True
        if self.snapshot is not None:
            for array, before in zip(arrays, self.snapshot):
                if memcmp(cnp.PyArray_DATA(array), cnp.PyArray_DATA(before), cnp.PyArray_NBYTES(array)) != 0:
                    self.snapshot = None
                    return True
            return False
        self.snapshot = []
        for array in arrays:
            before = empty([cnp.PyArray_SIZE(array)], array.dtype)
            memcpy(cnp.PyArray_DATA(before), cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array))
            self.snapshot.append(before)
        return True

    cdef bint sample_differs(self, list arrays):
        """Whether the sample differs; it is then that of these arrays."""
        cdef cnp.ndarray array
        cdef char *kept = cnp.PyArray_BYTES(self.sample)
        cdef char *number
        cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(self.sample), count, i
        cdef bint differs = self.first is None
        for array in arrays:
            count = cnp.PyArray_SIZE(array)
            for i in range(SAMPLED):
                number = cnp.PyArray_BYTES(array) + (count - 1) * i // (SAMPLED - 1) * size
                if memcmp(kept, number, size) != 0:
                    differs = True
                    memcpy(kept, number, size)
                kept += size
        return differs


RETURNED = object()     # in place of a projection that was lent: that there is one is part of the sizes


cdef list parts_of(list arrays, bint biases):
    """weight_ih, weight_hh, bias_ih, bias_hh, weight_hr of one direction, None for what there is not."""
    cdef list biases_of = arrays[2:4] if biases else [None, None]
    return arrays[:2] + biases_of + (arrays[4 if biases else 2:] or [None])


cdef Workspace borrow(str cell, Py_ssize_t layers, int directions, bint biases, bint projected, list arrays,
                      object stamp, bint inputs):
    """A workspace for these arrays, which has been lent them.

    stamp: of a backward run, the workspace's in the forward run, else None; inputs: whether it makes their gradient
    arrays: for each layer and direction weight_ih, weight_hh, with biases bias_ih and bias_hh, projected weight_hr
    """
    cdef Workspace workspace
    cdef cnp.ndarray first = arrays[0], recurrent = arrays[1]
    cdef tuple key = (
        cell, layers, directions, biases, projected, cnp.PyArray_TYPE(first), cnp.PyArray_DIM(first, 0),
        cnp.PyArray_DIM(first, 1), cnp.PyArray_DIM(recurrent, 1)
    )
    cdef object address = <size_t> cnp.PyArray_DATA(first)
    workspace = take_waiting(key, address, stamp)
    if workspace is None:
        workspace = Workspace(key, cell, layers, directions, biases, projected, arrays)
    workspace.lend(arrays, stamp is None or workspace.stamp is not stamp, inputs)
    workspace.first = address
    return workspace


cdef Workspace take_waiting(tuple key, address, stamp):
    """One of those that wait: with that stamp, or that had an array at that address last, or of many the oldest."""
    cdef list alike = waiting.get(key)
    cdef Py_ssize_t i
    if alike is None:
        return None
    for i in range(len(alike) - 1, -1, -1):
        if stamp is not None and (<Workspace> alike[i]).stamp is stamp:
            return alike.pop(i)
    for i in range(len(alike) - 1, -1, -1):
        if (<Workspace> alike[i]).first == address:
            return alike.pop(i)
    return alike.pop(0) if len(alike) >= MOST_ALIKE else None


cdef give_back(Workspace workspace):
    """After a run: the arrays are the caller's alone again."""
    cdef list alike
    workspace.return_arrays()
    alike = waiting.pop(workspace.key, None) or []
    alike.append(workspace)
    waiting[workspace.key] = alike
    while len(alike) > MOST_ALIKE:
        alike.pop(0)
    while len(waiting) > MOST_SIZES:
        waiting.pop(next(iter(waiting)), None)


def release():
    """Forget all workspaces that nobody uses."""
    waiting.clear()
