"""Tensors as arrays over the same memory, and what cannot be read so.

A tensor is read by its address, after its type, device, dtype and kind have been checked. What is not exactly of the
plain kind, and whatever is called in one of torch's modes, goes to torch's own operators.
"""

from libc.stdint cimport uintptr_t

import torch

cimport numpy as cnp

from fastrnn._core.memory import empty

cnp.import_array()

cdef object Tensor = torch.Tensor, Parameter = torch.nn.Parameter
cdef object autocast = torch.is_autocast_enabled, tracing = torch._C._get_tracing_state
cdef object transforms = torch._C._functorch.peek_interpreter_stack, modes = torch._C._len_torch_dispatch_stack
cdef object forward_ad = torch.autograd.forward_ad, keys_of = torch._C._dispatch_keys
cdef object float32 = torch.float32, float64 = torch.float64
cdef object included = torch._C._dispatch_tls_is_dispatch_key_included, PYTHON = torch._C.DispatchKey.PythonDispatcher
# PyTorch 2.4 (torch/versions.py) gives a set of keys no number, but a text.
cdef object value_of = getattr(torch._C.DispatchKeySet, "raw_repr", torch._C.DispatchKeySet.__repr__)

with torch.inference_mode():
    _inference = value_of(keys_of(torch.zeros(1)))
cdef object PLAIN = value_of(keys_of(torch.zeros(1))), INFERENCE = _inference


# --------------------------------------------------------------------------------------------- what goes elsewhere


cdef str mode_against():
    """Why nothing may be computed here now, or None."""
    if autocast("cpu"):
        return "autocast"
    if transforms() is not None:
        return "functorch"
    if modes() > 0 or included(PYTHON):
        return "dispatch mode, compile or export"
    if tracing() is not None:
        return "tracing"
    if forward_ad._current_level >= 0:
        return "forward-mode gradients"
    return None


cdef str tensor_against(tensor, dtype):
    """Why a tensor cannot be read here, or None."""
    cdef object kind = type(tensor)
    if kind is not Tensor and kind is not Parameter:
        return "tensor subclass"
    if tensor.dtype is not dtype:
        return "mixed dtypes"
    cdef object keys = value_of(keys_of(tensor))
    if keys != PLAIN and keys != INFERENCE:
        return "not a plain CPU tensor"
    if tensor.data_ptr() == 0 and tensor.numel() > 0:
        return "freed memory"
    return None


# -------------------------------------------------------------------------------------------------- tensors, arrays


cdef cnp.ndarray array_of(tensor):
    """The tensor's memory as an array, or that of a copy where it is not contiguous or lies between numbers' places."""
    cdef cnp.npy_intp shape[3]
    cdef uintptr_t address
    cdef object sizes = tensor.shape
    cdef cnp.ndarray array
    cdef int axes = len(sizes), i
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    address = tensor.data_ptr()
    cdef object dtype = tensor.dtype
    if address % (4 if dtype is float32 else 8) != 0:  # of torch.frombuffer or a file that is mapped
        tensor = tensor.clone()
        address = tensor.data_ptr()
    for i in range(axes):
        shape[i] = sizes[i]
    cdef int type_num = cnp.NPY_FLOAT32 if dtype is float32 else cnp.NPY_FLOAT64 if dtype is float64 else cnp.NPY_INT64
    array = cnp.PyArray_SimpleNewFromData(axes, shape, type_num, <void *> address)
    cnp.set_array_base(array, tensor)
    return array


cdef list arrays_of(tensors):
    return [array_of(tensor) for tensor in tensors]


cdef cnp.ndarray room_like(cnp.ndarray array):
    """Room for a gradient: of a weight, uninitialised, or of a bias, zeros."""
    cdef cnp.ndarray room = empty((<object> array).shape, array.dtype)
    if cnp.PyArray_NDIM(room) == 1:
        room.fill(0)
    return room
