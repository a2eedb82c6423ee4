/* Losses and their gradients, a row or a run of elements at a time. Sums are in one order on every instruction set. */

enum { LOSS_BLOCK = 256, LOSS_SUMS = 8 };

/* The sum of x (n), in double: element j goes to sum j % LOSS_SUMS whatever the vectors are. */
FR_INLINE double ordered_sum(ptrdiff_t n, const real *x)
{
    double sums[LOSS_SUMS] = {0};
    ptrdiff_t j = 0;
    for (; j + LOSS_SUMS <= n; j += LOSS_SUMS)
        for (int lane = 0; lane < LOSS_SUMS; lane++) sums[lane] += (double)x[j + lane];
    for (int lane = 0; j + lane < n; lane++) sums[lane] += (double)x[j + lane];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* ------------------------------------------------------------------------------------------------ softmax */

/* The sum of x (n), in its own precision: as lanes of AVX2's vectors add up, then what is behind the last whole one. */
FR_INLINE real lane_sum(ptrdiff_t n, const real *x)
{
    enum { LANES = 32 / sizeof(real) };
    real sums[LANES] = {0};
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int lane = 0; lane < LANES; lane++) sums[lane] += x[j + lane];
    for (int half = LANES / 2; half >= 1; half /= 2)
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    real sum = sums[0];
    for (; j < n; j++) sum += x[j];
    return sum;
}

/* e = exp(z - top) of a row z (V); top, its largest element. */
FR_INLINE real exponentials(ptrdiff_t V, const real *logits, real *e_row)
{
    const vec most = v_set(EXP_LIMIT);  /* e^-most comes out as 0; beside the maximum's 1 it is nothing */
    real top = logits[0], tail[VL];
    vec highest = v_set(top);
    ptrdiff_t j = 0;
    for (; j + VL <= V; j += VL) highest = v_max(highest, v_load(logits + j));  /* a NaN lost here makes the sum NaN */
    v_store(tail, highest);
    for (int lane = 0; lane < VL; lane++) top = tail[lane] > top ? tail[lane] : top;
    for (; j < V; j++) top = logits[j] > top ? logits[j] : top;
    const vec shift = v_set(top);
    for (j = 0; j + VL <= V; j += VL)
        v_store(e_row + j, v_exp_minus(v_min(most, v_sub(shift, v_load(logits + j)))));
    if (j < V) v_store_n(e_row + j, V - j, v_exp_minus(v_min(most, v_sub(shift, v_load_n(logits + j, V - j)))));
    return top;
}

/* loss = log(sum(exp(z))) - z[target], dz = scale * (softmax(z) - onehot(target)) */
static double cross_entropy(ptrdiff_t V, const void *row, ptrdiff_t target, double times, void *drow)
{
    const real *logits = row, scale = (real)times;
    real *dlogits = drow;
    FR_CHECK(V >= 1 && 0 <= target && target < V && fr_flushes());
    real top = exponentials(V, logits, dlogits), sum = lane_sum(V, dlogits);
    real loss = REAL_LOG(sum) - (logits[target] - top);
    real factor = scale / sum;
    for (ptrdiff_t j = 0; j < V; j++) dlogits[j] *= factor;
    dlogits[target] -= scale;
    return loss;
}

/* p = scale * softmax(z) of a row z (V), IN z, OUT p; log(sum(exp(z))). */
static double softmax(ptrdiff_t V, const void *row, double scale, void *p_row)
{
    real *p = p_row;
    FR_CHECK(V >= 1 && fr_flushes());
    double top = exponentials(V, row, p);
    double sum = ordered_sum(V, p);
    real factor = (real)(scale / sum);
    for (ptrdiff_t j = 0; j < V; j++) p[j] *= factor;
    return top + log(sum);
}

/* The sum over the classes of w (log(sum(exp(z))) - z), w = 1 where weights is NULL. */
static double weighted_costs(ptrdiff_t V, const real *logits, const real *weights, double all)
{
    real costs[LOSS_BLOCK];
    double sum = 0;
    for (ptrdiff_t first = 0; first < V; first += LOSS_BLOCK) {
        ptrdiff_t count = V - first < LOSS_BLOCK ? V - first : LOSS_BLOCK;
        for (ptrdiff_t j = 0; j < count; j++)
            costs[j] = (real)(all - logits[first + j]) * (weights ? weights[first + j] : 1);
        sum += ordered_sum(count, costs);
    }
    return sum;
}

