from fastrnn._core.share cimport Share
from fastrnn._core.walk cimport Walk

cdef void forward_share(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, Share *share) noexcept nogil
