"""Update rules and gradient clipping: one pass over flat float32 buffers.

Decisions, and why
a) One loop per rule reads and writes every buffer once. The passes are bound by memory, so the same
   rule written as NumPy expressions costs a trip through memory per operation and a temporary each.
b) No threads: two cores share the memory these loops wait for, and a reduction in a fixed order is
   the same for every number of threads when there is none to choose.
c) Scalars that are the same for all elements (1 - alpha, Adam's corrections) are worked out by the
   caller in double precision and arrive rounded once to float32.
d) Sums of squares add float64 squares of float32 numbers: such a product is exact and cannot
   overflow, so the result depends on the order of the additions alone, and that order is fixed by
   SUMS, not by the vector width of the machine.
e) Subnormal results count as zero while a rule runs. The running averages of a weight that stopped
   getting gradients (a rare character) decay into the subnormal range and stay there, where some
   processors take a hundred times longer over each operation. The caller's mode is put back.

Every argument says whether it is read (IN) or written (IN and OUT). Buffers have one length and do
not overlap; lengths are checked here because a wrong one would write outside the array.
"""

from libc.math cimport sqrtf

from fastrnn._core.kernels cimport fr_flush_begin, fr_flush_end

# Running sums of `sum_of_squares`: enough independent ones to hide the latency of an addition on
# every vector width in use. Changing it changes the last bits of norms.
cdef enum:
    SUMS = 16


cdef object _same_length(str who, Py_ssize_t expected, Py_ssize_t got):
    if got != expected:
        raise ValueError(f"{who}: a buffer has length {got}; expected {expected} as the parameters")


# ------------------------------------------------------------------------------------ update rules


