"""What a key of a config may hold: types, ranges, and the words for them.

A component declares its arguments by the annotations of its ``__init__``: ``Annotated`` with a
range of ``annotated_types``, or one of the names below. What no declaration says otherwise: a
number is finite, a text or list is not empty, and a bool is no number.
"""

from __future__ import annotations

import collections.abc
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt, MinLen

from rdarts.errors import UserError


@dataclass(frozen=True)
class Among:
    """One of some values.

    Args:
        values (Iterable): The values.
    """

    values: Iterable[Any]


@dataclass(frozen=True)
class Component:
    """A dict with a ``type``, or, where the registry is one that mmengine lacks, its name.

    Args:
        registry (str): The name of a registry of rdarts or mmengine.
    """

    registry: str


@dataclass(frozen=True)
class Named:
    """A dict of components by names of one's own; None leaves one out.

    Args:
        registry (str): The name of a registry of rdarts or mmengine.
    """

    registry: str


@dataclass(frozen=True)
class Opaque:
    """Data that is handed on as it is: a ``type`` in it is no component of a registry."""


# Whole numbers
Positive = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(0)]
Index = Annotated[int, Ge(-1)]  # -1: none, or all
Seed = Annotated[int, Ge(0), Lt(2**32)]
# Numbers; a plain `float` may have either sign
AboveZero = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
Inside = Annotated[float, Gt(0), Lt(1)]
Side = Annotated[int, Ge(4), Le(2**14)]  # of images, in pixels: networks halve it twice or more
# of an image, 0 .. 255
Pixel = Annotated[int, Ge(0), Le(255)]
PixelValue = Annotated[float, Ge(0), Le(255)]
# Texts and lists that may be empty
AnyText = Annotated[str, MinLen(0)]
AnyList = Annotated[Sequence[Any], MinLen(0)]
Foreign = Annotated[Any, Opaque()]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a config is what an annotation says.

    Args:
        value (Any): Data, as a config holds it.
        kind (Any): A type, such as ``Annotated[int, Ge(1)] | None``.
    """
    marks: tuple[Any, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *marks = get_args(kind)
        marks = tuple(marks)
    return _is_of(value, kind, marks) and all(_in_range(value, mark) for mark in marks)


def check_arguments(component: Any, **arguments: Any) -> None:
    """Hold a component that no config built to the declaration of its ``__init__``.

    What goes through ``**kwargs`` is declared by that of a base.

    Args:
        component (Any): An object of the class.
        **arguments: What it was given, by name.

    Raises:
        UserError: One is not what its annotation says.
    """
    kinds: dict[str, Any] = {}
    for base in type(component).__mro__:
        if not arguments.keys() <= kinds.keys() and '__init__' in vars(base):
            kinds = {**typing.get_type_hints(base.__init__, include_extras=True), **kinds}
    for name, value in arguments.items():
        if not fits(value, kinds[name]):
            raise UserError(
                f'{type(component).__name__}: {name} must be {describe(kinds[name])}, but is '
                f'{value!r}'
            )


def _is_of(value: Any, kind: Any, marks: tuple[Any, ...]) -> bool:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        # a range or registry around a union is of each of its types
        return any(fits(value, Annotated[(arg, *marks)] if marks else arg) for arg in args)
    if origin is Annotated:
        return fits(value, kind)
    if kind is None or kind is type(None):
        return value is None
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        return _is_number(value, kind)
    empty_fits = any(isinstance(mark, MinLen) and mark.min_length == 0 for mark in marks)
    if kind is str:
        return isinstance(value, str) and (empty_fits or bool(value.strip()))
    if typing.is_typeddict(kind):
        keys = typing.get_type_hints(kind, include_extras=True)
        return (
            isinstance(value, Mapping)
            and kind.__required_keys__ <= set(value) <= set(keys)
            and all(fits(item, keys[key]) for key, item in value.items())
        )
    plain = origin or kind
    if inspect.isclass(plain) and plain is not Any:
        if issubclass(plain, collections.abc.Mapping):
            return isinstance(value, Mapping) and (
                len(args) != 2 or all(fits(item, args[1]) for item in value.values())
            )
        if is_sequence(plain):
            return (
                isinstance(value, (list, tuple))
                and (empty_fits or bool(value))
                and _elements_fit(value, plain, args)
            )
        if plain is object or typing.Protocol in plain.__mro__:
            return True
        if plain is collections.abc.Callable:
            return callable(value) or isinstance(value, (str, Mapping))
        return isinstance(value, plain) or (isinstance(value, Mapping) and 'type' in value)
    return True  # Any, a type variable, or what could not be read


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, int)
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:
        return False


def _elements_fit(value: Sequence[Any], kind: type, args: tuple[Any, ...]) -> bool:
    if kind is tuple and len(args) > 1 and args[-1] is not Ellipsis:
        return len(value) == len(args) and all(map(fits, value, args))
    # tuple[int] is written for tuple[int, ...] too
    return not args or all(fits(item, args[0]) for item in value)


def is_sequence(kind: type) -> bool:
    """Whether a class is one that a list of a config stands for."""
    return (not issubclass(kind, str) and issubclass(
        kind, (collections.abc.Sequence, collections.abc.Set)
    )) or kind in (collections.abc.Iterable, collections.abc.Collection)  # fmt: skip


def _in_range(value: Any, mark: Any) -> bool:
    if isinstance(mark, Among):
        return not isinstance(value, str) or value in mark.values
    if isinstance(mark, (MinLen, Len)):
        most = getattr(mark, 'max_length', None)
        sized = isinstance(value, (str, list, tuple))
        return not sized or mark.min_length <= len(value) <= (len(value) if most is None else most)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    if isinstance(mark, Ge):
        return value >= mark.ge
    if isinstance(mark, Gt):
        return value > mark.gt
    if isinstance(mark, Le):
        return value <= mark.le
    if isinstance(mark, Lt):
        return value < mark.lt
    return True


def marks_of(kind: Any) -> list[Any]:
    """Every range and registry that stands in an annotation, from outside in."""
    found = list(getattr(kind, '__metadata__', ()))
    for arg in get_args(kind):
        if get_origin(kind) is not Literal and arg not in found:
            found += marks_of(arg)
    return found


def members(kind: Any) -> list[Any]:
    """The types of a union, each with the ranges around it; otherwise the type alone."""
    marks: list[Any] = []
    while get_origin(kind) is Annotated:
        kind, *new = get_args(kind)
        marks += new
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [member for arg in get_args(kind) for member in members(arg)]
    else:
        kinds = [kind]
    return [Annotated[(one, *marks)] if marks else one for one in kinds]


def describe(kind: Any) -> str:
    """The words for what an annotation takes, such as ``a whole number of at least 1 or None``."""
    words = list(dict.fromkeys(filter(None, map(_describe_one, members(kind)))))
    if 'a finite number' in words and 'a whole number' in words:
        words.remove('a whole number')
    return f'{", ".join(words[:-1])} or {words[-1]}' if len(words) > 1 else (words or ['data'])[0]


def _describe_one(kind: Any) -> str:
    marks: list[Any] = []
    while get_origin(kind) is Annotated:
        kind, *new = get_args(kind)
        marks += new
    origin, args = get_origin(kind), get_args(kind)
    plain = origin or kind
    if origin is Literal:
        return 'one of ' + ', '.join(map(repr, args)) if len(args) > 1 else repr(args[0])
    if kind is None or kind is type(None):
        return 'None'
    if kind is bool:
        return 'True or False'
    if kind in (int, float):
        return f'a {"whole" if kind is int else "finite"} number{_describe_range(marks)}'
    if kind is str:
        among = next((mark for mark in marks if isinstance(mark, Among)), None)
        if among is not None:
            return 'one of ' + ', '.join(map(repr, among.values))
        component = next((mark for mark in marks if isinstance(mark, Component)), None)
        return 'a text' if component is None else 'a name'
    if typing.is_typeddict(kind):
        return f'a dict of {", ".join(typing.get_type_hints(kind))}'
    if plain is Any:
        return 'data'
    if not inspect.isclass(plain):
        return ''
    if issubclass(plain, collections.abc.Mapping):
        return 'a dict'
    if is_sequence(plain):
        if plain is tuple and len(args) > 1 and args[-1] is not Ellipsis:
            return f'a list of {len(args)}: {describe(args[0])} each'
        inner = describe(args[0]) if args else 'data'
        length = next((mark for mark in marks if isinstance(mark, Len)), None)
        size = f' of {length.min_length}' if length is not None else ''
        return f'a list{size}' if inner == 'data' else f'a list{size}: {inner} each'
    return ''  # an object, which no config holds


def _describe_range(marks: Sequence[Any]) -> str:
    words = []
    for mark in marks:
        for name, text in (('ge', 'at least'), ('gt', 'above'), ('le', 'at most'), ('lt', 'below')):
            if isinstance(mark, dict(ge=Ge, gt=Gt, le=Le, lt=Lt)[name]):
                words.append(f'{text} {getattr(mark, name)!r}')
    text = ' and '.join(words)
    return f' of {text}' if text.startswith('at') else f' {text}' if text else ''
