from fastrnn._core.gradients cimport Targets
from fastrnn._core.tape cimport LayerTape

cdef run_forward(LayerTape record, int num_threads)
cdef run_backward(LayerTape record, Targets *targets, bint may_end, int num_threads)
