"""Configurations of Keras's models: the layers of one, and whether they are a chain."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]  # "class_name" and "config" of a layer


def layers_in(config: Config | None) -> list[Config]:
    """The layers of a model's configuration; those of old Sequential models are a bare list."""
    if config is None:
        return []
    inner = config["config"]
    return list(inner if isinstance(inner, list) else inner.get("layers", []))


def name_of(config: Config) -> str:
    return str(config["config"].get("name", config.get("name", "")))


def is_model(config: Config) -> bool:
    return isinstance(config["config"], list) or "layers" in config["config"]


def is_chain(config: Config | None) -> bool:
    """Whether each layer of a model takes what the one before it gives, and nothing else; so in every model in it."""
    if config is None or not all(is_chain(one) for one in layers_in(config) if is_model(one)):
        return False
    if config["class_name"] == "Sequential":
        return True
    if config["class_name"] not in ("Functional", "Model") or not isinstance(config["config"], dict):
        return False
    layers, ends = layers_in(config), ("input_layers", "output_layers")
    first, last = ([name for name, _ in _tensors(config["config"].get(end))] for end in ends)
    names = [name_of(one) for one in layers]
    return bool(names) and (first, last) == (names[:1], names[-1:]) and _follow(layers, names)


def _follow(layers: list[Config], names: list[str]) -> bool:
    for place, one in enumerate(layers):
        nodes = one.get("inbound_nodes", [])
        wanted = [(names[place - 1], 0)] if place else []
        if len(nodes) > 1 or _tensors(nodes) != wanted or _is_trained(nodes):
            return False
    return True


def _tensors(value: Any) -> list[tuple[str, int]]:
    """Each tensor that a part of a configuration refers to: the layer's name, and which of its outputs.

    Keras 3 has {"class_name": "__keras_tensor__", "config": {"keras_history": [name, node, output]}}, Keras 2 and the
    ends of a model [name, node, output].
    """
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return _tensors(value["config"]["keras_history"])
        return [tensor for one in value.values() for tensor in _tensors(one)]
    if not isinstance(value, list):
        return []
    if len(value) > 2 and isinstance(value[0], str) and isinstance(value[1], int) and isinstance(value[2], int):
        return [(value[0], value[2]), *_tensors(value[3:])]
    return [tensor for one in value for tensor in _tensors(one)]


def _is_trained(value: Any) -> bool:
    """Whether a call says training=True, so that dropout acts always."""
    if isinstance(value, dict):
        return value.get("training") is True or any(map(_is_trained, value.values()))
    return isinstance(value, list) and any(map(_is_trained, value))
