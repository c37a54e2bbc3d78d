"""What the entries of a checkpoint must be, in one vocabulary, checked before any is restored.

A component that writes an entry says what it must be by these, beside where it writes it, and
calls :func:`check_entry` when a run is to be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rdarts.errors import UserError

LARGEST = 2**53  # of whole numbers: no count of a run comes near


class EntryError(UserError):
    """An entry of a checkpoint that no run has written so.

    Args:
        path (str): The entry, such as ``meta.epoch``.
        problem (str): What is wrong with it, and what would be right.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"cannot resume: the checkpoint's entry {path} {problem}; resume from another "
            'checkpoint with --resume FILE'
        )


def shown(value: Any) -> str:
    """A value of a checkpoint in a few words."""
    if isinstance(value, Tensor):
        return f'a {str(value.dtype).removeprefix("torch.")} tensor of shape {list(value.shape)}'
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes)):
        return f'a {type(value).__name__} of {len(value)}'
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


class Spec:
    """What one entry must be."""

    what = 'anything'

    def accepts(self, value: Any) -> bool:
        """Whether the entry by itself is right; what it holds is asked by :meth:`parts`."""
        return True

    def parts(self, value: Any, path: str) -> Iterator[tuple[Spec, Any, str]]:
        """What an accepted entry holds: specification, value and path of each.

        Raises:
            EntryError: Something is missing, or too much.
        """
        return iter(())


@dataclass(frozen=True)
class Whole(Spec):
    """A whole number within bounds."""

    least: int = 0
    most: int = LARGEST

    @property
    def what(self) -> str:
        if self.most == self.least:
            return f'{self.least}'
        upper = '' if self.most == LARGEST else f' and {self.most} at most'
        return f'a whole number, {self.least} or more{upper}'

    def accepts(self, value: Any) -> bool:
        return type(value) is int and self.least <= value <= self.most


@dataclass(frozen=True)
class Number(Spec):
    """A number within bounds; infinite ones only where they are said to be allowed."""

    least: float = -math.inf
    most: float = math.inf
    infinite: bool = False

    @property
    def what(self) -> str:
        bounds = '' if self.least == -math.inf else f', {self.least:g} or more'
        return f'a {"" if self.infinite else "finite "}number{bounds}'

    def accepts(self, value: Any) -> bool:
        number = type(value) in (int, float) and self.least <= value <= self.most
        return number and (self.infinite or math.isfinite(value))


@dataclass(frozen=True)
class Text(Spec):
    """A text; of these, where some are given."""

    of: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        return ' or '.join(map(repr, self.of)) if self.of else 'a text'

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and (not self.of or value in self.of)


class Flag(Spec):
    """True or False."""

    what = 'True or False'

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


class Nothing(Spec):
    """None."""

    what = 'None'

    def accepts(self, value: Any) -> bool:
        return value is None


@dataclass(frozen=True)
class Maybe(Spec):
    """None, or what the other specification says."""

    spec: Spec

    @property
    def what(self) -> str:
        return f'None or {self.spec.what}'

    def accepts(self, value: Any) -> bool:
        return value is None or self.spec.accepts(value)

    def parts(self, value: Any, path: str) -> Iterator[tuple[Spec, Any, str]]:
        return iter(()) if value is None else self.spec.parts(value, path)


@dataclass(frozen=True)
class TensorOf(Spec):
    """A dense tensor: its shape and dtype where they are given, and the bounds of its values."""

    shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None
    least: float | None = None
    most: float | None = None
    finite: bool = True

    @property
    def what(self) -> str:
        dtype = '' if self.dtype is None else f'{str(self.dtype).removeprefix("torch.")} '
        shape = '' if self.shape is None else f' of shape {list(self.shape)}'
        values = ' with finite values' if self.finite else ''
        if self.least is not None:
            values += f', {self.least:g} or more'
        if self.most is not None:
            values += f', {self.most:g} at most'
        return f'a {dtype}tensor{shape}{values}'

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            return False
        if self.shape is not None and tuple(value.shape) != tuple(self.shape):
            return False
        if self.dtype is not None and value.dtype != self.dtype:
            return False
        if not value.numel():
            return True
        if self.finite and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return False
        if self.least is not None and not bool((value >= self.least).all()):
            return False
        return self.most is None or bool((value <= self.most).all())


