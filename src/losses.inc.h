/* Losses and their gradients, a row or a run of elements at a time. New sums are in one order on every instruction set. */

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

/* e = exp(z - top) of a row z (V), top its largest element; the sum of e. */
FR_INLINE real exponentials(ptrdiff_t V, const real *logits, real *e_row, real *top_of_all)
{
    const vec most = v_set(EXP_LIMIT);  /* e^-most comes out as 0; beside the maximum's 1 it is nothing */
    real top = logits[0], tail[VL];
    vec highest = v_set(top), total = v_set(0);
    ptrdiff_t j = 0;
    for (; j + VL <= V; j += VL) highest = v_max(highest, v_load(logits + j));  /* a NaN lost here makes the sum NaN */
    v_store(tail, highest);
    for (int lane = 0; lane < VL; lane++) top = tail[lane] > top ? tail[lane] : top;
    for (; j < V; j++) top = logits[j] > top ? logits[j] : top;
    const vec shift = v_set(top);
    for (j = 0; j + VL <= V; j += VL) {
        vec e = v_exp_minus(v_min(most, v_sub(shift, v_load(logits + j))));
        v_store(e_row + j, e);
        total = v_add(total, e);
    }
    real sum = v_sum(total);
    if (j < V) {
        v_store(tail, v_exp_minus(v_min(most, v_sub(shift, v_load_n(logits + j, V - j)))));
        for (ptrdiff_t lane = 0; j + lane < V; lane++) sum += e_row[j + lane] = tail[lane];
    }
    *top_of_all = top;
    return sum;
}

/* loss = log(sum(exp(z))) - z[target], dz = scale * (softmax(z) - onehot(target)). Its bits depend on the instruction set
 * by the order of `sum`, and are kept as they are. */
static double cross_entropy(ptrdiff_t V, const void *row, ptrdiff_t target, double times, void *drow)
{
    const real *logits = row, scale = (real)times;
    real *dlogits = drow, top;
    FR_CHECK(V >= 1 && 0 <= target && target < V && fr_flushes());
    real sum = exponentials(V, logits, dlogits, &top);
    real loss = REAL_LOG(sum) - (logits[target] - top);
    real factor = scale / sum;
    for (ptrdiff_t j = 0; j < V; j++) dlogits[j] *= factor;
    dlogits[target] -= scale;
    return loss;
}