/* The cross-entropy with q = weights * (own * onehot(target) + rest), weights 1 where NULL; q need not sum to 1.
 * loss = sum(q * (log(sum(exp(z))) - z)), dz = scale * (sum(q) * softmax(z) - q). */
static double weighted_cross_entropy(const fr_class_weights *classes, const void *row, ptrdiff_t target, double scale,
                                     void *drow)
{
    const real *logits = row, *weights = classes->weights;
    const ptrdiff_t V = classes->V;
    real *dlogits = drow;
    FR_CHECK(V >= 1 && 0 <= target && target < V && fr_flushes());
    const double own = classes->own * (weights ? weights[target] : 1), rest = classes->rest;
    const double all = softmax(V, logits, scale * (own + rest * classes->sum), dlogits);
    double loss = own != 0 ? own * (all - logits[target]) : all - all;  /* NaN stays */
    if (rest != 0) {
        const real less = (real)(scale * rest);
        loss += rest * weighted_costs(V, logits, weights, all);
        if (weights)
            for (ptrdiff_t j = 0; j < V; j++) dlogits[j] -= less * weights[j];
        else
            for (ptrdiff_t j = 0; j < V; j++) dlogits[j] -= less;
    }
    dlogits[target] -= (real)(scale * own);
    return loss;
}

/* ------------------------------------------------------------------------------- element by element */

enum { BINARY, SQUARED, HUBER };

/* The loss of outputs z against targets y, and its derivative by z. */
FR_INLINE vec element_loss(int kind, vec z, vec y, vec option, vec *slope)
{
    if (kind == BINARY) {  /* option: the weight w of positives. w y log(1 + e^-z) + (1 - y) log(1 + e^z) */
        const vec zero = v_set(0);
        vec positive = v_mul(option, y), negative = v_sub(v_set(1), y);
        *slope = v_sub(v_mul(v_sigmoid(z), v_add(positive, negative)), positive);
        return v_fma(positive, v_softplus(v_sub(zero, z)), v_mul(negative, v_softplus(z)));
    }
    vec error = v_sub(z, y);
    if (kind == SQUARED) {
        *slope = v_add(error, error);
        return v_mul(error, error);
    }
    /* option: where the parabola e^2 / 2 becomes the line option * (|e| - option / 2) */
    vec size = v_abs(error), inside = v_min(option, size);
    *slope = v_copysign(inside, error);
    return v_mul(inside, v_fnma(v_set((real)0.5), inside, size));
}

FR_INLINE double element_losses(int kind, const fr_element_rows *rows, const void *outputs, const void *targets,
                                void *doutputs)
{
    const real *z = outputs, *y = targets;
    real *dz = doutputs, losses[LOSS_BLOCK];
    const vec scale = v_set((real)rows->scale), option = v_set((real)rows->option);
    const ptrdiff_t n = rows->count * rows->columns;
    double sum = 0;
    vec slope;
    FR_CHECK(n >= 1 && fr_flushes());
    for (ptrdiff_t first = 0; first < n; first += LOSS_BLOCK) {
        ptrdiff_t count = n - first < LOSS_BLOCK ? n - first : LOSS_BLOCK, j = 0;
        for (; j + VL <= count; j += VL) {
            v_store(losses + j, element_loss(kind, v_load(z + first + j), v_load(y + first + j), option, &slope));
            v_store(dz + first + j, v_mul(scale, slope));
        }
        if (j < count) {
            vec outs = v_load_n(z + first + j, count - j), wanted = v_load_n(y + first + j, count - j);
            v_store_n(losses + j, count - j, element_loss(kind, outs, wanted, option, &slope));
            v_store_n(dz + first + j, count - j, v_mul(scale, slope));
        }
        sum += ordered_sum(count, losses);
    }
    return sum;
}

static double binary_cross_entropy(const fr_element_rows *rows, const void *z, const void *y, void *dz)
{
    return element_losses(BINARY, rows, z, y, dz);
}

