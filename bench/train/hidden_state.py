"""What a model keeps outside its `state_dict`, and so loses where a run is resumed."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_OF_PYTORCH = set(nn.Module().__dict__)
"""Attributes that every module has: its parameters, buffers, parts, hooks and mode."""

_ABSENT = object()


def recorded(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of `model` by name, without those that its `state_dict` lacks."""
    found: dict[str, Tensor] = dict(model.named_parameters())
    for prefix, module in model.named_modules():
        for name, value in module._buffers.items():
            if value is not None and name not in module._non_persistent_buffers_set:
                found[_joined(prefix, name)] = value
    return found


def hidden_state(model: nn.Module) -> dict[str, Any]:
    """A copy of each attribute and other buffer of `model` by name, such as "cell.count".

    Left out are functions, and what cannot be copied.
    """
    # Parameters and modules stay themselves in the copy of an attribute that holds them.
    kept = (*recorded(model).values(), *model.modules())
    memo: dict[int, Any] = {id(part): part for part in kept}
    found = {}
    for name, _, _, value in _attributes(model):
        with contextlib.suppress(Exception):  # a lock, an open file: any error of a user's class
            found[name] = _copied(value, memo)
    return found


def restore(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Set what `hidden_state` copied, and remove what was not there."""
    for name, holder, key, value in [*_attributes(model)]:
        if name not in state:
            if _is_data(value):
                del holder[key]
        elif not same(value, state[name]):
            holder[key] = state[name]


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names whose values differ between two states, or that only one has."""
    names = [*after, *(name for name in before if name not in after)]
    return [n for n in names if not same(before.get(n, _ABSENT), after.get(n, _ABSENT))]


def same(one: object, other: object) -> bool:
    """Whether two values have one content, as far as can be told; NaN is equal to itself."""
    try:
        return _same(one, other)
    except RecursionError:  # objects that hold each other
        return True


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return _same_tensors(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one).__eq__ is object.__eq__ and hasattr(one, "__dict__"):
        return _same(vars(one), vars(other))
    if type(one).__eq__ is not object.__eq__:
        with contextlib.suppress(Exception):  # an array has several answers
            return bool(one == other) or (one != one and other != other)
    return _pickled(one) == _pickled(other)


def _pickled(value: object) -> bytes:
    """The content of `value`; nothing where it cannot be told."""
    with contextlib.suppress(Exception):  # by a user's class, any error
        return pickle.dumps(value)
    return b""


def _same_tensors(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if torch.equal(one, other):
        return True
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _attributes(model: nn.Module) -> Iterator[tuple[str, dict[str, Any], str, Any]]:
    """Name, and the dictionary, key and value, of all that may be hidden state."""
    for prefix, module in model.named_modules():
        beyond = module._non_persistent_buffers_set
        for holder, keys in (
            (module.__dict__, module.__dict__.keys() - _OF_PYTORCH),
            (module._buffers, beyond),
        ):
            for key in sorted(keys & holder.keys()):
                value = holder[key]
                if isinstance(value, nn.Module) or not callable(value):
                    yield _joined(prefix, key), holder, key, value


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Tensor) and not value.is_leaf:  # which no deep copy is made of
        return value.detach().clone()
    if type(value) is dict:
        return {key: _copied(part, memo) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(part, memo) for part in value)
    return copy.deepcopy(value, memo)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _is_data(value: object) -> bool:
    """Whether `value` is plain: numbers, text, tensors and what holds them."""
    if isinstance(value, Mapping):
        return all(map(_is_data, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_data, value))
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | Tensor)