/* p = scale * softmax(z) of a row z (V), IN z, OUT p; log(sum(exp(z))). */
static double softmax(ptrdiff_t V, const void *row, double scale, void *p_row)
{
    real *p = p_row, top;
    FR_CHECK(V >= 1 && fr_flushes());
    exponentials(V, row, p, &top);
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

/* The cross-entropy with the distribution q = own * onehot(target) + rest * weights (1 where NULL), which need not sum to 1:
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

/* Elements first..first+count-1 of rows of `columns` pairs: a row has all first parts, then all second ones. `halves` gets or
 * gives LOSS_BLOCK first parts, then as many second ones. */
FR_INLINE void move_pairs(ptrdiff_t columns, ptrdiff_t first, ptrdiff_t count, real *rows, real *halves, const int into_rows)
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

/* A Gaussian of mean m and scale s = log(1 + e^r) + option: loss = ((y - m) / s)^2 / 2 + log s + log(2 pi) / 2. */
FR_INLINE vec gaussian_element(vec m, vec r, vec y, vec option, vec *slope_m, vec *slope_r)
{
    const vec one = v_set(1), half = v_set((real)0.5), rest = v_set((real)0.91893853320467274178);
    vec s = v_add(v_softplus(r), option);
    vec inverse = v_div(one, s), error = v_mul(v_sub(m, y), inverse);
    *slope_m = v_mul(error, inverse);
    *slope_r = v_mul(v_mul(v_fnma(error, error, one), inverse), v_sigmoid(r));
    return v_add(v_fma(v_mul(half, error), error, v_log(s)), rest);
}

static double gaussian(const fr_element_rows *rows, const void *outputs, const void *targets, void *doutputs)
{
    const real *y = targets;
    real pairs[2 * LOSS_BLOCK], losses[LOSS_BLOCK];
    const vec scale = v_set((real)rows->scale), option = v_set((real)rows->option);
    const ptrdiff_t n = rows->count * rows->columns;
    double sum = 0;
    vec slope_m, slope_r;
    FR_CHECK(n >= 1 && fr_flushes());
    memset(pairs, 0, sizeof pairs);  /* lanes beyond the last element compute on these */
    for (ptrdiff_t first = 0; first < n; first += LOSS_BLOCK) {
        ptrdiff_t count = n - first < LOSS_BLOCK ? n - first : LOSS_BLOCK;
        move_pairs(rows->columns, first, count, (real *)outputs, pairs, 0);
        for (ptrdiff_t j = 0; j < count; j += VL) {
            vec wanted = j + VL <= count ? v_load(y + first + j) : v_load_n(y + first + j, count - j);
            vec m = v_load(pairs + j), r = v_load(pairs + LOSS_BLOCK + j);
            v_store(losses + j, gaussian_element(m, r, wanted, option, &slope_m, &slope_r));
            v_store(pairs + j, v_mul(scale, slope_m));
            v_store(pairs + LOSS_BLOCK + j, v_mul(scale, slope_r));
        }
        move_pairs(rows->columns, first, count, doutputs, pairs, 1);
        sum += ordered_sum(count, losses);
    }
    return sum;
}

/* Stirling's series: log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + stirling(x), to 1e-17 for x >= FAR, and that of the
 * derivative: digamma(x) = log x + digamma_rest(x), to 1e-16. */
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

/* log Gamma(x) for x >= 1 */
static double log_gamma(double x)
{
    double product = 1;
    for (; x < FAR; x += 1) product *= x;
    return (x - 0.5) * log(x) - x + 0.91893853320467274178 + stirling(x) - log(product);
}

/* log Gamma(r + y) - log Gamma(r) - y log r for r > 0, y >= 0, and `digammas` = digamma(r + y) - digamma(r): differences taken
 * term by term, so that a large r loses no digits. Small r is raised by Gamma(r + 1) = r Gamma(r). */
static double gamma_ratio(double r, double y, double *digammas)
{
    double ratio = 1, slopes = 0, x = r, ratios = 0;
    for (; x < FAR; x += 1) {
        const double inverse = 1 / (x * (x + y));
        ratio *= (x + y) * (x + y) * inverse;
        slopes += y * inverse;
        if (ratio > 1e200) {
            ratios += log(ratio);
            ratio = 1;
        }
    }
    const double growth = log1p(y / x);
    *digammas = growth + (digamma_rest(x + y) - digamma_rest(x)) + slopes;
    const double raised = (x - 0.5 + y) * growth - y + (stirling(x + y) - stirling(x)) - ratios;
    return x > r ? raised + y * log(x / r) - log(ratio) : raised;
}

/* log(1 + e^x), and its derivative; e^x below the normal numbers is 0. */
static double softplus(double x, double *slope)
{
    const double e = exp(-fabs(x));
    *slope = (x < 0 ? e : 1) / (1 + e);
    return (x > 0 ? x : 0) + log1p(e) + (x - x);
}

/* A negative binomial of mean m = log(1 + e^a) + option and dispersion 1/r = log(1 + e^b) + option, variance m + m^2 / r:
 * loss = log Gamma(y + 1) - (log Gamma(r + y) - log Gamma(r) - y log r) + r log(1 + m/r) + y (log(1 + m/r) - log m). */
static double negative_binomial(const fr_element_rows *rows, const void *outputs, const void *targets, void *doutputs)
{
    const real *z = outputs, *wanted = targets;
    real *dz = doutputs;
    const ptrdiff_t F = rows->columns;
    double sum = 0;
    for (ptrdiff_t row = 0; row < rows->count; row++, z += 2 * F, dz += 2 * F, wanted += F)
        for (ptrdiff_t j = 0; j < F; j++) {
            double mean_slope, slope, digammas;
            const double y = wanted[j], m = softplus(z[j], &mean_slope) + rows->option;
            const double dispersion = softplus(z[F + j], &slope) + rows->option, r = 1 / dispersion;
            const double gammas = gamma_ratio(r, y, &digammas), log_growth = log1p(m * dispersion), both = r + m;
            const double dr = log_growth - digammas + (y - m) / both;
            sum += log_gamma(y + 1) - gammas + r * log_growth + y * (log_growth - log(m));
            dz[j] = (real)(rows->scale * mean_slope * r * (m - y) / (m * both));
            dz[F + j] = (real)(rows->scale * slope * -r * r * dr);
        }
    return sum;
}
