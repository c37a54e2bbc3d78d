"""Numbers and times as people write them: ``50M``, ``2h``."""

from __future__ import annotations

import re

from rdarts.errors import UserError

UNITS = dict(h=3600.0, m=60.0, min=60.0, s=1.0)
FACTORS = {'': 1.0, 'k': 1e3, 'm': 1e6, 'g': 1e9}


def parse_time(text: str) -> float:
    """Seconds of a time.

    Args:
        text (str): Numbers with units, the larger first: ``2h``, ``1h30m``, ``90s``, ``1.5h``.

    Raises:
        UserError: It is none, or not above 0.
    """
    parts = re.findall(r'(\d+(?:\.\d+)?)\s*(h|min|m|s)', text.strip().lower())
    whole = re.sub(r'\s', '', text.lower())
    if not parts or ''.join(number + unit for number, unit in parts) != whole:
        raise UserError(f'--time {text}: a time has units: 2h, 90m, 45s or 1h30m')
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise UserError(f'--time {text}: it must be above 0')
    return seconds


def parse_count(text: str, option: str) -> float:
    """A number with k, M or G behind it.

    Args:
        text (str): Such as ``50M``, ``1.5G``, ``300k`` or ``2000``.
        option (str): What gives it, for the error.

    Raises:
        UserError: It is none, or not above 0.
    """
    match = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([kmg]?)', text.strip().lower())
    value = float(match[1]) * FACTORS[match[2]] if match else 0.0
    if value <= 0:
        raise UserError(f'{option} {text}: a number above 0, such as 50M, 1.5G or 300k')
    return value


def time_words(seconds: float) -> str:
    """Such as ``1 h 5 min``, ``3 min 20 s`` or ``9 s``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def count_words(value: float) -> str:
    """Such as ``48.2 M``, ``1.82 G``, ``300 k`` or ``12``."""
    for letter, factor in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if value >= factor:
            return f'{value / factor:.3g} {letter}'
    return f'{value:.3g}'
