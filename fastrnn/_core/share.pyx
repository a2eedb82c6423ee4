"""What one thread of a time loop owns.

A thread owns some rows, or some units of them, and walks time with them. Rows do not depend on each other. Those who
have the same rows wait for each other after every stage, whose results the next one reads. Faster threads get more
(team.pyx). Each sum has one order, whatever the number of threads and who does what.
"""

from fastrnn._core.kernels cimport FR_GROUP
from fastrnn._core.plan cimport Batch, Grid, few_rows, grid_of, groups_at_once, l2_bytes
from fastrnn._core.team cimport fr_barrier, fr_member, fr_team, fr_ticks, part_begin, part_fraction
from fastrnn._core.weights cimport Layer


cdef Py_ssize_t row_begin(const Batch *batch, Py_ssize_t low, Py_ssize_t high, int part, int parts,
                          const fr_team *team, int member, int each) noexcept nogil:
    """The row of low..high that a part begins with, so that all parts take as long: long sequences count more."""
    cdef Py_ssize_t middle
    cdef double target
    if batch.before == NULL:
        return low + part_begin(team, high - low, part, parts, member, each)
    if part == 0 or part == parts:
        return high if part else low
    target = batch.before[low] + part_fraction(team, part, parts, member, each) * (
        batch.before[high] - batch.before[low])
    while low < high:
        middle = (low + high) // 2
        if batch.before[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low


cdef Share share_of(const Layer *w, const Batch *batch, Py_ssize_t first, Py_ssize_t last, int thread, int threads,
                    const fr_team *team, int member) noexcept nogil:
    """The share of rows first..last of one of so many threads, the team's from `member` on: perhaps no rows."""
    cdef Grid grid
    cdef Share share
    cdef int units, part, s
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, state_groups = w.Pp // FR_GROUP
    share.members, share.me, share.count, share.stages = NULL, 0, 1, 0
    share.first, share.last, share.begin, share.end = first, last, 0, groups
    share.state_begin, share.state_end = 0, state_groups
    share.ticks, share.far = 0, w.recurrent_bytes > l2_bytes
    if threads > 1:  # the one step of a stream has no time for divisions by 1
        grid = grid_of(w, last - first, threads)
        units, part = grid.unit_parts, thread // grid.unit_parts
        share.me, share.count = thread % units, units
        if part >= grid.row_parts:
            share.first = last
        else:
            if member + thread < team.threads:
                share.members = <fr_member *> &team.members[member + part * units]
            share.first = row_begin(batch, first, last, part, grid.row_parts, team, member, units)
            share.last = row_begin(batch, first, last, part + 1, grid.row_parts, team, member, units)
            member += part * units
            share.begin = part_begin(team, groups, share.me, units, member, 1)
            share.end = part_begin(team, groups, share.me + 1, units, member, 1)
            share.state_begin, share.state_end = share.begin, share.end
            if w.projected:
                share.state_begin = state_groups * share.me // units
                share.state_end = state_groups * (share.me + 1) // units
    for s in range(w.cell.stages):
        share.at_once[s] = groups_at_once(w, s, share.last - share.first)
    return share


cdef void begin_work(Share *share) noexcept nogil:
    if share.members != NULL:
        share.ticks = -fr_ticks(&share.members[share.me], 0, False)


cdef void end_work(const Layer *w, const Batch *batch, const Share *share) noexcept nogil:
    """Say how much this thread has done in how long."""
    cdef double work
    if share.members != NULL:
        work = max(few_rows(w), share.last - share.first)
        if batch.before != NULL:
            work = <double> (batch.before[share.last] - batch.before[share.first]) / batch.T
        work *= share.end - share.begin
        share.members[share.me].work += work
        share.members[share.me].ticks += share.ticks + fr_ticks(&share.members[share.me], work, False)


cdef void wait(Share *share) noexcept nogil:
    """Wait until the members who have the same rows have been through as many stages."""
    share.stages += 1
    share.ticks -= fr_barrier(share.members, share.count, share.me, share.stages)
