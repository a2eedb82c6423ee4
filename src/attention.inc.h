/* Attention, one query at a time: backward through the softmax over the scores of its keys, and the additive score, a small
 * network of each query and key (Bahdanau, Cho and Bengio, 2015). The labels are those of fastrnn/reference/attention.py. */

/* B2: dx = p (dp - the sum of p dp), where p is softmax(x); dx may be dp. */
static void softmax_backward(ptrdiff_t n, const void *softmax_of_x, const void *gradient, void *result)
{
    const real *p = softmax_of_x, *dp = gradient;
    real *dx = result;
    FR_CHECK(n >= 1 && fr_flushes());
    vec total = v_set(0);
    for (ptrdiff_t j = 0; j < n; j += VL) {
        ptrdiff_t lanes = n - j < VL ? n - j : VL;
        total = v_fma(v_load_n(p + j, lanes), v_load_n(dp + j, lanes), total);
    }
    const vec mean = v_set(v_sum(total));
    for (ptrdiff_t j = 0; j < n; j += VL) {
        ptrdiff_t lanes = n - j < VL ? n - j : VL;
        v_store_n(dx + j, lanes, v_mul(v_load_n(p + j, lanes), v_sub(v_load_n(dp + j, lanes), mean)));
    }
}

/* F1c: scores[s] = v . tanh(query + key s), A numbers each. */
static void additive_scores(const fr_additive *of, void *scores)
{
    const real *query = of->query, *v = of->v, *key = of->keys;
    real *score = scores;
    FR_CHECK(of->A >= 1 && of->count >= 1 && fr_flushes());
    for (ptrdiff_t s = 0; s < of->count; s++, key += of->key_row) {
        vec total = v_set(0);
        for (ptrdiff_t j = 0; j < of->A; j += VL) {
            ptrdiff_t lanes = of->A - j < VL ? of->A - j : VL;
            vec h = v_tanh(v_add(v_load_n(query + j, lanes), v_load_n(key + j, lanes)));
            total = v_fma(v_load_n(v + j, lanes), h, total);
        }
        score[s] = v_sum(total);
    }
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
