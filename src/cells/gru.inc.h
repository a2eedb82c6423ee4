/* GRU (Cho et al. 2014), with the reset gate applied after the recurrent product or before it.
 *
 * EQUATIONS
 * x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
 * W (3H, I)  R (3H, H)  b b' (3H): weight_ih weight_hh bias_ih bias_hh, gate order r z n
 * * elementwise, @ matrix product, s logistic, dv the gradient of v, parts p_r p_z p_n and so on
 * lines marked a: reset_after=True (PyTorch, cuDNN); b: reset_after=False (Cho 2014, ONNX default)
 *
 * F1  p      = x[t] @ W.T + b                               (B, 3H)
 * F2  r = s(p_r + h[t] @ R_r.T + b'_r)    z = s(p_z + h[t] @ R_z.T + b'_z)
 * F3a q      = h[t] @ R_n.T + b'_n
 * F3b q      = (r*h[t]) @ R_n.T + b'_n
 * F4a n      = tanh(p_n + r*q)
 * F4b n      = tanh(p_n + q)
 * F5  h[t+1] = (1 - z)*n + z*h[t]
 *
 *     start: dh = gradient of the final state h[T]; then t = T-1 .. 0
 * B5  dh = dh + dy[t]    dn = dh*(1 - z)    dz = dh*(h[t] - n)    then  dh = dh*z
 * B4  dp_n = dn*(1 - n*n)
 * B4a dq = dp_n*r    dr = dp_n*q
 * B4b dq = dp_n
 * B3a dh = dh + dq @ R_n
 * B3b dk = dq @ R_n    dr = dk*h[t]    dh = dh + dk*r       k = r*h[t]
 * B2  dp_r = dr*r*(1 - r)    dp_z = dz*z*(1 - z)
 * B1  dh = dh + dp_r @ R_r + dp_z @ R_z
 *     end: dh = gradient of the initial state h[0]
 * B0  dx[t] = dp[t] @ W    dW = sum_t dp[t].T @ x[t]    db = sum of dp over t and B
 *     dR_r, dR_z = sum_t dp_r[t].T @ h[t], dp_z[t].T @ h[t]    db' = sum of (dp_r dp_z dq)
 *     dR_n = sum_t dq[t].T @ h[t] (a) or sum_t dq[t].T @ (r*h[t]) (b)
 * END
 */

/* Reset after: W x and R h of the candidate stay apart. Slots: n (F1's p_n), r, z, m (F3a's q), so that the slots
 * W x is added to and the slots R h is added to are both without a gap. */
FR_INLINE void gru_after_forward(const fr_forward_point *p)
{
    vec r = v_sigmoid(v_load(p->gate[1]));                        /* F2 */
    vec z = v_sigmoid(v_load(p->gate[2]));
    vec n = v_tanh(v_fma(r, v_load(p->gate[3]), v_load(p->gate[0])));        /* F4a */
    v_store(p->gate[0], n);
    v_store(p->gate[1], r);
    v_store(p->gate[2], z);
    v_store_n(p->h_next, p->n, v_fma(z, v_sub(v_load_n(p->h, p->n), n), n)); /* F5 */
}

FR_INLINE void gru_after_backward(const fr_backward_point *p)
{
    vec n = v_load(p->gate[0]), r = v_load(p->gate[1]), z = v_load(p->gate[2]), m = v_load(p->gate[3]);
    vec dz = v_mul(p->dh, v_sub(v_load_n(p->h, p->n), n));        /* B5 */
    vec dn = v_mul(v_fnma(z, p->dh, p->dh), d_tanh(n));           /* B5 B4 */
    v_store(p->gate[0], dn);
    v_store(p->gate[1], v_mul(v_mul(dn, m), d_sigmoid(r)));       /* B4a B2 */
    v_store(p->gate[2], v_mul(dz, d_sigmoid(z)));                 /* B2 */
    v_store(p->gate[3], v_mul(dn, r));                            /* B4a, to B3a */
    v_store(p->carry_h, v_mul(p->dh, z));                         /* B5, to B1 */
}

/* Reset before: two products a step. Slots r, z from h, then n from aux = r*h (F3b adds its product to p_n). */
FR_INLINE void gru_before_gates_forward(const fr_forward_point *p)
{
    vec r = v_sigmoid(v_load(p->gate[0]));                        /* F2 */
    v_store(p->gate[0], r);
    v_store(p->gate[1], v_sigmoid(v_load(p->gate[1])));
    v_store_n(p->aux, p->n, v_mul(r, v_load_n(p->h, p->n)));      /* F3b's r*h, B3b's k */
}

FR_INLINE void gru_before_candidate_forward(const fr_forward_point *p)
{
    vec z = v_load(p->gate[1]);
    vec n = v_tanh(v_load(p->gate[2]));                           /* F4b */
    v_store(p->gate[2], n);
    v_store_n(p->h_next, p->n, v_fma(z, v_sub(v_load_n(p->h, p->n), n), n)); /* F5 */
}

FR_INLINE void gru_before_candidate_backward(const fr_backward_point *p)
{
    vec z = v_load(p->gate[1]), n = v_load(p->gate[2]);
    vec dz = v_mul(p->dh, v_sub(v_load_n(p->h, p->n), n));        /* B5 */
    v_store(p->gate[1], v_mul(dz, d_sigmoid(z)));                 /* B2 */
    v_store(p->gate[2], v_mul(v_fnma(z, p->dh, p->dh), d_tanh(n)));          /* B5 B4 B4b */
    v_store(p->carry_h, v_mul(p->dh, z));                         /* B5, to B1 */
    v_store(p->daux, v_set(0));                                   /* dk = this + B3b's product */
}

/* Here p->dh is nothing but what the candidate left: dy is added in the step's first (last stage's) call only. */
FR_INLINE void gru_before_gates_backward(const fr_backward_point *p)
{
    vec r = v_load(p->gate[0]), daux = v_load(p->daux);
    v_store(p->gate[0], v_mul(v_mul(daux, v_load_n(p->h, p->n)), d_sigmoid(r)));  /* B3b B2 */
    v_store(p->carry_h, v_fma(daux, r, p->dh));                   /* B3b, to B1 */
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

static const fr_cell gru_reset_after_cell = {
    .name = "gru_reset_after",
    .gates = 3, .slots = 4, .states = 1,
    .input_gates = {2, 0, 1},
    .stages = 1,
    .stage = {{.first = 1, .count = 3, .gates = {0, 1, 2},
               .forward = gru_after_forward_block, .backward = gru_after_backward_block}},
};

static const fr_cell gru_reset_before_cell = {
    .name = "gru_reset_before",
    .gates = 3, .slots = 3, .states = 1, .aux = 1,
    .input_gates = {0, 1, 2},
    .stages = 2,
    .stage = {{.first = 0, .count = 2, .gates = {0, 1},
               .forward = gru_before_gates_forward_block, .backward = gru_before_gates_backward_block},
              {.first = 2, .count = 1, .gates = {2}, .from_aux = 1,
               .forward = gru_before_candidate_forward_block, .backward = gru_before_candidate_backward_block}},
};
