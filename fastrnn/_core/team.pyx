"""Threads: how many share a piece of work, how much each gets, and the one parallel region of the package.

Who calls what is in docs/internals/threads.md.

Design
a) As many threads as the work is worth (`worthwhile_threads`), as other processes leave cores, and as the system grants
   (`granted_threads`). A caller asks both before a region.
b) `run_parallel` is the only parallel region. Each thread flushes subnormals while it runs its part.
c) Cores differ: another process takes up to half of a core's speed for a while, and some processors have small cores
   beside large ones. So threads record how fast they were, and the next partition follows their relative speeds
   (CL-48). Which thread does what changes no bit of a result.
d) After a fork the child runs on one thread: GNU OpenMP hangs in a child whose parent had threads.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, threadid
from libc.limits cimport INT_MAX

import os
import weakref

from fastrnn._core.kernels cimport fr_flush_begin, fr_flush_end

cdef extern from "native/barrier.h":
    int fr_team_size() noexcept nogil
    void fr_member_start(fr_member *member, double test_pace) noexcept nogil

cdef extern from "native/speeds.h":
    double *fr_relative_speeds() noexcept nogil

cdef extern from "native/granted.h":
    enum:
        FR_MOST_GRANTED

    void fr_read_openmp()
    int fr_openmp_limit() noexcept nogil
    int fr_processors() noexcept nogil
    int fr_granted_threads(int wanted) noexcept nogil

cdef extern from "native/neighbours.h":
    int fr_free_cores() noexcept nogil
    Watch fr_watch_begin() noexcept nogil
    void fr_watch_end(Watch start, int threads) noexcept nogil
    void fr_cpu_times(double *time, double *ours, double *everybody, int *cores) noexcept nogil
    void fr_simulate_times(double time, double ours, double everybody, int cores) noexcept nogil

cdef extern from "float_env.h":
    bint fr_flushes() noexcept nogil

# Multiply-adds, 40 to 100 us. With less, a second thread may cost more than it brings: waking one that sleeps takes
# 10 us, on a virtual machine 60 (Z3-68, CL-52).
cdef double WORK_PER_THREAD = 2.5e6

# A relative speed moves a quarter of the way to each new measurement, because one may be an interruption, and stays
# within half of the mean (CL-48). It decays by a hundredth in each region that uses it, because not all of those
# measure.
cdef double SMOOTHING = 0.25
cdef double MOST_RELATIVE_SPEED = 0.5
cdef double DECAY = 0.99

cdef int most_threads = FR_MOST_GRANTED

# For calls that name no number: the user's own number, or 0 for one thread a processor, up to a limit.
cdef int own_default = 0
cdef int most_by_default = INT_MAX

fr_read_openmp()


# -------------------------------------------------------------------------------------------------- how many


def set_default(int own, int most):
    """Set what calls use that name no number: `own`; if that is 0, one thread a processor, at most `most`."""
    global own_default, most_by_default
    own_default, most_by_default = own, most


def default_threads():
    """How many threads a call may use that names no number."""
    return default_number()


cdef int default_number() noexcept nogil:
    # Not kept: the affinity and OpenMP's setting may change at any time.
    if most_threads == 1:
        return 1
    return max(1, min(own_default if own_default else min(fr_processors(), most_by_default), fr_openmp_limit()))


cdef int worthwhile_threads(int num_threads, Py_ssize_t parts, double work) noexcept nogil:
    """How many threads `work` multiply-adds in `parts` separable parts are worth; num_threads 0 for the default."""
    cdef double worth = work / WORK_PER_THREAD
    cdef Py_ssize_t n = min(<Py_ssize_t> most_threads, parts)
    if num_threads:
        n = min(n, <Py_ssize_t> num_threads)
    if worth < n:
        n = <Py_ssize_t> worth
    if n > 1 and not num_threads:
        n = min(n, <Py_ssize_t> default_number())
    if n > 1:
        n = min(n, <Py_ssize_t> fr_free_cores())
    return <int> max(n, 1)


cdef int granted_threads(int threads) noexcept nogil:
    """How many of `threads` threads the system grants. To be asked before every parallel region."""
    return fr_granted_threads(min(threads, most_threads)) if min(threads, most_threads) > 1 else 1


# ---------------------------------------------------------------------------------------------------- the region


cdef void run_parallel(Task task, void *job, int threads, int team_threads, bint measure) noexcept nogil:
    """Run task(job, i, threads, team) for i in 0..threads-1, each on a thread that flushes subnormals.

    threads: as `granted_threads` says. OpenMP may start fewer, then the tasks are given that number.
    team_threads: threads of the region, at least `threads`. A region with fewer threads than the last makes OpenMP end
    the surplus ones, so a call that alternates between two numbers keeps to the larger.
    measure: every task records its work and its ticks in team.members[i], and the relative speeds follow.

    The team is NULL for one thread; else it has a member for each of the first FR_MAX_TEAM threads.
    """
    if threads == 1:
        run_task(task, job, 0, 1, NULL)
    else:
        run_team(task, job, threads, team_threads, measure)


cdef void run_team(Task task, void *job, int threads, int team_threads, bint measure) noexcept nogil:
    cdef fr_team team
    team_start(&team, threads)
    with parallel(num_threads=team_threads):
        if threadid() < threads:
            run_task(task, job, threadid(), min(threads, fr_team_size()), &team)
    if measure:
        update_speeds(&team)


cdef void run_task(Task task, void *job, int thread, int threads, const fr_team *team) noexcept nogil:
    cdef unsigned before = fr_flush_begin()
    task(job, thread, threads, team)
    fr_flush_end(before)


cdef int check_signals() except -1 nogil:
    """Run the handlers of signals that have come, such as Ctrl-C, and raise what they raise."""
    with gil:
        PyErr_CheckSignals()
    return 0


# ------------------------------------------------------------------------------------------- relative speeds


cdef double test_paces[FR_MAX_TEAM]  # 0: the machine's clock


cdef void team_start(fr_team *team, int threads) noexcept nogil:
    """A team whose members have done nothing yet, each with its relative speed."""
    cdef double *speeds = fr_relative_speeds()
    cdef int i
    team.threads = min(threads, <int> FR_MAX_TEAM)
    team.before[0] = 0
    for i in range(team.threads):
        team.before[i + 1] = team.before[i] + 1 + speeds[i]
        speeds[i] *= DECAY
        fr_member_start(&team.members[i], test_paces[i])


cdef void update_speeds(const fr_team *team) noexcept nogil:
    """Move the relative speeds towards what the members recorded, unless one of them recorded nothing."""
    cdef double *speeds = fr_relative_speeds()
    cdef const fr_member *member
    cdef double mean = 0, speed
    cdef int i
    for i in range(team.threads):
        member = &team.members[i]
        if member.work <= 0 or member.ticks <= 0:
            return
        mean += member.work / member.ticks / team.threads
    for i in range(team.threads):
        speed = team.members[i].work / team.members[i].ticks / mean - 1
        speeds[i] += SMOOTHING * (min(MOST_RELATIVE_SPEED, max(-MOST_RELATIVE_SPEED, speed)) - speeds[i])


cdef double part_fraction(const fr_team *team, int part, int parts, int first, int each) noexcept nogil:
    """Fraction of the whole that comes before part 0..parts, by the threads' relative speeds.

    Part i is for threads first + i * each to first + (i + 1) * each - 1. Parts are equal without a team, and where not
    all threads have a member.
    """
    cdef double begin, end
    if team == NULL or first + parts * each > team.threads:
        return <double> part / parts
    begin, end = team.before[first], team.before[first + parts * each]
    return (team.before[first + part * each] - begin) / (end - begin)


cdef Py_ssize_t part_begin(const fr_team *team, Py_ssize_t n, int part, int parts, int first, int each) noexcept nogil:
    """Where part 0..parts of n things begins, see `part_fraction`. Fewer than four things a part are cut evenly."""
    if part == 0 or part == parts:
        return n if part else 0
    if team == NULL or n < 4 * parts or first + parts * each > team.threads:
        return n * part // parts
    return <Py_ssize_t> (n * part_fraction(team, part, parts, first, each) + 0.5)


# ------------------------------------------------------------------------------------------- other processes


cdef Watch watch_begin() noexcept nogil:
    """Begin to watch whether other processes take processor time from our threads. Around one or more regions."""
    return fr_watch_begin()


cdef void watch_end(Watch watch, int threads) noexcept nogil:
    fr_watch_end(watch, threads)


def free_cores():
    """The cores that other processes leave us; None while none is in the way."""
    cdef int most = fr_free_cores()
    return None if most == INT_MAX else most


# ------------------------------------------------------------------------------------------------------ fork


# By identity: a user's layer may compare by value, or not be hashable.
owners = weakref.WeakValueDictionary()


def renew_in_children(owner):
    """Call owner._renew_lock() in every forked child: the thread that held the lock may not exist there."""
    owners[id(owner)] = owner


def stay_serial():
    """Run everything on one thread from now on."""
    global most_threads
    most_threads = 1


def after_fork():
    stay_serial()
    for owner in list(owners.values()):
        owner._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


# ------------------------------------------------------------------------------------------------- for tests


def granted(int wanted):
    """`granted_threads`."""
    return granted_threads(wanted)


def simulate_times(double time, double ours, double everybody, int cores):
    """Set the clock, the processor seconds of this process and of all, and the cores. No cores: the system's again."""
    fr_simulate_times(time, ours, everybody, cores)


