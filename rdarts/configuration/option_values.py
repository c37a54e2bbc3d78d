"""The values of ``--cfg-options KEY=VALUE``, read as data.

A value is a number, ``True``, ``False``, ``None``, a text, or a list, tuple or dict of such:
``1,2`` and ``[1,2]`` are lists, ``(1,2)`` a tuple, ``dict(a=1)`` and ``{a: 1}`` dicts. A text
within quotes is taken as it stands, with its commas, spaces and brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdarts.errors import UserError

_QUOTES = '\'"'
_CLOSING = {'[': ']', '(': ')', '{': '}'}
_DEPTH = 32


def read_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options as ``--cfg-options`` takes them.

    Args:
        texts (list[str]): ``KEY=VALUE`` each, with a dotted key.

    Raises:
        UserError: One has no key, or a value that cannot be read.
    """
    options = {}
    for text in texts:
        key, equals, value = text.partition('=')
        key = key.strip()
        if not equals:
            raise UserError(f"--cfg-options takes KEY=VALUE, but got '{text}'")
        if not all(key.split('.')):
            raise UserError(f"--cfg-options: '{text}' has an empty part in its key")
        try:
            options[key] = read_value(value)
        except ValueError as error:
            raise UserError(f"--cfg-options: cannot read '{text}': {error}") from None
    return options


def read_value(text: str) -> Any:
    """The value that a text stands for.

    Args:
        text (str): What stands behind ``KEY=``.

    Raises:
        ValueError: Quotes or brackets do not match, or an element is missing.
    """
    if not text.strip():
        return ''
    reader = _Reader(text)
    items = reader.items('')
    return items[0] if len(items) == 1 and not reader.comma_last else items


def quoted_value(text: str) -> str:
    """A text as a value that is read as this text: within quotes where it has to be.

    Args:
        text (str): The text.
    """
    for value in (text, f"'{text}'", f'"{text}"'):
        try:
            if read_value(value) == text:
                return value
        except ValueError:
            continue
    return text


class _Reader:
    """Goes over a text once, from left to right.

    Args:
        text (str): The value.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.depth = 0
        self.comma_last = False

    def items(self, closing: str) -> list[Any]:
        """Values between commas, up to a closing bracket or, for ``''``, the end."""
        found: list[Any] = []
        self.depth += 1
        if self.depth > _DEPTH:
            raise ValueError(f'brackets are nested more than {_DEPTH} deep')
        self.comma_last = False
        while not self._at_end(closing):
            found.append(self.value(closing))
            self._comma(closing)
        self.depth -= 1
        return found

    def pairs(self, closing: str, between: str) -> dict[Any, Any]:
        """Keys and values, such as ``a=1, b=2``."""
        found = {}
        self.depth += 1
        while not self._at_end(closing):
            key = self.value(between + closing)
            if self._peek() != between:
                raise ValueError(f"a dict has KEY{between}VALUE, but '{key}' has no '{between}'")
            if isinstance(key, (list, tuple, dict)):
                raise ValueError('the key of a dict is a name')
            self.place += 1
            found[key] = self.value(closing)
            self._comma(closing)
        self.depth -= 1
        return found

    def value(self, closing: str) -> Any:
        """One value, which ends before a comma or a closing bracket."""
        first = self._peek()
        if first in _QUOTES and first:
            return self._quoted(first)
        if first == '{':
            self.place += 1
            return self.pairs('}', ':')
        if self.text.startswith('dict(', self.place):
            self.place += len('dict(')
            return self.pairs(')', '=')
        if first in ('[', '('):
            self.place += 1
            inner = self.items(_CLOSING[first])
            self.comma_last = False
            return tuple(inner) if first == '(' else inner
        return _scalar(self._word(closing))

    def _quoted(self, quote: str) -> str:
        end = self.text.find(quote, self.place + 1)
        if end < 0:
            raise ValueError(f'the quote {quote} is not closed')
        text = self.text[self.place + 1 : end]
        self.place = end + 1
        return text

    def _word(self, closing: str) -> str:
        """Text without quotes: brackets within it must match, commas within them belong to it."""
        start, waiting = self.place, []
        while self.place < len(self.text):
            char = self.text[self.place]
            if not waiting and (char == ',' or char in closing):
                break
            if char in _CLOSING:
                waiting.append(_CLOSING[char])
            elif char in _CLOSING.values():
                if not waiting or waiting.pop() != char:
                    raise ValueError(f"'{char}' closes no bracket")
            self.place += 1
        if waiting:
            raise ValueError(f"'{waiting[-1]}' is missing")
        word = self.text[start : self.place].strip()
        if not word:
            raise ValueError('an element is missing beside a comma')
        return word

    def _peek(self) -> str:
        while self.place < len(self.text) and self.text[self.place].isspace():
            self.place += 1
        return self.text[self.place : self.place + 1]

    def _at_end(self, closing: str) -> bool:
        char = self._peek()
        if char == '' and closing:
            raise ValueError(f"'{closing}' is missing")
        if char == closing:
            self.place += 1
            return True
        return False

    def _comma(self, closing: str) -> None:
        char = self._peek()
        self.comma_last = char == ','
        if char == ',':
            self.place += 1
        elif char and char != closing:
            raise ValueError(f"'{self.text[self.place :]}' stands behind a value without a comma")


def _scalar(word: str) -> Any:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    named = {'true': True, 'false': False}.get(word.lower())
    if named is not None:
        return named
    return None if word == 'None' else word
