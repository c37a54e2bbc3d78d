"""Options that come over others, such as those of a command over those of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rdarts.configuration.options import parse_options

LENGTHS = ('epochs', 'train_cfg.max_epochs')  # of which a config takes one
OF_A_PHASE = ('.epochs', '.train_cfg.max_epochs')  # the ends of its keys, which go with neither
SCHEDULE = 'schedule_epochs'


def options_over(
    lower: Mapping[str, Any], higher: Mapping[str, Any], length: int | None = None
) -> dict[str, Any]:
    """Options with others over them; where these give a length, it counts alone.

    ``epochs``, which all epoch numbers of a config follow, takes ``schedule_epochs`` with it.

    Args:
        lower (Mapping[str, Any]): Dotted keys and their values.
        higher (Mapping[str, Any]): What goes over them.
        length (int, optional): The length before, where ``lower`` gives none. Defaults to unknown.
    """
    before = next((lower[key] for key in LENGTHS if key in lower), length)
    kept = {key: value for key, value in lower.items() if not _gives_way(key, higher)}
    numbers = (kept.get(SCHEDULE), higher.get('epochs'), before)
    if all(type(number) is int and number > 0 for number in numbers):
        schedule, epochs, before = numbers
        kept[SCHEDULE] = max(1, int(schedule * epochs / before + 0.5))
    return {**kept, **higher}


def _gives_way(key: str, higher: Mapping[str, Any]) -> bool:
    """Whether a length cannot stand beside one that is over it."""
    if key in LENGTHS:
        return any(other in LENGTHS or _of_a_phase(other) for other in higher)
    return _of_a_phase(key) and any(other in LENGTHS for other in higher)


def _of_a_phase(key: str) -> bool:
    return key.startswith('phases.') and key.endswith(OF_A_PHASE)


def texts_over(lower: Sequence[str], higher: Sequence[str]) -> list[str]:
    """:func:`options_over` of ``KEY=VALUE``; of a key that is given twice, the last counts."""
    below, above = parse_options(lower), parse_options(higher)
    both = options_over(below, above)
    if {**below, **above} == both:
        return [*lower, *higher]  # as they were written
    kept = {key: both[key] for key in below if key in both and key not in above}
    return [*as_texts(kept), *higher]


def as_texts(options: Mapping[str, Any]) -> list[str]:
    """Options as ``KEY=VALUE``."""
    return [f'{key}={value!r}' for key, value in options.items()]
