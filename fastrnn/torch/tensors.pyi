"""Tensors as arrays; for compiled code alone (see torch/tensors.pyx)."""
