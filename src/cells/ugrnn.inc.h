/* UGRNN, the update-gate RNN (Collins, Sohl-Dickstein and Sussillo 2017).
 *
 * EQUATIONS
 * x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
 * W (2H, I)  R (2H, H)  b b' (2H): weight_ih weight_hh bias_ih bias_hh, gate order g c
 * * elementwise, @ matrix product, s logistic, dv the gradient of v
 *
 * F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, 2H), parts a_g a_c
 * F2  g = s(a_g)    c = tanh(a_c)
 * F3  h[t+1] = g*h[t] + (1 - g)*c
 *
 *     start: dh = gradient of the final state h[T]; then t = T-1 .. 0
 * B3  dh = dh + dy[t]    dg = dh*(h[t] - c)    dc = dh*(1 - g)    then  dh = dh*g
 * B2  da_g = dg*g*(1 - g)    da_c = dc*(1 - c*c)
 * B1  dh = dh + da @ R
 *     end: dh = gradient of the initial state h[0]
 * B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
 *     db = db' = sum of da over t and B
 * END
 */

FR_INLINE void ugrnn_forward(const fr_forward_point *p)
{
    vec g = v_sigmoid(v_load(p->gate[0]));                        /* F2 */
    vec c = v_tanh(v_load(p->gate[1]));
    v_store(p->gate[0], g);
    v_store(p->gate[1], c);
    v_store_n(p->h_next, p->n, v_fma(g, v_sub(v_load_n(p->h, p->n), c), c)); /* F3 */
}

FR_INLINE void ugrnn_backward(const fr_backward_point *p)
{
    vec g = v_load(p->gate[0]), c = v_load(p->gate[1]);
    vec dg = v_mul(p->dh, v_sub(v_load_n(p->h, p->n), c));        /* B3 */
    v_store(p->gate[0], v_mul(dg, d_sigmoid(g)));                 /* B2 */
    v_store(p->gate[1], v_mul(v_fnma(g, p->dh, p->dh), d_tanh(c)));          /* B3 B2 */
    v_store(p->carry_h, v_mul(p->dh, g));                         /* B3, to B1 */
}

static void ugrnn_forward_block(const fr_forward_block *b) { forward_block(ugrnn_forward, 2, b); }
static void ugrnn_backward_block(const fr_backward_block *b) { backward_block(ugrnn_backward, 2, b); }

static const fr_cell ugrnn_cell = {
    .name = "ugrnn",
    .gates = 2, .slots = 2, .states = 1,
    .input_gates = {0, 1},
    .stages = 1,
    .stage = {{.first = 0, .count = 2, .gates = {0, 1},
               .forward = ugrnn_forward_block, .backward = ugrnn_backward_block}},
};