@dataclass(frozen=True)
class Items(Spec):
    """A list, of one kind of items or of these."""

    of: Spec | tuple[Spec, ...]
    length: int | None = None

    @property
    def what(self) -> str:
        length = len(self.of) if isinstance(self.of, tuple) else self.length
        return 'a list' if length is None else f'a list of {length}'

    def accepts(self, value: Any) -> bool:
        length = len(self.of) if isinstance(self.of, tuple) else self.length
        return isinstance(value, (list, tuple)) and length in (None, len(value))

    def parts(self, value: Any, path: str) -> Iterator[tuple[Spec, Any, str]]:
        specs = self.of if isinstance(self.of, tuple) else [self.of] * len(value)
        for index, (spec, item) in enumerate(zip(specs, value, strict=True)):
            yield spec, item, f'{path}[{index}]'


@dataclass(frozen=True)
class Table(Spec):
    """A dict: keys that it must have, keys that it may have, and what others hold.

    Others are refused where nothing is said of them.
    """

    needs: Mapping[Any, Spec] = field(default_factory=dict)
    may: Mapping[Any, Spec] = field(default_factory=dict)
    others: Spec | None = None

    what = 'a dict'

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def parts(self, value: Any, path: str) -> Iterator[tuple[Spec, Any, str]]:
        for key in self.needs:
            if key not in value:
                raise EntryError(joined(path, key), 'is missing')
        for key, item in value.items():
            spec = self.needs.get(key) or self.may.get(key) or self.others
            if spec is None:
                raise EntryError(joined(path, key), 'is of no run: nothing writes it')
            yield spec, item, joined(path, key)


class Plain(Spec):
    """Numbers, texts, None, and lists and dicts of them."""

    what = 'plain data'

    def accepts(self, value: Any) -> bool:
        return value is None or isinstance(value, (str, int, float, list, tuple, dict))

    def parts(self, value: Any, path: str) -> Iterator[tuple[Spec, Any, str]]:
        items = value.items() if isinstance(value, dict) else ()
        if isinstance(value, (list, tuple)):
            items = enumerate(value)
        for key, item in items:
            yield self, item, joined(path, key)


def joined(path: str, key: Any) -> str:
    """The path of an entry within another."""
    if isinstance(key, str):
        return f'{path}.{key}' if path else key
    return f'{path}[{key!r:.40}]'


def check_entry(value: Any, spec: Spec, path: str) -> None:
    """Compare an entry, and all that it holds, with its specification.

    Args:
        value (Any): The entry.
        spec (Spec): What it must be.
        path (str): Its name, for the error.

    Raises:
        EntryError: It is something else; the line names the entry.
    """
    left = [(spec, value, path)]
    while left:
        spec, value, path = left.pop()
        if not spec.accepts(value):
            raise EntryError(path, f'is {shown(value)}, but must be {spec.what}')
        left.extend(reversed(list(spec.parts(value, path))))


def like(value: Any) -> Spec:
    """The specification of what has the form of a value that this run has itself.

    Numbers that are not negative here must not be there; texts must be the same.

    Args:
        value (Any): Plain data and tensors.
    """
    if isinstance(value, bool):
        return Flag()
    if isinstance(value, int):
        return Whole(0 if value >= 0 else -LARGEST)
    if isinstance(value, float):
        return Number(0 if value >= 0 else -math.inf, infinite=not math.isfinite(value))
    if isinstance(value, str):
        return Text((value,))
    if isinstance(value, Tensor):
        return TensorOf(tuple(value.shape), value.dtype)
    if isinstance(value, Mapping):
        return Table({key: like(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return Items(tuple(like(item) for item in value))
    return Nothing() if value is None else Spec()
