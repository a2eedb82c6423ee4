cimport numpy as cnp

cdef str mode_against()
cdef str tensor_against(tensor, dtype)
cdef cnp.ndarray array_of(tensor)
cdef list arrays_of(tensors)
cdef cnp.ndarray room_like(cnp.ndarray array)
