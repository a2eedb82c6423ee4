"""Memory that is kept between calls."""

from __future__ import annotations

from fastrnn._core import memory, workspace


def release_memory() -> None:
    """Give back the memory that is kept for the next calls: packed copies of weights, and buffers.

    Of layers of each size up to four sets of packed copies wait, some three times the size of the weights each, also
    when the layers are gone. Calling it is never needed for right results; the next calls are a little slower.
    """
    workspace.release()
    memory.release()
