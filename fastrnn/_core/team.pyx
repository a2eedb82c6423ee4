"""How many threads share a piece of work: as many as are worth their while, and as other processes leave cores.
And how much of it each one gets.

A parallel region is entered only when every thread gets WORK_PER_THREAD, and with no more threads than `grant` says;
long ones stand between `enter` and `leave`.

Cores differ: a neighbour on its other hardware thread takes up to half of one for a while, and some processors have
small cores beside large ones. So time loops tell how fast each thread was, and later shares are cut for all to work as
long as each other. Which thread does what changes no bit of a result.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.limits cimport INT_MAX

import os
import weakref

cdef extern from *:
    """
    #include "threads/meeting.h"

    /* For each calling thread, which has a team of its own: how much faster than the mean of the team each one was. */
    static _Thread_local double fr_leads[FR_MAX_TEAM];
    static double fr_paces[FR_MAX_TEAM];
    """
    double *fr_leads
    double *fr_paces

cdef extern from "threads/granted.h":
    enum:
        FR_MOST_GRANTED

    void fr_read_openmp()
    int fr_openmp_limit() noexcept nogil
    int fr_processors() noexcept nogil
    int fr_grant(int wanted) noexcept nogil

cdef extern from "threads/neighbours.h":
    ctypedef struct fr_sample:
        double time, ours

    int fr_room() noexcept nogil
    fr_sample fr_entered() noexcept nogil
    void fr_left(fr_sample start, int threads) noexcept nogil
    void fr_told(double *time, double *ours, double *everybody, int *cores) noexcept nogil
    void fr_pretend(double time, double ours, double everybody, int cores) noexcept nogil

# Multiply-adds, 40 to 100 us. With less a second thread may cost more than it brings: waking one that sleeps takes
# 10 us, on a virtual machine 60 (Z3-68, CL-52).
cdef double WORK_PER_THREAD = 2.5e6

# A lead is how much faster than the mean a thread is. At each region it moves a quarter of the way to the new
# measurement, which may be an interruption, and stays within a half (CL-48). It fades by a hundredth at each region
# that uses it, because not all of those measure again.
cdef double BELIEF = 0.25
cdef double MOST_LEAD = 0.5
cdef double FADING = 0.99

cdef int most_threads = FR_MOST_GRANTED

# What calls use that name no number: a number of the user's own, or 0, and else at most so many of the processors.
cdef int own_default = 0
cdef int most_by_default = INT_MAX

fr_read_openmp()

cdef const double *test_paces = NULL


def stay_serial():
    """Run everything on one thread from now on."""
    global most_threads
    most_threads = 1


# By identity: a user's layer may compare by value, or not be hashable.
owners = weakref.WeakValueDictionary()


def renew_in_children(owner):
    """Have a forked child renew the owner's lock, whose holder may not exist there: it calls owner._renew_lock()."""
    owners[id(owner)] = owner


def after_fork():
    """GNU OpenMP hangs in a child forked after the parent ran a parallel region: stay serial."""
    stay_serial()
    for owner in list(owners.values()):
        owner._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


def room():
    """The most threads that other processes leave cores for; None while there are none in the way."""
    cdef int most = fr_room()
    return None if most == INT_MAX else most


def pretend(double time, double ours, double everybody, int cores):
    """For tests: the clock, and the seconds that this process and all have had on so many cores; no cores end it."""
    fr_pretend(time, ours, everybody, cores)


def count():
    """What the system says now, as `pretend` takes it."""
    cdef double time, ours, everybody
    cdef int cores
    fr_told(&time, &ours, &everybody, &cores)
    return time, ours, everybody, cores


def region(before, after, int threads):
    """A parallel region between two worlds of `pretend`. For tests of what is noticed there."""
    pretend(*before)
    cdef Region start = enter()
    pretend(*after)
    leave(start, threads)


def set_paces(paces):
    """For tests: the ticks that threads 0, 1, ... take for a piece of work by a clock of their own; None ends it."""
    global test_paces
    cdef int i
    test_paces = NULL
    if paces is not None:
        for i in range(FR_MAX_TEAM):
            fr_paces[i] = paces[i % len(paces)]
        test_paces = fr_paces


