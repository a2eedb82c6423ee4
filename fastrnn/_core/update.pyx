"""Update rules and gradient clipping: one pass over flat buffers, of float32 or of float64.

Decisions, and why
a) One loop per rule reads and writes every buffer once. The passes are bound by memory, so the same
   rule written as NumPy expressions costs a trip through memory per operation and a temporary each.
b) No threads: two cores share the memory these loops wait for, and a reduction in a fixed order is
   the same for every number of threads when there is none to choose.
c) Scalars that are the same for all elements (1 - alpha, Adam's corrections) are worked out in
   double precision and rounded once to the buffers' type.
d) Sums of squares are summed in float64, in a fixed order that SUMS decides, not the vector width of
   the machine. The square of a float32 number is exact there and cannot overflow; that of a float64
   number is rounded, and the sum of large ones infinite.
e) Subnormal results count as zero while a rule runs. The running averages of a weight that stopped
   getting gradients (a rare character) decay into the subnormal range and stay there, where some
   processors take a hundred times longer over each operation. The caller's mode is put back.

Every argument says whether it is read (IN) or written (IN and OUT). Buffers have one length and do
not overlap; lengths are checked here because a wrong one would write outside the array.
"""

from libc.math cimport sqrt, sqrtf

from fastrnn._core.kernels cimport fr_flush_begin, fr_flush_end

ctypedef fused real:  # one per call: all buffers of a module have its dtype
    float
    double

# Running sums of `sum_of_squares`: enough independent ones to hide the latency of an addition on
# every vector width in use. Changing it changes the last bits of norms.
cdef enum:
    SUMS = 16


cdef class SubnormalsAreZero:
    """The decision e) for the block of a `with` statement."""

    cdef unsigned before

    def __enter__(self):
        self.before = fr_flush_begin()

    def __exit__(self, *exception):
        fr_flush_end(self.before)


cdef object _same_length(str who, Py_ssize_t expected, tuple lengths):
    for got in lengths:
        if got != expected:
            raise ValueError(f"{who}: a buffer has length {got}; expected {expected} as the parameters")


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


# ------------------------------------------------------------------------------------ update rules


def sgd(
    real[::1] params not None,  # IN and OUT (N)
    const real[::1] grads not None,  # IN (N)
    real[::1] velocity,  # IN and OUT (N), or None for plain gradient descent
    double lr,
    double momentum,
):
    """velocity = momentum * velocity + grads;  params -= lr * velocity"""
    cdef real rate = <real>lr, kept = <real>momentum
    cdef Py_ssize_t i, n = params.shape[0]
    cdef bint plain = velocity is None
    _same_length("sgd", n, (grads.shape[0], n if plain else velocity.shape[0]))
    with SubnormalsAreZero():
        with nogil:
            if plain:
                for i in range(n):
                    params[i] -= rate * grads[i]
            else:
                for i in range(n):
                    velocity[i] = kept * velocity[i] + grads[i]
                    params[i] -= rate * velocity[i]


def rmsprop(
    real[::1] params not None,  # IN and OUT (N)
    const real[::1] grads not None,  # IN (N)
    real[::1] square_avg not None,  # IN and OUT (N)
    double lr,
    double alpha,
    double eps,
):
    """square_avg = alpha * square_avg + (1 - alpha) * grads**2
    params -= lr * grads / (sqrt(square_avg) + eps)"""
    cdef real rate = <real>lr, kept = <real>alpha, added = <real>(1.0 - alpha), least = <real>eps
    cdef Py_ssize_t i, n = params.shape[0]
    _same_length("rmsprop", n, (grads.shape[0], square_avg.shape[0]))
    with SubnormalsAreZero():
        with nogil:
            for i in range(n):
                square_avg[i] = kept * square_avg[i] + added * grads[i] * grads[i]
                params[i] -= rate * grads[i] / (root(square_avg[i]) + least)


