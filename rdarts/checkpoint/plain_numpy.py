"""Numpy's arrays and numbers out of pickles, where the pickle decides on nothing but numbers.

An unpickler that admits ``numpy.dtype`` lets the pickle set the dtype's state. A forged state
hides fields of objects in what looks like bytes, and reading such an array follows addresses of
the file's choosing. What stands for numpy's globals here holds what the pickle says;
:func:`unwrap` gives the arrays, whose dtypes are numpy's own.
"""

from __future__ import annotations

import functools
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

PLAIN = re.compile(r'[<>=|]?(?:b1|[iu][1248]|f[248])')


def _of_a_pickle(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that a pickle calls, with whatever the pickle gives it."""

    @functools.wraps(function)
    def guarded(*args: Any) -> Any:
        try:
            return function(*args)
        except (TypeError, ValueError, OverflowError) as error:
            raise pickle.UnpicklingError(f'the state of an array is damaged ({error})') from None

    return guarded


class _DType:
    """Stands for ``numpy.dtype``: a plain number's, else the pickle is refused."""

    __hash__ = None
    dtype = np.dtype(np.uint8)

    @_of_a_pickle
    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not PLAIN.fullmatch(code):
            raise pickle.UnpicklingError(
                f'refused: numpy.dtype({code!r:.40}) is not of a plain number'
            )
        self.dtype = np.dtype(code)

    @_of_a_pickle
    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subarray, names, fields, size, alignment, flags[, metadata])
        plain = (
            isinstance(state, tuple)
            and len(state) in (8, 9)
            and state[0] in (3, 4)
            and isinstance(state[1], str)
            and state[1] in ('<', '>', '=', '|')
            and all(item is None for item in (*state[2:5], *state[8:]))
            and tuple(state[5:8]) == (-1, -1, 0)
        )
        if not plain:
            raise pickle.UnpicklingError(
                'refused: numpy.dtype with a state that is not of a plain number'
            )
        if state[1] != '|':
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray``."""

    __hash__ = None
    value = np.zeros(0, np.uint8)

    @_of_a_pickle
    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError('the state of an array is damaged')
        _, shape, dtype, fortran, data = state
        self.value = _from_bytes(data, dtype, shape, 'F' if fortran else 'C')


@_of_a_pickle
def _from_bytes(data: Any, dtype: Any, shape: Any, order: Any = 'C', *more: Any) -> np.ndarray:
    if isinstance(data, str):  # Python 2's
        data = data.encode('latin1')
    if not isinstance(dtype, _DType) or not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError('refused: numpy.ndarray of something else than plain numbers')
    plain = isinstance(shape, (tuple, list)) and all(type(size) is int for size in shape)
    if not plain or min(shape, default=0) < 0 or order not in ('C', 'F') or more:
        raise pickle.UnpicklingError('the state of an array is damaged')
    if len(data) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError(f'an array of shape {list(shape)} has {len(data)} bytes')
    return np.frombuffer(bytearray(data), dtype.dtype).reshape(shape, order=order)


@_of_a_pickle
def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array or tuple(shape) != (0,):
        raise pickle.UnpicklingError('refused: numpy.ndarray that is not as numpy pickles it')
    return _Array()


@_of_a_pickle
def _scalar(dtype: Any, data: Any = b'') -> Any:
    return _from_bytes(data, dtype, ())[()]


@_of_a_pickle
def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    # How Python 3 writes bytes below protocol 3. The real codecs.encode looks modules up by the
    # codec's name.
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError(f'refused: _codecs.encode(..., {encoding!r:.40})')
    return text.encode('latin1')


def stand_ins() -> dict[tuple[str, str], Callable[..., Any]]:
    """(module, name) as pickles of numpy 1 and 2 name them, and what stands for each."""
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ('numpy', 'dtype'): _DType,
        ('numpy', 'ndarray'): _Array,
        ('_codecs', 'encode'): _encode,
    }
    for core in ('numpy.core', 'numpy._core'):
        found[f'{core}.multiarray', '_reconstruct'] = _reconstruct
        found[f'{core}.multiarray', 'scalar'] = _scalar
        found[f'{core}.numeric', '_frombuffer'] = _from_bytes
    return found


def named_stand_ins() -> list[Any]:
    """The same for torch's reader, which knows a global by its ``__module__`` and name."""
    return [_named(item, *names) for names, item in stand_ins().items()]


def _named(item: Any, module: str, name: str) -> Any:
    stand_in = item
    if not isinstance(item, type):  # a function that has several names

        def stand_in(*args: Any) -> Any:
            return item(*args)

    stand_in.__module__ = module
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def unwrap(value: Any) -> Any:
    """What was unpickled, with arrays for what stands for them; lists and dicts in place.

    Raises:
        pickle.UnpicklingError: It is nested too deeply.
    """
    try:
        return _unwrap(value, {})
    except RecursionError:
        raise pickle.UnpicklingError('nested too deeply') from None


def _unwrap(value: Any, seen: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _DType):
        return value.dtype
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict):
        seen[id(value)] = value
        for key, item in value.items():
            value[key] = _unwrap(item, seen)
    elif isinstance(value, list):
        seen[id(value)] = value
        value[:] = [_unwrap(item, seen) for item in value]
    elif type(value) is tuple:
        seen[id(value)] = tuple(_unwrap(item, seen) for item in value)
        return seen[id(value)]
    elif hasattr(value, '__dict__') and not isinstance(value, type) and not callable(value):
        seen[id(value)] = value
        _unwrap(vars(value), seen)
    return value