cdef void _sgd(
    float[::1] params, const float[::1] grads, float lr
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(params.shape[0]):
        params[i] -= lr * grads[i]


cdef void _sgd_momentum(
    float[::1] params, const float[::1] grads, float[::1] velocity, float lr, float momentum
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(params.shape[0]):
        velocity[i] = momentum * velocity[i] + grads[i]
        params[i] -= lr * velocity[i]


cdef void _rmsprop(
    float[::1] params, const float[::1] grads, float[::1] square_avg,
    float lr, float alpha, float one_minus_alpha, float eps,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(params.shape[0]):
        square_avg[i] = alpha * square_avg[i] + one_minus_alpha * grads[i] * grads[i]
        params[i] -= lr * grads[i] / (sqrtf(square_avg[i]) + eps)


cdef void _adagrad(
    float[::1] params, const float[::1] grads, float[::1] square_sum, float lr, float eps
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(params.shape[0]):
        square_sum[i] += grads[i] * grads[i]
        params[i] -= lr * grads[i] / (sqrtf(square_sum[i]) + eps)


cdef void _adam(
    float[::1] params, const float[::1] grads, float[::1] exp_avg, float[::1] exp_avg_sq,
    float one_minus_beta1, float beta2, float one_minus_beta2,
    float step_size, float root_scale, float eps,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(params.shape[0]):
        exp_avg[i] += one_minus_beta1 * (grads[i] - exp_avg[i])
        exp_avg_sq[i] = beta2 * exp_avg_sq[i] + one_minus_beta2 * grads[i] * grads[i]
        params[i] -= step_size * exp_avg[i] / (root_scale * sqrtf(exp_avg_sq[i]) + eps)


def sgd(
    float[::1] params not None,  # IN and OUT (N)
    const float[::1] grads not None,  # IN (N)
    float[::1] velocity,  # IN and OUT (N), or None for plain gradient descent
    double lr,
    double momentum,
):
    """velocity = momentum * velocity + grads;  params -= lr * velocity"""
    cdef unsigned mode
    _same_length("sgd", params.shape[0], grads.shape[0])
    if velocity is None:
        with nogil:
            mode = fr_flush_begin()
            _sgd(params, grads, <float>lr)
            fr_flush_end(mode)
        return
    _same_length("sgd", params.shape[0], velocity.shape[0])
    with nogil:
        mode = fr_flush_begin()
        _sgd_momentum(params, grads, velocity, <float>lr, <float>momentum)
        fr_flush_end(mode)


def rmsprop(
    float[::1] params not None,  # IN and OUT (N)
    const float[::1] grads not None,  # IN (N)
    float[::1] square_avg not None,  # IN and OUT (N)
    double lr,
    double alpha,
    double eps,
):
    """square_avg = alpha * square_avg + (1 - alpha) * grads**2
    params -= lr * grads / (sqrt(square_avg) + eps)"""
    cdef unsigned mode
    _same_length("rmsprop", params.shape[0], grads.shape[0])
    _same_length("rmsprop", params.shape[0], square_avg.shape[0])
    with nogil:
        mode = fr_flush_begin()
        _rmsprop(
            params, grads, square_avg, <float>lr, <float>alpha, <float>(1.0 - alpha), <float>eps
        )
        fr_flush_end(mode)


def adagrad(
    float[::1] params not None,  # IN and OUT (N)
    const float[::1] grads not None,  # IN (N)
    float[::1] square_sum not None,  # IN and OUT (N)
    double lr,
    double eps,
):
    """square_sum += grads**2;  params -= lr * grads / (sqrt(square_sum) + eps)"""
    cdef unsigned mode
    _same_length("adagrad", params.shape[0], grads.shape[0])
    _same_length("adagrad", params.shape[0], square_sum.shape[0])
    with nogil:
        mode = fr_flush_begin()
        _adagrad(params, grads, square_sum, <float>lr, <float>eps)
        fr_flush_end(mode)


def adam(
    float[::1] params not None,  # IN and OUT (N)
    const float[::1] grads not None,  # IN (N)
    float[::1] exp_avg not None,  # IN and OUT (N)
    float[::1] exp_avg_sq not None,  # IN and OUT (N)
    double lr,
    double beta1,
    double beta2,
    double eps,
    long long step,  # 1 for the first update
):
    """exp_avg += (1 - beta1) * (grads - exp_avg)
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grads**2
    params -= lr / (1 - beta1**step) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2**step)) + eps)"""
    cdef unsigned mode
    cdef double step_size, root_scale
    if step < 1:
        raise ValueError(f"adam: step is {step}; expected at least 1")
    _same_length("adam", params.shape[0], grads.shape[0])
    _same_length("adam", params.shape[0], exp_avg.shape[0])
    _same_length("adam", params.shape[0], exp_avg_sq.shape[0])
    step_size = lr / (1.0 - beta1**<double>step)
    root_scale = (1.0 - beta2**<double>step) ** -0.5
    with nogil:
        mode = fr_flush_begin()
        _adam(
            params, grads, exp_avg, exp_avg_sq,
            <float>(1.0 - beta1), <float>beta2, <float>(1.0 - beta2),
            <float>step_size, <float>root_scale, <float>eps,
        )
        fr_flush_end(mode)


# ---------------------------------------------------------------------------------------- clipping


cdef double _sum_of_squares(const float[::1] values) noexcept nogil:
    # Element i is added to sum i % SUMS, then the sums are added in order.
    cdef double[SUMS] sums
    cdef double total = 0.0
    cdef Py_ssize_t block, i, j
    cdef Py_ssize_t blocks = values.shape[0] // SUMS
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


cdef void _scale(float[::1] values, double factor) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        values[i] = <float>(factor * values[i])


cdef void _clamp(float[::1] values, float limit) noexcept nogil:
    cdef Py_ssize_t i
    cdef float value
    for i in range(values.shape[0]):
        value = values[i]
        value = limit if value > limit else value
        value = -limit if value < -limit else value
        values[i] = value


cdef bint _all_finite(const float[::1] values) noexcept nogil:
    # x - x is 0 for a finite x, NaN for an infinity or a NaN.
    cdef Py_ssize_t i
    cdef int found = 0
    for i in range(values.shape[0]):
        found |= values[i] - values[i] != 0.0
    return found == 0


def sum_of_squares(const float[::1] values not None):
    """sum(float64(values)**2), in one order on every machine; non-finite if any value is."""
    cdef double total
    with nogil:
        total = _sum_of_squares(values)
    return total


def scale(float[::1] values not None, double factor):
    """values *= factor, the product rounded once (the factor itself may be tiny)"""
    with nogil:
        _scale(values, factor)


def clamp(float[::1] values not None, double limit):
    """values = min(max(values, -limit), limit); a NaN stays"""
    with nogil:
        _clamp(values, <float>limit)


def all_finite(const float[::1] values not None):
    """isfinite(values).all()"""
    cdef bint finite
    with nogil:
        finite = _all_finite(values)
    return finite
