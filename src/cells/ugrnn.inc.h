/* UGRNN, the update-gate RNN (Collins, Sohl-Dickstein and Sussillo 2017).
 *
 * EQUATIONS PLACEHOLDER
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

#define UGRNN {"ugrnn", 2, 2, 1, 0, {0, 1}, 1, {{0, 2, {0, 1}, 0, ugrnn_forward_block, ugrnn_backward_block}}}
