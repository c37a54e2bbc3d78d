"""The arguments that a component takes, read from its signature."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from rdarts.configuration.framework_ranges import BY_NAME, CLOSED, RANGES

MISSING = inspect.Parameter.empty
_FRAMEWORKS = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet')
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Argument:
    """An argument of a component.

    Args:
        kind (Any): What it may hold: see :mod:`rdarts.configuration.declarations`.
        default (Any): Its default, or ``MISSING``.
    """

    kind: Any = Any
    default: Any = MISSING


@functools.cache
def arguments_of(target: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """What a class or function takes by name.

    ``**kwargs`` of a class are those of the next class of its method resolution order.

    Args:
        target (Callable): The component.

    Returns:
        tuple[dict[str, Argument], bool]: The arguments, and whether any others are taken too.
    """
    if not inspect.isclass(target):
        return _read(target, (target,))
    found: dict[str, Argument] = {}
    for base in target.__mro__:
        if base is object:
            return found, not any(b.__name__ in CLOSED for b in target.__mro__)
        if '__init__' not in vars(base):
            continue
        if base.__module__.startswith('torch.nn.') and base.__name__ == 'Module':
            return found, False  # it refuses what its subclasses do not take
        arguments, passed_on = _read(vars(base)['__init__'], target.__mro__, skip_first=True)
        found = {**arguments, **found}
        if not passed_on:
            return found, False
    return found, False


def _read(
    function: Callable[..., Any], bases: tuple[Any, ...], skip_first: bool = False
) -> tuple[dict[str, Argument], bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C
        return {}, True
    kinds = _annotations(function)
    found = {}
    for parameter in parameters[1 if skip_first else 0 :]:
        if parameter.kind in _NAMED:
            kind = kinds.get(parameter.name, MISSING)
            default = parameter.default
            found[parameter.name] = Argument(_kind(parameter.name, kind, default, bases), default)
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return found, open_ended


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    function = inspect.unwrap(function)
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that is imported for type checkers alone
        pass
    scope = vars(sys.modules.get(function.__module__, typing))
    found = {}
    for name, kind in getattr(function, '__annotations__', {}).items():
        try:
            # of installed code, never of a config
            found[name] = eval(kind, dict(scope)) if isinstance(kind, str) else kind
        except Exception:
            found[name] = Any
    return found


def _kind(name: str, kind: Any, default: Any, bases: tuple[Any, ...]) -> Any:
    if kind is MISSING:
        # a default of None says nothing, and one that is whole may stand for any number
        known = (bool, str, int, float)
        kind = next((one for one in known if type(default) is one), Any)
        kind = float if kind is int else kind
    if not _has_range(kind):
        for base in bases:
            ranges = RANGES.get(base.__name__, {})
            if name in ranges:
                kind = ranges[name]
                break
        else:
            of_framework = bases[0].__module__.partition('.')[0] in _FRAMEWORKS
            kind = BY_NAME[name] if of_framework and name in BY_NAME else kind
    return kind | None if default is None and kind is not Any else kind


def _has_range(kind: Any) -> bool:
    if get_origin(kind) in (Annotated, Literal) or typing.is_typeddict(kind):
        return True
    return any(_has_range(arg) for arg in get_args(kind))
