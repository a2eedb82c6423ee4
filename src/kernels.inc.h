/* Everything that is compiled once per table. A shim in isa/ names the ISA, its verbs and its tiles, then includes this.
 * All is static but the one table, so the linker can never let code of one ISA stand in for another's. */
#include "kernels.h"

#include "math.inc.h"
#include "product/pack.inc.h"
#include "product/tile.inc.h"
#include "product/product.inc.h"
#include "elementwise.inc.h"
#include "losses.inc.h"
#include "attention.inc.h"
#include "ctc.inc.h"
#include "probe.inc.h"
#include "cells/cell.inc.h"
#include "cells/rnn.inc.h"
#include "cells/lstm.inc.h"
#include "cells/gru.inc.h"
#include "cells/ugrnn.inc.h"

static const fr_cell *const cells[] = {
    &rnn_tanh_cell, &rnn_relu_cell, &rnn_sigmoid_cell, &lstm_cell, &gru_reset_after_cell, &gru_reset_before_cell, &ugrnn_cell,
};

const fr_kernels FR_TABLE = {
    .name = FR_ISA_NAME,
    .size = sizeof(real),
    .vector = VL,
    .rows = FR_ROWS,
    .cells = cells,
    .cell_count = sizeof cells / sizeof *cells,
    .layout = layout,
    .pack = pack,
    .gemm = gemm,
    .transpose = transpose,
    .add = add,
    .cross_entropy = cross_entropy,
    .softmax = softmax,
    .weighted_cross_entropy = weighted_cross_entropy,
    .elements = {binary_cross_entropy, squared_error, huber, gaussian, negative_binomial},
    .ctc_gather = ctc_gather,
    .ctc_scatter = ctc_scatter,
    .ctc_lattice = CTC_LATTICE,
    .dropout = dropout,
    .tanh = tanh_array,
    .sigmoid = sigmoid_array,
    .softmax_backward = softmax_backward,
    .additive_scores = additive_scores,
    .additive_backward = additive_backward,
    .probe_flops = 2.0 * CHAINS * VL,
    .probe_block = READ_SUMS * VL,
    .probe_multiply_add = probe_multiply_add,
    .probe_read = probe_read,
};
