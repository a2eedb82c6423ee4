/* Attention, one query at a time: backward through the softmax over the scores of its keys, and the additive score, a
 * small network of each query and key (Bahdanau, Cho and Bengio, 2015). The labels are those of
 * fastrnn/reference/attention.py. Sums are in one order on every instruction set. */

/* B2: dx = p (dp - the sum of p dp), where p is softmax(x); dx may be dp. */
static void softmax_backward(ptrdiff_t n, const void *softmax_of_x, const void *gradient, void *result)
{
    const real *p = softmax_of_x, *dp = gradient;
    real *dx = result, terms[LOSS_BLOCK];
    FR_CHECK(n >= 1 && fr_flushes());
    double sum = 0;
    for (ptrdiff_t first = 0; first < n; first += LOSS_BLOCK) {
        ptrdiff_t count = n - first < LOSS_BLOCK ? n - first : LOSS_BLOCK;
        for (ptrdiff_t j = 0; j < count; j++) terms[j] = p[first + j] * dp[first + j];
        sum += ordered_sum(count, terms);
    }
    const vec mean = v_set((real)sum);
    for (ptrdiff_t j = 0; j < n; j += VL) {
        ptrdiff_t lanes = n - j < VL ? n - j : VL;
        v_store_n(dx + j, lanes, v_mul(v_load_n(p + j, lanes), v_sub(v_load_n(dp + j, lanes), mean)));
    }
}

/* F1c: v . tanh(query + key), A numbers each. */
static real additive_score(ptrdiff_t A, const real *query, const real *key, const real *v)
{
    real terms[LOSS_BLOCK];
    double sum = 0;
    for (ptrdiff_t first = 0; first < A; first += LOSS_BLOCK) {
        ptrdiff_t count = A - first < LOSS_BLOCK ? A - first : LOSS_BLOCK;
        for (ptrdiff_t j = 0; j < count; j += VL) {
            ptrdiff_t lanes = count - j < VL ? count - j : VL, at = first + j;
            vec h = v_tanh(v_add(v_load_n(query + at, lanes), v_load_n(key + at, lanes)));
            v_store_n(terms + j, lanes, v_mul(v_load_n(v + at, lanes), h));
        }
        sum += ordered_sum(count, terms);
    }
    return (real)sum;
}

static void additive_scores(const fr_additive *of, void *scores)
{
    const real *key = of->keys;
    real *score = scores;
    FR_CHECK(of->A >= 1 && of->count >= 1 && fr_flushes());
    for (ptrdiff_t s = 0; s < of->count; s++, key += of->key_row)
        score[s] = additive_score(of->A, of->query, key, of->v);
}

/* B1c: h = tanh(query + key s) is made again; dquery, dkeys and dv are added to. */
static void additive_backward(const fr_additive *of, const void *gradients, void *dquery_at, void *dkeys, void *dv_at)
{
    const real *query = of->query, *v = of->v, *key = of->keys, *dscores = gradients;
    real *dquery = dquery_at, *dkey = dkeys, *dv = dv_at;
    FR_CHECK(of->A >= 1 && of->count >= 1 && fr_flushes());
    for (ptrdiff_t s = 0; s < of->count; s++, key += of->key_row, dkey += of->key_row) {
        const vec dscore = v_set(dscores[s]);
        for (ptrdiff_t j = 0; j < of->A; j += VL) {
            ptrdiff_t lanes = of->A - j < VL ? of->A - j : VL;
            vec h = v_tanh(v_add(v_load_n(query + j, lanes), v_load_n(key + j, lanes)));
            vec da = v_mul(v_mul(dscore, v_load_n(v + j, lanes)), v_fnma(h, h, v_set(1)));
            v_store_n(dquery + j, lanes, v_add(v_load_n(dquery + j, lanes), da));
            v_store_n(dkey + j, lanes, v_add(v_load_n(dkey + j, lanes), da));
            v_store_n(dv + j, lanes, v_fma(dscore, h, v_load_n(dv + j, lanes)));
        }
    }
}
