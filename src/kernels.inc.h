/* Everything that is compiled once per ISA. A shim (isa_*.c) names the ISA and its verbs, then includes this.
 * All is static but the one table, so the linker can never let code of one ISA stand in for another's. */
#include "fr_kernels.h"

#include "math.inc.h"
#include "gemm.inc.h"
#include "elementwise.inc.h"
#include "cells/cell.inc.h"
#include "cells/rnn.inc.h"
#include "cells/lstm.inc.h"
#include "cells/gru.inc.h"
#include "cells/ugrnn.inc.h"

static const fr_cell cell_table[] = {RNN_TANH, RNN_RELU, RNN_SIGMOID, LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE, UGRNN};

const fr_kernels FR_TABLE = {
    .name = FR_ISA_NAME,
    .vector = VL,
    .rows = FR_ROWS,
    .cells = cell_table,
    .cell_count = sizeof cell_table / sizeof *cell_table,
    .pack = pack,
    .gemm = gemm,
    .transpose = transpose,
    .add = add,
    .cross_entropy = cross_entropy,
    .dropout = dropout,
    .tanh = tanh_array,
    .sigmoid = sigmoid_array,
};
