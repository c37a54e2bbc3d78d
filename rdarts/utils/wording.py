"""Words that follow from numbers."""

from __future__ import annotations


def plural(number: int, word: str) -> str:
    """A number and what it counts: ``1 epoch``, ``2,000 epochs``.

    Args:
        number (int): How many.
        word (str): The singular of a noun that takes an s.
    """
    return f'{number:,} {word}{"" if number == 1 else "s"}'
