"""Settings of a step that takes milliseconds, and the sizes that it has."""

from __future__ import annotations

from rdarts.measure.settings import StepSettings

TINY = dict(width=4, depth=1, image_size=8, batch_size=2, threads=1, steps=1, warmup=0)
PLAIN = ('plain', 'plain_channels_last')


def settings_of(**changes):
    return StepSettings(**{**TINY, 'executions': PLAIN, **changes}).prepare()


def levels(width, size):
    """Width and side of each stage of NAS-Bench-201."""
    return [(width << i, size >> i) for i in range(3)]
