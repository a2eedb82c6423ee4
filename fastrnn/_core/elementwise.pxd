# The last look before C, for every module that hands it arrays.
cdef fitting(str who, bint fits)
