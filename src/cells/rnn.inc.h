/* RNN (Elman 1990), f one of tanh, relu, sigmoid.
 *
 * EQUATIONS
 * x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
 * W (H, I)  R (H, H)  b b' (H): weight_ih weight_hh bias_ih bias_hh
 * * elementwise, @ matrix product, s logistic, dv the gradient of v
 *
 * F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, H)
 * F2  h[t+1] = f(a)         f(a): tanh(a), relu: max(a, 0), sigmoid: s(a)
 *
 *     start: dh = gradient of the final state h[T]; then t = T-1 .. 0
 * B2  dh = dh + dy[t]    da = dh*f'(a)    with v = h[t+1], f'(a) is
 *     tanh: 1 - v*v    relu: 1 where v > 0, else 0    sigmoid: v*(1 - v)
 * B1  dh = da @ R
 *     end: dh = gradient of the initial state h[0]
 * B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
 *     db = db' = sum of da over t and B
 * END
 */

FR_INLINE void rnn_forward(const fr_forward_point *p, vec (*f)(vec))
{
    vec h = f(v_load(p->gate[0]));                                /* F2 */
    v_store(p->gate[0], h);
    v_store_n(p->h_next, p->n, h);
}

FR_INLINE void rnn_backward(const fr_backward_point *p, vec (*d)(vec, vec))
{
    v_store(p->gate[0], d(v_load(p->gate[0]), p->dh));            /* B2 */
    v_store(p->carry_h, v_set(0));                                /* B1: all of h goes through the product */
}

FR_INLINE vec v_relu(vec x) { return v_max(v_set(0), x); }
FR_INLINE vec through_tanh(vec y, vec dy) { return v_mul(dy, d_tanh(y)); }
FR_INLINE vec through_relu(vec y, vec dy) { return v_select_less(v_set(0), y, dy, v_set(0)); }
FR_INLINE vec through_sigmoid(vec y, vec dy) { return v_mul(dy, d_sigmoid(y)); }

FR_INLINE void rnn_tanh_forward(const fr_forward_point *p) { rnn_forward(p, v_tanh); }
FR_INLINE void rnn_relu_forward(const fr_forward_point *p) { rnn_forward(p, v_relu); }
FR_INLINE void rnn_sigmoid_forward(const fr_forward_point *p) { rnn_forward(p, v_sigmoid); }
FR_INLINE void rnn_tanh_backward(const fr_backward_point *p) { rnn_backward(p, through_tanh); }
FR_INLINE void rnn_relu_backward(const fr_backward_point *p) { rnn_backward(p, through_relu); }
FR_INLINE void rnn_sigmoid_backward(const fr_backward_point *p) { rnn_backward(p, through_sigmoid); }

static void rnn_tanh_forward_block(const fr_forward_block *b) { forward_block(rnn_tanh_forward, 1, b); }
static void rnn_relu_forward_block(const fr_forward_block *b) { forward_block(rnn_relu_forward, 1, b); }
static void rnn_sigmoid_forward_block(const fr_forward_block *b) { forward_block(rnn_sigmoid_forward, 1, b); }
static void rnn_tanh_backward_block(const fr_backward_block *b) { backward_block(rnn_tanh_backward, 1, b); }
static void rnn_relu_backward_block(const fr_backward_block *b) { backward_block(rnn_relu_backward, 1, b); }
static void rnn_sigmoid_backward_block(const fr_backward_block *b) { backward_block(rnn_sigmoid_backward, 1, b); }

#define RNN_CELL(f) { \
    .name = "rnn_" #f, \
    .gates = 1, .slots = 1, .states = 1, \
    .input_gates = {0}, \
    .stages = 1, \
    .stage = {{.first = 0, .count = 1, .gates = {0}, \
               .forward = rnn_##f##_forward_block, .backward = rnn_##f##_backward_block}}, \
}
static const fr_cell rnn_tanh_cell = RNN_CELL(tanh), rnn_relu_cell = RNN_CELL(relu), rnn_sigmoid_cell = RNN_CELL(sigmoid);