static double squared_error(const fr_element_rows *rows, const void *z, const void *y, void *dz)
{
    return element_losses(SQUARED, rows, z, y, dz);
}

static double huber(const fr_element_rows *rows, const void *z, const void *y, void *dz)
{
    return element_losses(HUBER, rows, z, y, dz);
}

/* -------------------------------------------------------------------------------- pairs of outputs */

/* Elements first..first+count-1 of rows of `columns` pairs: a row has all first parts, then all second ones. `halves` gets
 * or gives LOSS_BLOCK first parts, then as many second ones. */
FR_INLINE void move_pairs(ptrdiff_t columns, ptrdiff_t first, ptrdiff_t count, real *rows, real *halves,
                          const int into_rows)
{
    ptrdiff_t row = first / columns, column = first % columns;
    for (ptrdiff_t j = 0; j < count; row++, column = 0) {
        real *at = rows + 2 * row * columns + column;
        for (; column < columns && j < count; column++, j++, at++) {
            if (into_rows) {
                at[0] = halves[j];
                at[columns] = halves[LOSS_BLOCK + j];
            } else {
                halves[j] = at[0];
                halves[LOSS_BLOCK + j] = at[columns];
            }
        }
    }
}

/* A Gaussian of mean m and scale s = log(1 + e^r) + floor: loss = ((y - m) / s)^2 / 2 + log s + log(2 pi) / 2. */
FR_INLINE vec gaussian_element(vec m, vec r, vec y, vec floor, vec *slope_m, vec *slope_r)
{
    const vec one = v_set(1), half = v_set((real)0.5), rest = v_set((real)0.91893853320467274178);
    vec s = v_add(v_softplus(r), floor);
    vec inverse = v_div(one, s), error = v_mul(v_sub(m, y), inverse);
    *slope_m = v_mul(error, inverse);
    *slope_r = v_mul(v_mul(v_fnma(error, error, one), inverse), v_sigmoid(r));
    return v_add(v_fma(v_mul(half, error), error, v_log(s)), rest);
}

FR_INLINE void gaussian_block(ptrdiff_t count, real floor, real *pairs, const real *targets, real *losses)
{
    vec slope_m, slope_r;
    for (ptrdiff_t j = 0; j < count; j += VL) {
        vec y = j + VL <= count ? v_load(targets + j) : v_load_n(targets + j, count - j);
        vec m = v_load(pairs + j), r = v_load(pairs + LOSS_BLOCK + j);
        v_store(losses + j, gaussian_element(m, r, y, v_set(floor), &slope_m, &slope_r));
        v_store(pairs + j, slope_m);
        v_store(pairs + LOSS_BLOCK + j, slope_r);
    }
}

/* Stirling's series: log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + stirling(x), to 1e-17 for x >= FAR, and that of
 * the derivative: digamma(x) = log x + digamma_rest(x), to 1e-16. */
#define FAR 10.0

FR_INLINE double stirling(double x)
{
    const double v = 1 / (x * x);
    return (1.0 / 12 - v * (1.0 / 360 - v * (1.0 / 1260 - v * (1.0 / 1680 - v * (1.0 / 1188 - v * (691.0 / 360360
        - v / 156)))))) / x;
}

FR_INLINE double digamma_rest(double x)
{
    const double v = 1 / (x * x);
    return -0.5 / x - v * (1.0 / 12 - v * (1.0 / 120 - v * (1.0 / 252 - v * (1.0 / 240 - v * (1.0 / 132
        - v * (691.0 / 32760 - v / 12))))));
}

/* A negative binomial of mean m and dispersion 1/r, variance m + m^2 / r, at a count y >= 0:
 *
 *     loss = log Gamma(y + 1) - log Gamma(r + y) + log Gamma(r) + r log(1 + m/r) + y log((r + m) / m)
 *
 * Small r is raised to x by Gamma(r + 1) = r Gamma(r), and so is y + 1 to z. The difference of the logarithms of
 * Gamma(x + y) and Gamma(x) is taken term by term, so that a large r loses no digits; so is that of the digammas. */
