"""Everybody who can run a case. Each is used as its own documentation shows, with its fastest plain settings."""

from __future__ import annotations

from .base import Job, Peer
from .jax import Jax
from .numpy import NumPy
from .onnxruntime import OnnxRuntime
from .openvino import OpenVino
from .ours import FastRnn, FastRnnStream
from .torch import Torch, TorchNative

OURS = FastRnn()
STREAM = FastRnnStream()

# The first four are compared with by default, where they are installed.
PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (Torch(), OnnxRuntime(), OpenVino(), Jax(), TorchNative(), NumPy())
}
DEFAULT = ("torch", "ort", "openvino", "jax")

__all__ = ["DEFAULT", "OURS", "PEERS", "STREAM", "Job", "Peer", "choose"]


def choose(names: list[str] | None) -> list[Peer]:
    """The peers of these names, None for the default ones that are installed.

    Raises
    ------
    ValueError
        A name is unknown or not installed.
    """
    if names is None:
        return [PEERS[name] for name in DEFAULT if PEERS[name].version() is not None]
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers is {name!r}; expected some of {', '.join(PEERS)}")
        if PEERS[name].version() is None:
            raise ValueError(
                f"--peers is {name!r}, which is not installed (fastrnn[bench] has most)"
            )
    return [PEERS[name] for name in names]
