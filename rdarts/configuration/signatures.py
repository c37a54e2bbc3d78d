"""The arguments that a component takes, read from its signature."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, Literal, get_args, get_origin

from rdarts.configuration.framework_ranges import BY_NAME, CLOSED, RANGES

MISSING = inspect.Parameter.empty
UNKNOWN = object()  # a default that cannot be read
_FRAMEWORKS = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet')
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Argument:
    """An argument of a component.

    Args:
        kind (Any): What it may hold: see :mod:`rdarts.configuration.declarations`.
        default (Any): Its default, ``MISSING``, or ``UNKNOWN`` where a subclass may give it.
    """

    kind: Any = Any
    default: Any = MISSING


@functools.cache
def arguments_of(target: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """What a class or function takes by name.

    ``**kwargs`` of a class are those of the next class of its method resolution order, where its
    ``__init__`` does nothing with them but hand them on.

    Args:
        target (Callable): The component.

    Returns:
        tuple[dict[str, Argument], bool]: The arguments, and whether any others are taken too.
    """
    if not inspect.isclass(target):
        return _read(target, (target,))
    found: dict[str, Argument] = {}
    closed = any(base.__name__ in CLOSED for base in target.__mro__)
    for base in target.__mro__:
        if base is object:
            return found, not closed
        if '__init__' not in vars(base):
            continue
        if base.__module__.startswith('torch.nn.') and base.__name__ == 'Module':
            return found, False  # it refuses what its subclasses do not take
        init = vars(base)['__init__']
        arguments, passed_on = _read(init, target.__mro__, skip_first=True)
        if found and not _is_ours(target):
            # what a base needs, its subclass may give it
            arguments = {k: Argument(a.kind, _given(a.default)) for k, a in arguments.items()}
        found = {**arguments, **found}
        if not passed_on:
            return found, False
        if not (closed or _hands_on(init)):
            return {**_in_kwargs(target), **found}, True
    return found, False


def _in_kwargs(target: type) -> dict[str, Argument]:
    """Arguments that go through a framework's ``**kwargs``, and of which a range is known."""
    found: dict[str, Argument] = {}
    for base in target.__mro__ if of_framework(target) else ():
        for name, kind in RANGES.get(base.__name__, {}).items():
            found.setdefault(name, Argument(kind, UNKNOWN))
    return found


def _is_ours(target: Any) -> bool:
    return target.__module__.partition('.')[0] == 'rdarts'


def of_framework(target: Any) -> bool:
    """Whether a component is of a package whose ways are known, and not a user's own."""
    package = getattr(target, '__module__', '').partition('.')[0]
    return package == 'rdarts' or package in _FRAMEWORKS


def _given(default: Any) -> Any:
    return UNKNOWN if default is MISSING else default


def _hands_on(init: Callable[..., Any]) -> bool:
    """Whether ``**kwargs`` go to the ``__init__`` of a base alone; yes where no source says it."""
    try:
        code = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init)))).body[0]
    except (OSError, TypeError, SyntaxError):
        return True
    if not isinstance(code, ast.FunctionDef) or code.args.kwarg is None:
        return True
    name = code.args.kwarg.arg
    uses = sum(
        isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
        for one in ast.walk(code)
    )
    handed = sum(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
        for one in ast.walk(code)
        if isinstance(one, ast.Call) and getattr(one.func, 'attr', None) == '__init__'
        for keyword in one.keywords
    )
    return uses == handed > 0


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
        one = SimpleNamespace(__annotations__={name: kind})
        try:
            found[name] = typing.get_type_hints(one, scope, include_extras=True)[name]
        except Exception:
            found[name] = Any
    return found


def _kind(name: str, kind: Any, default: Any, bases: tuple[Any, ...]) -> Any:
    framework = bases[0].__module__.partition('.')[0] in _FRAMEWORKS
    if kind is MISSING:
        # a default says little: a text may stand for a number, a number for one of each kind
        kind = Any
        if framework and type(default) is bool:
            kind = bool
        elif framework and type(default) in (int, float):
            kind = float | Sequence | None
    if not _has_range(kind):
        for base in bases:
            ranges = RANGES.get(getattr(base, '__name__', ''), {})  # a partial has none
            if name in ranges:
                kind = ranges[name]
                break
        else:
            kind = BY_NAME[name] if framework and name in BY_NAME else kind
    return kind | None if default is None and kind is not Any else kind


def _has_range(kind: Any) -> bool:
    if get_origin(kind) in (Annotated, Literal) or typing.is_typeddict(kind):
        return True
    return any(_has_range(arg) for arg in get_args(kind))