static double negative_binomial_element(double m, double r, double y, double *dm, double *dr)
{
    double x = r, z = y + 1, raised = 1, rest = 0, digammas = 0;
    for (; x < FAR; x += 1) {
        const double inverse = 1 / (x * (x + y));
        raised *= (x + y) * (x + y) * inverse;
        digammas += y * inverse;
        if (raised > 1e200) {
            rest += log(raised);
            raised = 1;
        }
    }
    for (; z < FAR; z += 1) raised /= z;
    const double both = r + m, growth = log1p(y / x), log_growth = log1p(m / r);
    digammas += growth + (digamma_rest(x + y) - digamma_rest(x));
    *dm = r * (m - y) / (m * both);
    *dr = log_growth - digammas + (y - m) / both;
    /* Both but for what was raised, the second one but for y log x. */
    const double log_factorial = (z - 0.5) * log(z) - z + 0.91893853320467274178 + stirling(z);
    const double log_gammas = (x - 0.5 + y) * growth - y + (stirling(x + y) - stirling(x));
    return log_factorial - log_gammas + log(raised) + rest + r * log_growth + y * (log_growth - log(m / r * x));
}

/* m = log(1 + e^a) + floor, 1/r = log(1 + e^b) + floor */
FR_INLINE void negative_binomial_block(ptrdiff_t count, real floor, real *pairs, const real *targets, real *losses)
{
    real m[LOSS_BLOCK], dispersion[LOSS_BLOCK];
    for (ptrdiff_t j = 0; j < count; j += VL) {
        vec a = v_load(pairs + j), b = v_load(pairs + LOSS_BLOCK + j);
        v_store(m + j, v_add(v_softplus(a), v_set(floor)));
        v_store(dispersion + j, v_add(v_softplus(b), v_set(floor)));
        v_store(pairs + j, v_sigmoid(a));
        v_store(pairs + LOSS_BLOCK + j, v_sigmoid(b));
    }
    for (ptrdiff_t j = 0; j < count; j++) {
        double dm, dr;
        const double r = 1 / (double)dispersion[j];
        losses[j] = (real)negative_binomial_element(m[j], r, targets[j], &dm, &dr);
        pairs[j] = (real)(pairs[j] * dm);
        pairs[LOSS_BLOCK + j] = (real)(pairs[LOSS_BLOCK + j] * -r * r * dr);
    }
}

enum { GAUSSIAN, NEGATIVE_BINOMIAL };

FR_INLINE double pair_losses(int kind, const fr_element_rows *rows, const void *outputs, const void *targets,
                             void *doutputs)
{
    const real *y = targets, floor = (real)rows->option;
    real pairs[2 * LOSS_BLOCK], losses[LOSS_BLOCK];
    const vec scale = v_set((real)rows->scale);
    const ptrdiff_t n = rows->count * rows->columns;
    double sum = 0;
    FR_CHECK(n >= 1 && fr_flushes());
    memset(pairs, 0, sizeof pairs);  /* lanes beyond the last element compute on these */
    for (ptrdiff_t first = 0; first < n; first += LOSS_BLOCK) {
        ptrdiff_t count = n - first < LOSS_BLOCK ? n - first : LOSS_BLOCK;
        move_pairs(rows->columns, first, count, (real *)outputs, pairs, 0);
        if (kind == GAUSSIAN) gaussian_block(count, floor, pairs, y + first, losses);
        else negative_binomial_block(count, floor, pairs, y + first, losses);
        for (ptrdiff_t j = 0; j < count; j += VL) {
            v_store(pairs + j, v_mul(scale, v_load(pairs + j)));
            v_store(pairs + LOSS_BLOCK + j, v_mul(scale, v_load(pairs + LOSS_BLOCK + j)));
        }
        move_pairs(rows->columns, first, count, doutputs, pairs, 1);
        sum += ordered_sum(count, losses);
    }
    return sum;
}

static double gaussian(const fr_element_rows *rows, const void *outputs, const void *targets, void *doutputs)
{
    return pair_losses(GAUSSIAN, rows, outputs, targets, doutputs);
}

static double negative_binomial(const fr_element_rows *rows, const void *outputs, const void *targets, void *doutputs)
{
    return pair_losses(NEGATIVE_BINOMIAL, rows, outputs, targets, doutputs);
}
