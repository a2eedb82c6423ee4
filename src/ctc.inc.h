/* Connectionist temporal classification (Graves et al. 2006) of one sequence: the sum over all paths that become the S
 * labels once repeats are merged and blanks are taken out.
 *
 * A path is at blank i (before label i; blank S is the last) or at label i, i counted from 0. a_t is the probability of
 * all beginnings of paths up to step t, b_t of all ends behind it, y_t the probability of a symbol. g_t = b_t y_t.
 *
 * F1  a_t(blank i) = (a_t-1(blank i) + a_t-1(label i-1)) y_t(blank)
 * F2  a_t(label i) = (a_t-1(label i) + a_t-1(blank i) + join(i) a_t-1(label i-1)) y_t(label i)
 * F3  loss         = -log(a_T-1(blank S) + a_T-1(label S-1))
 * B1  b_t(blank i) = g_t+1(blank i) + g_t+1(label i)
 * B2  b_t(label i) = g_t+1(label i) + g_t+1(blank i+1) + join(i+1) g_t+1(label i+1)
 * B3  posterior    = a_t b_t e^loss
 *
 * join(i) is 1 where label i differs from label i-1, else 0. Before the first step all is at blank 0, behind the last
 * at blank S; beside the places a and g are 0.
 *
 * The sums run over probabilities, each row scaled by a power of two, which is exact. A product that underflows is lost:
 * less than LEAST times the scale of its row. When does that not matter?
 *
 * a) What backward loses at step t is less than LEAST 2^(scale of a_t-1 + scale of g_t) of the probability, if forward lost
 *    nothing before step t. What forward loses at step t is as little, if backward lost nothing behind step t. So it is
 *    enough that forward's first loss is at no earlier step than any of backward's, and that those scales are never more
 *    than 2^RANGE times the whole.
 * b) b is at most 1, so what forward loses is less than LEAST 2^(scale of its first loss). Of what is left a) speaks.
 *
 * Where neither holds, or where nothing is left, the caller comes again with `logs`: the same sums over logarithms, which
 * take several times as long. All is in doubles, whatever the logits are. */

#define NOTHING (-1e300)    /* the logarithm of a probability of 0: finite, so that no difference is NaN */
#define LEAST 0x1p-1000
enum { SCALED_EVERY = 8, RANGE = 850 };

/* log p of the labels of one row of logits, whose log(sum(exp)) is `all`; beyond them up to `width` nothing. */
static void ctc_gather(ptrdiff_t S, ptrdiff_t width, const int64_t *labels, const void *row, double all, double *log_p)
{
    const real *logits = row;
    for (ptrdiff_t i = 0; i < S; i++) {
        double value = logits[labels[i]] - all;
        log_p[i] = value < NOTHING ? NOTHING : value;
    }
    for (ptrdiff_t i = S; i < width; i++) log_p[i] = NOTHING;
}

/* dlogits -= scale * posterior of every label */
static void ctc_scatter(ptrdiff_t S, const int64_t *labels, const double *posterior, double scale, void *row)
{
    real *dlogits = row;
    for (ptrdiff_t i = 0; i < S; i++) dlogits[labels[i]] -= (real)(scale * posterior[i]);
}

#if REAL_DIGITS == 52
/* Sums and products of probabilities, or of their logarithms. */
FR_INLINE vec p_times(vec a, vec b, const int logs) { return logs ? v_max(v_set(NOTHING), v_add(a, b)) : v_mul(a, b); }

FR_INLINE vec p_share(vec lost) { return v_exp_minus(v_min(v_set(EXP_LIMIT), lost)); }  /* e^-lost */

FR_INLINE vec p_add(vec a, vec b, const int logs)
{
    if (!logs) return v_add(a, b);
    vec top = v_max(a, b);
    return v_add(top, v_log(v_add(v_set(1), p_share(v_sub(top, v_min(a, b))))));
}

FR_INLINE vec p_add_joined(vec a, vec b, vec c, vec join, const int logs)  /* a + b + join c */
{
    if (!logs) return v_fma(join, c, v_add(a, b));
    c = p_times(join, c, logs);
    vec top = v_max(v_max(a, b), c);
    vec two = v_add(p_share(v_sub(top, a)), p_share(v_sub(top, b)));
    return v_add(top, v_log(v_add(two, p_share(v_sub(top, c)))));
}

/* Scale two arrays (n) by a power of two so that their largest element is in 1/2..1, and add its exponent.
 * 0: nothing is left. */
