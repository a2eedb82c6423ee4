/* LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).
 *
 * EQUATIONS
 * x[t] (B, I) input    h[t] c[t] (B, H) state after t steps    y[t] = h[t+1] output
 * W (4H, I)  R (4H, H)  b b' (4H): weight_ih weight_hh bias_ih bias_hh, gate order i f g o
 * * elementwise, @ matrix product, s logistic, dv the gradient of v
 *
 * F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, 4H), parts a_i a_f a_g a_o
 * F2  i = s(a_i)    f = s(a_f)    g = tanh(a_g)    o = s(a_o)
 * F3  c[t+1] = f*c[t] + i*g
 * F4  m      = tanh(c[t+1])
 * F5  h[t+1] = o*m
 *
 *     start: dh, dc = gradients of the final state h[T], c[T]; then t = T-1 .. 0
 * B5  dh = dh + dy[t]    do = dh*m    dm = dh*o
 * B4  dc = dc + dm*(1 - m*m)
 * B3  di = dc*g    df = dc*c[t]    dg = dc*i    then  dc = dc*f
 * B2  da_i = di*i*(1 - i)    da_f = df*f*(1 - f)    da_g = dg*(1 - g*g)    da_o = do*o*(1 - o)
 * B1  dh = da @ R
 *     end: dh, dc = gradients of the initial state h[0], c[0]
 * B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
 *     db = db' = sum of da over t and B
 * END
 */

/* The output waits for tanh of the cell, the cell for three gates: in a loop of their own the processor sees far enough
 * ahead to work at several units at once (Z3-43). */
FR_INLINE void lstm_cell_forward(const fr_forward_point *p)
{
    vec i = v_sigmoid(v_load(p->gate[0]));                        /* F2 */
    vec f = v_sigmoid(v_load(p->gate[1]));
    vec g = v_tanh(v_load(p->gate[2]));
    v_store(p->gate[0], i);
    v_store(p->gate[1], f);
    v_store(p->gate[2], g);
    v_store(p->gate[3], v_sigmoid(v_load(p->gate[3])));
    v_store_n(p->c_next, p->n, v_fma(f, v_load_n(p->c, p->n), v_mul(i, g)));  /* F3 */
}

FR_INLINE void lstm_output_forward(const fr_forward_point *p)
{
    vec m = v_tanh(v_load_n(p->c_next, p->n));                    /* F4 */
    v_store_n(p->h_next, p->n, v_mul(v_load(p->gate[3]), m));     /* F5 */
}

FR_INLINE void lstm_backward(const fr_backward_point *p)
{
    vec i = v_load(p->gate[0]), f = v_load(p->gate[1]), g = v_load(p->gate[2]), o = v_load(p->gate[3]);
    vec m = v_tanh(v_load_n(p->c_next, p->n));                    /* F4 again: cheaper than keeping it */
    vec dc = v_fma(v_mul(p->dh, o), d_tanh(m), v_load(p->carry_c));          /* B5 B4 */
    v_store(p->gate[0], v_mul(v_mul(dc, g), d_sigmoid(i)));       /* B3 B2 */
    v_store(p->gate[1], v_mul(v_mul(dc, v_load_n(p->c, p->n)), d_sigmoid(f)));
    v_store(p->gate[2], v_mul(v_mul(dc, i), d_tanh(g)));
    v_store(p->gate[3], v_mul(v_mul(p->dh, m), d_sigmoid(o)));    /* B5 B2 */
    v_store(p->carry_c, v_mul(dc, f));                            /* B3 */
    v_store(p->carry_h, v_set(0));                                /* B1: all of h goes through the product */
}

static void lstm_forward_block(const fr_forward_block *b)
{
    forward_block(lstm_cell_forward, 4, b);
    forward_block(lstm_output_forward, 4, b);
}

static void lstm_backward_block(const fr_backward_block *b) { backward_block(lstm_backward, 4, b); }

static const fr_cell lstm_cell = {
    .name = "lstm",
    .gates = 4, .slots = 4, .states = 2,
    .input_gates = {0, 1, 2, 3},
    .stages = 1,
    .stage = {{.first = 0, .count = 4, .gates = {0, 1, 2, 3},
               .forward = lstm_forward_block, .backward = lstm_backward_block}},
};
