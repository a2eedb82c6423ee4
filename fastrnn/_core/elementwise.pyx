"""What surrounds the layers, element by element or row by row: dropout, tanh, gathering and scattering of rows.

Threads split what is written. Long work is cut into pieces, and signals are looked at between them.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastrnn._core.team cimport check_signals, fr_team, granted_threads, run_parallel, worthwhile_threads

ctypedef fused real:
    float
    double

cdef struct Shared:
    Job job
    Work work


cdef fitting(str who, bint fits):
    """The last look before C: whoever came here with arrays of other sizes would read or write outside them."""
    if not fits:
        raise ValueError(f"{who}: the arrays' sizes do not fit each other; expected plain numpy arrays as documented")


cdef void run_part(void *given, int part, int parts, const fr_team *team) noexcept nogil:
    cdef const Shared *shared = <const Shared *> given
    cdef const Job *job = &shared.job
    shared.work(job, job.first + job.count * part // parts, job.first + job.count * (part + 1) // parts, part)


cdef int run(Work work, Job *job, Py_ssize_t n, double each, int num_threads) except -1 nogil:
    """work on things 0..n-1, each as long as so many multiply-adds"""
    return run_on(granted_threads(worthwhile_threads(num_threads, n, n * each)), work, job, n, each)


cdef int run_on(int threads, Work work, Job *job, Py_ssize_t n, double each) except -1 nogil:
    """run, by so many granted threads"""
    # A tenth of a second of a very slow processor, some 10 ms of others.
    cdef Py_ssize_t most = <Py_ssize_t> max(1, min(<double> (1 << 60), 6e7 * job.table.vector * threads / each))
    cdef Shared shared
    shared.work, shared.job, shared.job.first = work, job[0], 0
    while shared.job.first < n:
        if shared.job.first:
            check_signals()
        shared.job.count = min(most, n - shared.job.first)
        run_parallel(run_part, &shared, threads, threads, False)
        shared.job.first += shared.job.count
    return 0


cdef void dropout_elements(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    job.table.dropout(last - first, job.key, first, job.p, job.source + first * job.table.size,
                      job.target + first * job.table.size)


def dropout(const real[::1] source, real[::1] target, float p, uint64_t key, int num_threads):
    """target = source with the elements dropped that (key, index) selects at probability p, the rest times 1/(1-p).

    source IN, target OUT, may be the same array. The same call on a gradient is dropout's backward.
    """
    cdef Py_ssize_t n = source.shape[0]
    cdef Job job
    fitting("dropout", target.shape[0] == n)
    if n == 0:
        return
    job.table, job.p, job.key = table_of(sizeof(real)), p, key
    job.source, job.target = <const char *> &source[0], <char *> &target[0]
    with nogil:
        run(dropout_elements, &job, n, 4.0, num_threads)


cdef void tanh_elements(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    job.table.tanh(last - first, job.source + first * job.table.size, job.target + first * job.table.size)


def tanh(const real[::1] source, real[::1] target, int num_threads):
    """target = tanh(source), by the vector code of the cells: with their bits everywhere. source IN, target OUT"""
    cdef Py_ssize_t n = source.shape[0]
    cdef Job job
    fitting("tanh", target.shape[0] == n)
    if n == 0:
        return
    job.table, job.source, job.target = table_of(sizeof(real)), <const char *> &source[0], <char *> &target[0]
    with nogil:
        run(tanh_elements, &job, n, 10.0, num_threads)


cdef void take_part(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(first, last):
        if job.index[row] < 0:
            memset(job.target + row * job.columns, 0, job.columns)
        else:
            memcpy(job.target + row * job.columns, job.source + job.index[row] * job.columns, job.columns)


def take_rows(const real[:, ::1] source, const int64_t[::1] index, real[:, ::1] target, int num_threads):
    """target[i] = source[index[i]], or 0 where index[i] is -1

    source IN (rows, columns), index IN (n,) all in -1..rows-1, target OUT (n, columns), not overlapping source
    """
    cdef Py_ssize_t n = index.shape[0]
    cdef Job job
    fitting("take_rows", target.shape[0] == n and target.shape[1] == source.shape[1])
    if n == 0:
        return
    job.table, job.columns, job.index = table_of(sizeof(real)), source.shape[1] * sizeof(real), &index[0]
    job.source = <const char *> &source[0, 0] if source.shape[0] else NULL
    job.target = <char *> &target[0, 0]
    with nogil:
        run(take_part, &job, n, source.shape[1], num_threads)


def add_rows(const real[:, ::1] source, const int64_t[::1] index, real[:, ::1] target):
    """target[index[i]] += source[i] for i in order, but where index[i] is -1: what take_rows is backward

    source IN (n, columns), index IN (n,) all in -1..rows-1, target IN and OUT (rows, columns)
    """
    cdef Py_ssize_t i
    cdef const fr_kernels *table = table_of(sizeof(real))
    fitting("add_rows", source.shape[0] == index.shape[0] and target.shape[1] == source.shape[1])
    for i in range(index.shape[0]):
        if index[i] >= 0:
            table.add(target.shape[1], &source[i, 0], &target[index[i], 0])
