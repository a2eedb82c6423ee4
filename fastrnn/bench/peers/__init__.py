"""Everybody who can run a case. Each is used as its own documentation shows, with its fastest plain settings."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Peer
from .jax_peer import Jax
from .keras_peer import Keras
from .numpy_peer import NumPy
from .onnxruntime_peer import OnnxRuntime
from .openvino_peer import OpenVino
from .ours import FastRnn, FastRnnStream
from .torch_peer import Torch, TorchKept, TorchNative

OURS = FastRnn()
STREAM = FastRnnStream()

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (Torch(), TorchKept(), OnnxRuntime(), OpenVino(), Jax(), Keras(), TorchNative(), NumPy())
}
# Compared with if the user names none, where they are installed.
DEFAULT = ("torch", "torch-kept", "ort", "openvino", "jax", "keras")

__all__ = ["DEFAULT", "OURS", "PEERS", "STREAM", "Peer", "choose", "remarks"]


def choose(names: list[str] | None) -> list[Peer]:
    """The peers of these names, None for the default ones that are installed.

    Raises
    ------
    ValueError
        A name is unknown or not installed.
    """
    if names is None:
        return [PEERS[name] for name in DEFAULT if PEERS[name].why_not() is None]
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers is {name!r}; expected some of {', '.join(PEERS)}")
        if PEERS[name].version() is None:
            raise ValueError(f"--peers is {name!r}, which is not installed (fastrnn[bench] has most)")
        if (reason := PEERS[name].why_not()) is not None:
            raise ValueError(f"--peers is {name!r}: {reason}")
    return [PEERS[name] for name in names]


def remarks(chosen: Sequence[Peer]) -> dict[str, str]:
    """By name: what a reader must know of a peer, and why one whose package is there cannot be shown."""
    said = {peer.name: peer.remark for peer in chosen if peer.remark}
    for name in DEFAULT:
        if PEERS[name].version() is not None and (reason := PEERS[name].why_not()) is not None:
            said[name] = f"not shown: {reason}"
    return said
