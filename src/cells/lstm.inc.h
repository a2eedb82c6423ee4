/* LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).
 *
 * EQUATIONS PLACEHOLDER
 */

FR_INLINE void lstm_forward(const fr_forward_point *p)
{
    vec i = v_sigmoid(v_load(p->gate[0]));                        /* F2 */
    vec f = v_sigmoid(v_load(p->gate[1]));
    vec g = v_tanh(v_load(p->gate[2]));
    vec o = v_sigmoid(v_load(p->gate[3]));
    vec c = v_fma(f, v_load_n(p->c, p->n), v_mul(i, g));          /* F3 */
    vec m = v_tanh(c);                                            /* F4 */
    v_store(p->gate[0], i);
    v_store(p->gate[1], f);
    v_store(p->gate[2], g);
    v_store(p->gate[3], o);
    v_store_n(p->c_next, p->n, c);
    v_store_n(p->h_next, p->n, v_mul(o, m));                      /* F5 */
}

FR_INLINE void lstm_backward(const fr_backward_point *p)
{
    vec i = v_load(p->gate[0]), f = v_load(p->gate[1]), g = v_load(p->gate[2]), o = v_load(p->gate[3]);
    vec m = v_tanh(v_load_n(p->c_next, p->n));                    /* F4 again: cheaper than keeping it */
    vec dc = v_fma(v_mul(p->dh, o), d_tanh(m), v_load(p->carry_c));          /* B5 B4 */
    v_store(p->gate[0], v_mul(v_mul(dc, g), d_sigmoid(i)));       /* B3 B2 */
    v_store(p->gate[1], v_mul(v_mul(dc, v_load_n(p->c, p->n)), d_sigmoid(f)));
    v_store(p->gate[2], v_mul(v_mul(dc, i), d_tanh(g)));
    v_store(p->gate[3], v_mul(v_mul(p->dh, m), d_sigmoid(o)));
    v_store(p->carry_c, v_mul(dc, f));
    v_store(p->carry_h, v_set(0));                                /* B1: all of h goes through the product */
}

static void lstm_forward_block(const fr_forward_block *b) { forward_block(lstm_forward, 4, b); }
static void lstm_backward_block(const fr_backward_block *b) { backward_block(lstm_backward, 4, b); }

#define LSTM {"lstm", 4, 4, 2, 0, {0, 1, 2, 3}, 1, {{0, 4, {0, 1, 2, 3}, 0, lstm_forward_block, lstm_backward_block}}}
