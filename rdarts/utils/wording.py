"""Words that follow from numbers."""

from __future__ import annotations

import signal


def plural(number: int, word: str) -> str:
    """A number and what it counts: ``1 epoch``, ``2,000 epochs``.

    Args:
        number (int): How many.
        word (str): The singular of a regular noun: ``'epoch'``, ``'class'``, ``'entry'``.
    """
    if number == 1:
        return f'1 {word}'
    if word.endswith('y') and word[-2] not in 'aeiou':
        return f'{number:,} {word[:-1]}ies'
    return f'{number:,} {word}{"es" if word.endswith(("s", "nch", "rch", "tch")) else "s"}'


def named_signal(number: int) -> str:
    """A signal by its name, ``signal SIGTERM``; one without a name, as of real time, by its number.

    Args:
        number (int): The signal's.
    """
    try:
        return f'signal {signal.Signals(number).name}'
    except ValueError:
        return f'signal {number}'
