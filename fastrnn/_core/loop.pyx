"""The time loop: every recurrent layer, forward, backward and one step at a time, whatever its cell.

Legend: T time, B batch, I input, H hidden units, P the width of h, G gates; Hp and Pp are rounded up to groups of 16.

Design
a) One loop for all cells. What a cell is stands in its row of the kernel table (src/cells): the slots of the gate
   buffer that W x and R h are added to, and the equations. No cell is named here.
b) Steps are in forward.pyx and backward.pyx, what a thread has of them in share.pyx, where everything is in walk.pxd.
c) A batch is packed: step t has the first rows of step t-1, perhaps fewer. Where every step has all rows nothing else
   is different. The reverse direction walks the same arrays from the last step to the first.
d) An initial state has rows of its own, B of them, in front of or behind the rows of the steps: no step is special.
   A stream's step and an inference run are the same code with fewer rows: c is updated in place, gates hold one block.
"""

from fastrnn._core.backward cimport backward_share
from fastrnn._core.forward cimport forward_share
from fastrnn._core.kernels cimport fr_flush_begin, fr_flush_end
from fastrnn._core.plan cimport Plan
from fastrnn._core.share cimport Share, share_of
from fastrnn._core.team cimport fr_team, run_parallel
from fastrnn._core.walk cimport Walk


cdef struct Job:
    Walk *walks
    int directions
    bint apart, backward
    Span span


cdef void run_direction(const Job *job, int direction, int thread, int threads, const fr_team *team,
                        int member, long *stages) noexcept nogil:
    cdef const Walk *walk = &job.walks[direction]
    cdef Share share
    if job.span.begin[direction] >= job.span.end[direction]:
        return
    share = share_of(walk.w, walk.batch, job.span.first, job.span.last, thread, threads, team, member)
    if share.first >= share.last:
        return
    share.stages = stages[0]
    if job.backward:
        backward_share(walk, job.span.begin[direction], job.span.end[direction], &share)
    else:
        forward_share(walk, job.span.begin[direction], job.span.end[direction], &share)
    stages[0] = share.stages


cdef void run_share(void *given, int thread, int threads, const fr_team *team) noexcept nogil:
    """A thread's part of a span: of one direction after the other, or of one alone where they run apart."""
    cdef const Job *job = <const Job *> given
    cdef int half = threads // 2, direction
    cdef long stages = 0  # barriers so far: a team counts them from its start to its end
    if job.apart and threads > 1:
        if thread < half:
            run_direction(job, 0, thread, half, team, 0, &stages)
        else:
            run_direction(job, 1, thread - half, threads - half, team, half, &stages)
        return
    for direction in range(job.directions):
        run_direction(job, direction, thread, threads, team, 0, &stages)


cdef void run_span(Walk *walks, int directions, const Plan *plan, const Span *span, bint backward) noexcept nogil:
    """Some rows and steps of a layer, by the threads of the plan."""
    cdef Job job
    job.walks, job.directions, job.apart, job.backward, job.span = walks, directions, plan.apart, backward, span[0]
    run_parallel(run_share, &job, plan.threads, plan.team_threads, True)


cdef void run_alone(Walk *walk) noexcept nogil:
    """All steps of one direction forward on the calling thread, without a plan: for a stream's short steps."""
    cdef unsigned before = fr_flush_begin()
    cdef Share share = share_of(walk.w, walk.batch, 0, walk.batch.B, 0, 1, NULL, 0)
    forward_share(walk, 0, walk.batch.T, &share)
    fr_flush_end(before)