def observe(work, ticks):
    """Learn that threads 0, 1, ... of the caller's team have done so much in so long. For tests of what follows."""
    cdef fr_team crew
    gather(&crew, len(work))
    for i in range(crew.threads):
        crew.places[i].work, crew.places[i].ticks = work[i], ticks[i]
    learn(&crew)


def shares(Py_ssize_t n, int threads):
    """Where the shares of n things would begin, and n."""
    cdef fr_team crew
    gather(&crew, threads)
    return [cut(&crew, n, i, threads, 0, 1) for i in range(threads + 1)]


def set_default(int own, int most):
    """What calls use that name no number: `own`, or for 0 one for each processor they may run on, at most `most`."""
    global own_default, most_by_default
    own_default, most_by_default = own, most


def default_threads():
    """How many threads a call may use that names no number."""
    return default_number()


def granted(int wanted):
    """How many threads the caller's next team may have, started if they have to be. For tests of it."""
    return grant(wanted)


cdef int default_number() noexcept nogil:
    """Worked out where it is wanted: the processors of a process, and OpenMP's setting, may change at any time."""
    if most_threads == 1:
        return 1
    return max(1, min(own_default if own_default else min(fr_processors(), most_by_default), fr_openmp_limit()))


cdef int grant(int threads) noexcept nogil:
    """As many of so many threads as the system grants: to be asked before every parallel region."""
    return fr_grant(min(threads, most_threads)) if min(threads, most_threads) > 1 else 1


cdef int look() except -1 nogil:
    """Run the handlers of the signals that have come, Ctrl-C's for one, and raise what they raise."""
    with gil:
        PyErr_CheckSignals()
    return 0


cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil:
    """How many threads `work` multiply-adds in `shares` separable parts are worth; num_threads 0 for the default."""
    cdef double worth = work / WORK_PER_THREAD
    cdef Py_ssize_t n = min(<Py_ssize_t> most_threads, shares)
    if num_threads:
        n = min(n, <Py_ssize_t> num_threads)
    if worth < n:
        n = <Py_ssize_t> worth
    if n > 1 and not num_threads:
        n = min(n, <Py_ssize_t> default_number())
    if n > 1:
        n = min(n, <Py_ssize_t> fr_room())
    return <int> max(n, 1)


cdef void gather(fr_team *crew, int threads) noexcept nogil:
    """A team of so many threads that have done nothing yet, each with the speed it had lately."""
    cdef int i
    crew.threads = min(threads, <int> FR_MAX_TEAM)
    crew.paces = test_paces
    crew.before[0] = 0
    for i in range(crew.threads):
        crew.before[i + 1] = crew.before[i] + 1 + fr_leads[i]
        fr_leads[i] *= FADING
    fr_start(crew)


cdef Py_ssize_t cut(const fr_team *crew, Py_ssize_t n, int part, int parts, int first, int each) noexcept nogil:
    """Where part 0..parts of n things begins, each part for so many threads of the team, from thread `first` on.

    Few things, and those of more threads than have a place in the team, are cut evenly.
    """
    cdef double begin, end
    if part == 0 or part == parts:
        return n if part else 0
    if n < 4 * parts or first + parts * each > crew.threads:
        return n * part // parts
    begin, end = crew.before[first], crew.before[first + parts * each]
    return <Py_ssize_t> (n * ((crew.before[first + part * each] - begin) / (end - begin)) + 0.5)


cdef void learn(const fr_team *crew) noexcept nogil:
    """Take from a time loop how fast its threads were."""
    cdef const fr_progress *at
    cdef double mean = 0, lead
    cdef int i
    for i in range(crew.threads):
        at = &crew.places[i]
        if at.work <= 0 or at.ticks <= 0:
            return
        mean += at.work / at.ticks / crew.threads
    for i in range(crew.threads):
        lead = crew.places[i].work / crew.places[i].ticks / mean - 1
        fr_leads[i] += BELIEF * (min(MOST_LEAD, max(-MOST_LEAD, lead)) - fr_leads[i])


cdef Region enter() noexcept nogil:
    cdef fr_sample start = fr_entered()
    cdef Region region
    region.time, region.ours = start.time, start.ours
    return region


cdef void leave(Region region, int threads) noexcept nogil:
    cdef fr_sample start
    start.time, start.ours = region.time, region.ours
    fr_left(start, threads)
