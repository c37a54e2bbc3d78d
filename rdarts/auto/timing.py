"""What runs take on this machine, by a few iterations of each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rdarts.apis.dry_run import dry_run
from rdarts.apis.runs import configure_training


@dataclass(frozen=True)
class Timing:
    """A run as it was measured.

    Args:
        epoch (float): Seconds of an epoch, with its share of validations and checkpoints.
        iteration (float): Seconds of an iteration.
        macs (int): Multiply-adds of one image.
        parameters (int): Weights.
    """

    epoch: float
    iteration: float
    macs: int
    parameters: int


def measure(config: Path, genotype: str | None, seconds: float) -> Timing:
    """Take a few iterations of a run; nothing of it is written.

    Args:
        config (Path): Its config.
        genotype (str, optional): What its network is made of.
        seconds (float): How long iterations of each kind are measured, at most.
    """
    cfg = configure_training(config, genotype=genotype)
    with _silent():
        found = dry_run(cfg, seconds)
    return Timing(
        epoch=found['expected_seconds'] / cfg.train_cfg.max_epochs,
        iteration=found['seconds_per_iteration'],
        macs=found['macs'],
        parameters=found['parameters'],
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within, nothing is printed: what was measured is said in other words."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