FR_INLINE int rescale(ptrdiff_t n, real *blanks, real *labels, int64_t *exponent)
{
    vec highest = v_set(0);
    real lanes[VL], top = 0;
    int by;
    for (ptrdiff_t i = 0; i < n; i += VL) highest = v_max(highest, v_max(v_load(blanks + i), v_load(labels + i)));
    v_store(lanes, highest);
    for (int lane = 0; lane < VL; lane++) top = lanes[lane] > top ? lanes[lane] : top;
    if (!(top > 0)) return 0;
    frexp(top, &by);
    const vec scale = v_set(ldexp(1, -by));
    for (ptrdiff_t i = 0; i < n; i += VL) {
        v_store(blanks + i, v_mul(v_load(blanks + i), scale));
        v_store(labels + i, v_mul(v_load(labels + i), scale));
    }
    *exponent += by;
    return 1;
}

/* The arrays of one step: blanks (n) and labels (n). Reads go one beyond labels' begin and both ends: there is nothing. */
typedef struct {
    real *blanks, *labels;
} states;

FR_INLINE states states_at(const fr_lattice *given, real *at)
{
    return (states){at, at + given->width + FR_LATTICE_EDGE};
}

/* Before the first step, and with the last place behind the last step: one place has it all. */
FR_INLINE states certain(const fr_lattice *given, ptrdiff_t place, const int logs)
{
    for (ptrdiff_t i = 0; i < FR_LATTICE_STRIDE(given->width); i++) given->carry[i] = logs ? NOTHING : 0;
    given->carry[place] = logs ? 0 : 1;
    return states_at(given, given->carry);
}

/* Whether one of the lanes lost something. */
FR_INLINE int any_lost(vec least)
{
    real lanes[VL];
    int lost = 0;
    v_store(lanes, least);
    for (int lane = 0; lane < VL; lane++) lost |= lanes[lane] < LEAST;
    return lost;
}

/* F1 and F2 of one step; the least of what was not 0 before it was multiplied by y. */
FR_INLINE vec forward_step(const fr_lattice *given, states before, states a, real *y, real y_of_blank, const int logs)
{
    const real *joins = logs ? given->log_joins : given->joins;
    const vec y_blank = v_set(y_of_blank), zero = v_set(0), one = v_set(1);
    vec least = one;
    a.labels[-1] = logs ? NOTHING : 0;
    for (ptrdiff_t i = 0; i < given->width; i += VL) {
        vec y_label = v_load(y + i), blank = v_load(before.blanks + i), label = v_load(before.labels + i);
        vec last = v_load(before.labels + i - 1);
        if (!logs) v_store(y + i, y_label = p_share(v_sub(zero, y_label)));
        vec blanks = p_add(blank, last, logs), labels = p_add_joined(label, blank, last, v_load(joins + i), logs);
        vec a_blank = p_times(blanks, y_blank, logs), a_label = p_times(labels, y_label, logs);
        v_store(a.blanks + i, a_blank);
        v_store(a.labels + i, a_label);
        if (!logs) {
            least = v_min(least, v_select_less(zero, blanks, a_blank, one));
            least = v_min(least, v_select_less(zero, v_mul(labels, v_load(given->lives + i)), a_label, one));
        }
    }
    return least;
}

/* The probability of all paths: total * 2^exponent, or e^total. */
typedef struct {
    real total;
    int64_t exponent;
    ptrdiff_t first_loss;  /* the step of forward's first loss, T for none */
    int unseen;            /* b) holds */
} sum_of_paths;

/* 0: nothing is left. */
FR_INLINE int forward(const fr_lattice *given, sum_of_paths *all, const int logs)
{
    const ptrdiff_t T = given->T, S = given->S, n = given->width;
    states before = certain(given, 0, logs);
    int64_t exponent = 0, loss_exponent = INT64_MIN / 2;
    all->first_loss = T;
    for (ptrdiff_t t = 0; t < T; t++) {
        states a = states_at(given, given->a + t * FR_LATTICE_STRIDE(n));
        if (!logs) given->blanks[t] = exp(given->blanks[t]);
        vec least = forward_step(given, before, a, given->labels + t * n, given->blanks[t], logs);
        if (!logs && all->first_loss == T && any_lost(least)) {
            all->first_loss = t;
            loss_exponent = exponent;
        }
        if (!logs && t % SCALED_EVERY == 0 && !rescale(n, a.blanks, a.labels, &exponent)) return 0;
        given->exponents[t] = exponent;
        before = a;
    }
    const real blank = before.blanks[S], label = before.labels[S - 1];  /* F3 */
    if (logs) {
        const real top = blank > label ? blank : label;
        all->total = top + log(exp(blank - top) + exp(label - top));
        return 1;
    }
    if (!(blank + label > 0)) return 0;
    int by;
    all->total = frexp(blank + label, &by);
    all->exponent = exponent + by;
    all->unseen = loss_exponent - all->exponent <= RANGE;
    return 1;
}

