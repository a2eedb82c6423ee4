/* GRU (Cho et al. 2014), with the reset gate applied after the recurrent product or before it.
 *
 * EQUATIONS PLACEHOLDER
 */

/* Reset after: W x and R h of the candidate stay apart. Slots: n (W x), r, z, m (R h), so that the slots W x is added to
 * and the slots R h is added to are both without a gap. */
FR_INLINE void gru_after_forward(const fr_forward_point *p)
{
    vec r = v_sigmoid(v_load(p->gate[1]));                        /* F2 */
    vec z = v_sigmoid(v_load(p->gate[2]));
    vec n = v_tanh(v_fma(r, v_load(p->gate[3]), v_load(p->gate[0])));        /* F3 */
    v_store(p->gate[0], n);
    v_store(p->gate[1], r);
    v_store(p->gate[2], z);
    v_store_n(p->h_next, p->n, v_fma(z, v_sub(v_load_n(p->h, p->n), n), n)); /* F4 */
}

FR_INLINE void gru_after_backward(const fr_backward_point *p)
{
    vec n = v_load(p->gate[0]), r = v_load(p->gate[1]), z = v_load(p->gate[2]), m = v_load(p->gate[3]);
    vec dz = v_mul(p->dh, v_sub(v_load_n(p->h, p->n), n));        /* B4 */
    vec dn = v_mul(v_fnma(z, p->dh, p->dh), d_tanh(n));           /* B4 B3 */
    v_store(p->gate[0], dn);
    v_store(p->gate[1], v_mul(v_mul(dn, m), d_sigmoid(r)));       /* B3 B2 */
    v_store(p->gate[2], v_mul(dz, d_sigmoid(z)));                 /* B2 */
    v_store(p->gate[3], v_mul(dn, r));                            /* B3 */
    v_store(p->carry_h, v_mul(p->dh, z));                         /* B4, to B1 */
}

/* Reset before: two products a step. Slots r, z from h, then n from aux = r*h. */
FR_INLINE void gru_before_gates_forward(const fr_forward_point *p)
{
    vec r = v_sigmoid(v_load(p->gate[0]));                        /* F2 */
    v_store(p->gate[0], r);
    v_store(p->gate[1], v_sigmoid(v_load(p->gate[1])));
    v_store_n(p->aux, p->n, v_mul(r, v_load_n(p->h, p->n)));
}

FR_INLINE void gru_before_candidate_forward(const fr_forward_point *p)
{
    vec z = v_load(p->gate[1]);
    vec n = v_tanh(v_load(p->gate[2]));                           /* F3 */
    v_store(p->gate[2], n);
    v_store_n(p->h_next, p->n, v_fma(z, v_sub(v_load_n(p->h, p->n), n), n)); /* F4 */
}

FR_INLINE void gru_before_candidate_backward(const fr_backward_point *p)
{
    vec z = v_load(p->gate[1]), n = v_load(p->gate[2]);
    vec dz = v_mul(p->dh, v_sub(v_load_n(p->h, p->n), n));        /* B4 */
    v_store(p->gate[1], v_mul(dz, d_sigmoid(z)));                 /* B2 */
    v_store(p->gate[2], v_mul(v_fnma(z, p->dh, p->dh), d_tanh(n)));          /* B4 B3 */
    v_store(p->carry_h, v_mul(p->dh, z));                         /* B4, to B1 */
    v_store(p->daux, v_set(0));
}

/* Here p->dh is nothing but what the candidate left: dy is added in the step's first (last stage's) call only. */
FR_INLINE void gru_before_gates_backward(const fr_backward_point *p)
{
    vec r = v_load(p->gate[0]), daux = v_load(p->daux);
    v_store(p->gate[0], v_mul(v_mul(daux, v_load_n(p->h, p->n)), d_sigmoid(r)));  /* B3 B2 */
    v_store(p->carry_h, v_fma(daux, r, p->dh));                   /* B3, to B1 */
}

static void gru_after_forward_block(const fr_forward_block *b) { forward_block(gru_after_forward, 4, b); }
static void gru_after_backward_block(const fr_backward_block *b) { backward_block(gru_after_backward, 4, b); }
static void gru_before_gates_forward_block(const fr_forward_block *b) { forward_block(gru_before_gates_forward, 3, b); }
static void gru_before_gates_backward_block(const fr_backward_block *b) { backward_block(gru_before_gates_backward, 3, b); }

static void gru_before_candidate_forward_block(const fr_forward_block *b)
{
    forward_block(gru_before_candidate_forward, 3, b);
}

static void gru_before_candidate_backward_block(const fr_backward_block *b)
{
    backward_block(gru_before_candidate_backward, 3, b);
}

#define GRU_RESET_AFTER \
    {"gru_reset_after", 3, 4, 1, 0, {2, 0, 1}, 1, {{1, 3, {0, 1, 2}, 0, gru_after_forward_block, gru_after_backward_block}}}
#define GRU_RESET_BEFORE \
    {"gru_reset_before", 3, 3, 1, 1, {0, 1, 2}, 2, \
     {{0, 2, {0, 1}, 0, gru_before_gates_forward_block, gru_before_gates_backward_block}, \
      {2, 1, {2}, 1, gru_before_candidate_forward_block, gru_before_candidate_backward_block}}}
