"""How many threads a call of an estimator may use, so that joblib's workers times ours never exceed the cores."""

from __future__ import annotations

import os
import threading

from joblib.parallel import get_active_backend

import fastrnn


def allowed(num_threads: int | None) -> int | None:
    """Return what to pass on as `num_threads`; None for `fastrnn.get_num_threads()`.

    A number that is named holds everywhere. Else a worker of joblib that is a thread (backends "threading" and "dask")
    uses one, for it shares the process with others. One that is a process uses at most OMP_NUM_THREADS, which joblib
    sets to the cores divided by the workers, or to its inner_max_num_threads, even where FASTRNN_NUM_THREADS is more.
    """
    backend = get_active_backend()[0]
    in_thread = threading.current_thread() is not threading.main_thread()
    # In a worker of Dask joblib counts no nesting: what tells is that Dask's is the active one in a thread.
    nested = backend.nesting_level or (in_thread and type(backend).__name__ == "DaskDistributedBackend")
    if num_threads is not None or not nested:
        return num_threads
    if in_thread:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdecimal() and int(limit) < fastrnn.get_num_threads() else None