def cpu_times():
    """What the system says now, in the order of `simulate_times`."""
    cdef double time, ours, everybody
    cdef int cores
    fr_cpu_times(&time, &ours, &everybody, &cores)
    return time, ours, everybody, cores


def simulate_watch(before, after, int threads):
    """Watch regions of `threads` threads from one set of `simulate_times` to another."""
    simulate_times(*before)
    cdef Watch start = watch_begin()
    simulate_times(*after)
    watch_end(start, threads)


def simulate_paces(paces):
    """Give threads 0, 1, ... a clock on which a unit of work takes so many ticks. None: the machine's clock again."""
    for i in range(FR_MAX_TEAM):
        test_paces[i] = 0 if paces is None else paces[i % len(paces)]


def observe(work, ticks):
    """Learn that threads 0, 1, ... of the caller's team did this work in these ticks."""
    cdef fr_team team
    team_start(&team, len(work))
    for i in range(team.threads):
        team.members[i].work, team.members[i].ticks = work[i], ticks[i]
    update_speeds(&team)


def part_begins(Py_ssize_t n, int threads):
    """Where the parts of n things begin, one for each thread, and n."""
    cdef fr_team team
    team_start(&team, threads)
    return [part_begin(&team, n, i, threads, 0, 1) for i in range(threads + 1)]


def part_fractions(int threads):
    """The fractions of the whole that come before the part of each thread, and 1."""
    cdef fr_team team
    team_start(&team, threads)
    return [part_fraction(&team, i, threads, 0, 1) for i in range(threads + 1)]


cdef struct Seen:
    int thread, threads, members
    bint flushes


cdef void look_around(void *job, int thread, int threads, const fr_team *team) noexcept nogil:
    cdef Seen *seen = <Seen *> job + thread
    seen.thread, seen.threads, seen.flushes = thread, threads, fr_flushes()
    seen.members = 0 if team == NULL else team.threads


def tasks(int threads, int team_threads):
    """What the tasks of `run_parallel` see: thread, threads, members of the team, whether subnormals are flushed."""
    cdef Seen seen[FR_MOST_GRANTED]
    cdef Seen one
    for i in range(FR_MOST_GRANTED):
        seen[i].threads = 0
    with nogil:
        run_parallel(look_around, seen, threads, team_threads, False)
    return [(one.thread, one.threads, one.members, one.flushes) for one in seen[:threads] if one.threads]