def adagrad(
    real[::1] params not None,  # IN and OUT (N)
    const real[::1] grads not None,  # IN (N)
    real[::1] square_sum not None,  # IN and OUT (N)
    double lr,
    double eps,
):
    """square_sum += grads**2;  params -= lr * grads / (sqrt(square_sum) + eps)"""
    cdef real rate = <real>lr, least = <real>eps
    cdef Py_ssize_t i, n = params.shape[0]
    _same_length("adagrad", n, (grads.shape[0], square_sum.shape[0]))
    with SubnormalsAreZero():
        with nogil:
            for i in range(n):
                square_sum[i] += grads[i] * grads[i]
                params[i] -= rate * grads[i] / (root(square_sum[i]) + least)


# Ten arguments: the buffers and numbers of the rule, under the names of its paper.
def adam(
    real[::1] params not None,  # IN and OUT (N)
    const real[::1] grads not None,  # IN (N)
    real[::1] exp_avg not None,  # IN and OUT (N)
    real[::1] exp_avg_sq not None,  # IN and OUT (N)
    double lr,
    double beta1,
    double beta2,
    double eps,
    long long step,  # 1 for the first update
):
    """exp_avg += (1 - beta1) * (grads - exp_avg)
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grads**2
    params -= lr / (1 - beta1**step) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2**step)) + eps)"""
    if step < 1:
        raise ValueError(f"adam: step is {step}; expected at least 1")
    cdef real step_size = <real>(lr / (1.0 - beta1**<double>step))
    cdef real root_scale = <real>((1.0 - beta2**<double>step) ** -0.5)
    cdef real added = <real>(1.0 - beta1), least = <real>eps
    cdef real kept_sq = <real>beta2, added_sq = <real>(1.0 - beta2)
    cdef Py_ssize_t i, n = params.shape[0]
    _same_length("adam", n, (grads.shape[0], exp_avg.shape[0], exp_avg_sq.shape[0]))
    with SubnormalsAreZero():
        with nogil:
            for i in range(n):
                exp_avg[i] += added * (grads[i] - exp_avg[i])
                exp_avg_sq[i] = kept_sq * exp_avg_sq[i] + added_sq * grads[i] * grads[i]
                params[i] -= step_size * exp_avg[i] / (root_scale * root(exp_avg_sq[i]) + least)


# ---------------------------------------------------------------------------------------- clipping


def sum_of_squares(const real[::1] values not None):
    """sum(float64(values)**2), in one order on every machine; non-finite if any value is."""
    # Element i is added to sum i % SUMS, then the sums are added in order.
    cdef double[SUMS] sums
    cdef double total = 0.0
    cdef Py_ssize_t block, i, j
    cdef Py_ssize_t blocks = values.shape[0] // SUMS
    with nogil:
        for j in range(SUMS):
            sums[j] = 0.0
        for block in range(blocks):
            i = block * SUMS
            for j in range(SUMS):
                sums[j] += <double>values[i + j] * <double>values[i + j]
        for i in range(blocks * SUMS, values.shape[0]):
            sums[i % SUMS] += <double>values[i] * <double>values[i]
        for j in range(SUMS):
            total += sums[j]
    return total


def scale(real[::1] values not None, double factor):
    """values *= factor, the product rounded once (the factor itself may be tiny)"""
    cdef Py_ssize_t i
    with nogil:
        for i in range(values.shape[0]):
            values[i] = <real>(factor * values[i])


def clamp(real[::1] values not None, double limit):
    """values = min(max(values, -limit), limit); a NaN stays"""
    cdef Py_ssize_t i
    cdef real value, most = <real>limit
    with nogil:
        for i in range(values.shape[0]):
            value = values[i]
            value = most if value > most else value
            value = -most if value < -most else value
            values[i] = value


def all_finite(const real[::1] values not None):
    """isfinite(values).all()"""
    # x - x is 0 for a finite x, NaN for an infinity or a NaN.
    cdef Py_ssize_t i
    cdef bint found = False
    with nogil:
        for i in range(values.shape[0]):
            found |= values[i] - values[i] != 0.0
    return not found