/* B1 to B3 of one step: b_t of g_t+1, posteriors into y and a.blanks, g_t; the least as for forward_step. `share` is
 * what turns a b into a posterior. */
FR_INLINE vec backward_step(const fr_lattice *given, states a, states g, real *y, real y_of_blank, real share_of,
                            const int logs)
{
    const real *joins = (logs ? given->log_joins : given->joins) + 1;
    const vec y_blank = v_set(y_of_blank), share = v_set(share_of), zero = v_set(0), one = v_set(1);
    vec least = one;
    for (ptrdiff_t i = 0; i < given->width; i += VL) {
        vec y_label = v_load(y + i), blank = v_load(g.blanks + i), label = v_load(g.labels + i);
        vec next = v_load(g.labels + i + 1), next_blank = v_load(g.blanks + i + 1);
        vec b_blank = p_add(blank, label, logs);
        vec b_label = p_add_joined(label, next_blank, next, v_load(joins + i), logs);
        vec own_blank = p_times(v_load(a.blanks + i), b_blank, logs);
        vec own_label = p_times(v_load(a.labels + i), b_label, logs);
        v_store(a.blanks + i, logs ? p_share(v_sub(share, own_blank)) : v_mul(own_blank, share));
        v_store(y + i, logs ? p_share(v_sub(share, own_label)) : v_mul(own_label, share));
        vec g_blank = p_times(b_blank, y_blank, logs), g_label = p_times(b_label, y_label, logs);
        v_store(g.blanks + i, g_blank);
        v_store(g.labels + i, g_label);
        if (!logs) {
            least = v_min(least, v_select_less(zero, b_blank, g_blank, one));
            least = v_min(least, v_select_less(zero, b_label, g_label, one));
        }
    }
    return least;
}

/* 0: the sums are not known well enough. */
FR_INLINE int backward(const fr_lattice *given, const sum_of_paths *all, const int logs)
{
    const ptrdiff_t n = given->width;
    states g = certain(given, given->S, logs);
    int64_t exponent = 0;
    for (ptrdiff_t t = given->T; t-- > 0;) {
        states a = states_at(given, given->a + t * FR_LATTICE_STRIDE(n));
        real share = all->total;
        if (!logs) {
            if ((t ? given->exponents[t - 1] : 0) + exponent - all->exponent > RANGE) return 0;
            share = ldexp(1 / all->total, (int)(given->exponents[t] + exponent - all->exponent));
        }
        vec least = backward_step(given, a, g, given->labels + t * n, given->blanks[t], share, logs);
        if (!logs && !all->unseen && t > all->first_loss && any_lost(least)) return 0;
        given->blanks[t] = ordered_sum(n, a.blanks);
        if (!logs && t && t % SCALED_EVERY == 0 && !rescale(n, g.blanks, g.labels, &exponent)) return 0;
    }
    return 1;
}

FR_INLINE int lattice(const fr_lattice *given, double *loss, const int logs)
{
    sum_of_paths all = {0};
    FR_CHECK(given->T >= 1 && given->S >= 0 && given->width % FR_LATTICE_EDGE == 0 && given->width > given->S);
    FR_CHECK(fr_flushes());
    if (!forward(given, &all, logs)) return 0;
    *loss = logs ? -all.total : -(log(all.total) + (double)all.exponent * 0.69314718055994530942);
    if (logs && all.total < NOTHING / 2) {
        *loss = INFINITY;
        return 1;
    }
    return backward(given, &all, logs);
}

/* 0: to be called again with `logs`, with new logarithms of probabilities. */
static int ctc_lattice(const fr_lattice *given, int logs, double *loss)
{
    return logs ? lattice(given, loss, 1) : lattice(given, loss, 0);
}
#define CTC_LATTICE ctc_lattice
#else
#define CTC_LATTICE NULL  /* of the tables of doubles alone */
#endif
