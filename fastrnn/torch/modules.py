"""The layers of `torch.nn` on this engine, and the way to turn a model's layers into them and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils._device import DeviceContext

from fastrnn.torch.bridge import Operator
from fastrnn.torch.operators import BY_NAME


def _chosen(name: str) -> Callable[..., Any]:
    """In place of `torch._VF.lstm` and its like, which take a batch or a packed one; they get what cannot run here."""
    batch, packed, own = BY_NAME[name], BY_NAME[f"{name}, packed"], getattr(torch._VF, name)

    def operator(*arguments: Any) -> Any:
        chosen: Operator = packed if isinstance(arguments[3], (list, tuple)) else batch
        result = None if _function_mode() else chosen.attempt(arguments)
        return own(*arguments) if result is None else result

    return operator


def _function_mode() -> bool:
    """Whether somebody asked to see calls of torch's functions, of which ours is none."""
    count = torch._C._len_torch_function_stack()
    return count > 0 and any(type(torch._C._get_function_stack_at(i)) is not DeviceContext for i in range(count))


_OURS = SimpleNamespace(**{name: _chosen(name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")})


def _forward_here(kind: type[nn.RNNBase]) -> Callable[..., Any]:
    """The forward of a torch layer, with our operators in place of torch's where it calls them.

    It is torch's own code with another `_VF`. So arguments, messages and forms of results are those of the version of
    torch that is installed.
    """
    own = kind.forward
    code, closure = own.__code__, own.__closure__
    here = FunctionType(code, {**own.__globals__, "_VF": _OURS}, own.__name__, own.__defaults__, closure)
    here.__kwdefaults__ = own.__kwdefaults__

    def forward(self: nn.RNNBase, *arguments: Any, **named: Any) -> Any:
        if torch.compiler.is_compiling():
            return own(self, *arguments, **named)
        return here(self, *arguments, **named)

    return forward


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` on fastrnn: the same constructor, parameters, arguments and results."""

    forward = _forward_here(nn.LSTM)


class GRU(nn.GRU):
    """`torch.nn.GRU` on fastrnn: the same constructor, parameters, arguments and results."""

    forward = _forward_here(nn.GRU)


class RNN(nn.RNN):
    """`torch.nn.RNN` on fastrnn: the same constructor, parameters, arguments and results."""

    forward = _forward_here(nn.RNN)


_OURS_FOR: dict[type, Any] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}


@dataclass(frozen=True)
class Accelerated:
    """What `accelerate` or `restore` did.

    Attributes
    ----------
    changed : list of str
        Names of the modules whose class changed, as `named_modules` gives them; "" for the model itself.
    left : dict
        Names of recurrent modules that stayed as they were, each with the reason.
    """

    changed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def accelerate(model: nn.Module) -> Accelerated:
    """Let every `nn.LSTM`, `nn.GRU` and `nn.RNN` inside a model run on fastrnn, in place.

    Only the modules' class changes. Parameters, hooks, optimisers, the state_dict and the device stay what they are.
    Before `torch.jit.script`, `torch.fx` or a pickle that is to be read without fastrnn, `restore` the model; with
    PyTorch before 2.10 also before `torch.export.export(..., strict=True)`.

    Parameters
    ----------
    model : torch.nn.Module
        May be such a layer itself.

    Returns
    -------
    Accelerated
        Names of the modules that changed, and of those that did not with the reason: subclasses, TorchScript and cells,
        which `enable` reaches; other dtypes and devices.
    """
    done = Accelerated()
    for name, module in _modules(model, "accelerate"):
        reason = _reason_to_leave(module)
        if reason is None:
            module.__class__ = _OURS_FOR[type(module)]
            done.changed.append(name)
        elif reason:
            done.left[name] = reason
    return done


def restore(model: nn.Module) -> Accelerated:
    """Undo `accelerate`: every `fastrnn.torch.LSTM`, `GRU` and `RNN` inside becomes torch's own, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Or a layer by itself.
    """
    done = Accelerated()
    torchs = {ours: own for own, ours in _OURS_FOR.items()}
    for name, module in _modules(model, "restore"):
        if type(module) in torchs:
            module.__class__ = torchs[type(module)]
            done.changed.append(name)
        elif isinstance(module, tuple(torchs)):
            done.left[name] = f"{type(module).__name__} is a subclass"
    return done


def _modules(model: Any, who: str) -> list[tuple[str, nn.Module]]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{who}: model is a {type(model).__name__}; expected a torch.nn.Module")
    return list(model.named_modules())


def _reason_to_leave(module: nn.Module) -> str | None:
    """None for a layer that can change, "" for what is not ours to change."""
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript: fastrnn.torch.enable() reaches it" if _script_name(module) in _NAMES else ""
    if isinstance(module, nn.RNNCellBase):
        return "a cell: fastrnn.torch.enable() reaches it"
    if not isinstance(module, nn.RNNBase) or isinstance(module, (LSTM, GRU, RNN)):
        return ""
    if type(module) not in _OURS_FOR:
        return f"{type(module).__name__} is a subclass: fastrnn.torch.enable() reaches what it calls"
    for parameter in module.parameters(recurse=False):
        if parameter.device.type != "cpu":
            return f"its parameters are on {parameter.device}"
        if parameter.dtype not in (torch.float32, torch.float64):
            return f"its parameters are {parameter.dtype}"
    return None


_NAMES = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")


def _script_name(module: torch.jit.ScriptModule) -> str:
    return str(getattr(module, "original_name", ""))
