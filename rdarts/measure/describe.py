"""What figures were measured on and with."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

import rdarts
from rdarts.measure.settings import METHOD, StepSettings, supernet_of
from rdarts.utils.wording import plural


def divide(left: float | None, right: float | None) -> float | None:
    """A quotient, where both sides were measured."""
    return None if left is None or right is None else left / right


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def has_bf16_instructions() -> bool:
    """Whether the CPU computes in bfloat16 by instructions of its own."""
    try:
        return 'avx512_bf16' in Path('/proc/cpuinfo').read_text(encoding='utf-8').split()
    except OSError:  # not Linux
        asked = getattr(torch.cpu, '_is_avx512_bf16_supported', None)  # torch 2.6 and later
        return bool(asked and asked())


def describe(settings: StepSettings) -> dict[str, Any]:
    """The settings and what they ran on."""
    device = torch.cuda.get_device_name() if settings.device == 'cuda' else 'cpu'
    return dict(
        vars(settings),
        device=device,
        cpu=cpu_model(),
        bf16_instructions=has_bf16_instructions(),
        torch=torch.__version__,
        rdarts=rdarts.__version__,
        python=platform.python_version(),
    )


def heading(settings: StepSettings) -> str:
    """One line that says what was measured."""
    depth = supernet_of(settings.config()).describe_depth(settings.depth)
    depth += ', each computed anew' if settings.checkpoint else ''
    size = settings.image_size
    named = '' if settings.method in (METHOD, None) else f'{settings.method}, '
    return (
        f'{named}{settings.space}, C {settings.width}, {depth}, batch {settings.batch_size}, '
        f'{size} x {size} pixels, order {settings.order}, '
        f'{plural(settings.threads, "thread")}'
    )


def print_json(values: dict[str, Any]) -> None:
    """One object on one line."""
    print(json.dumps(values, allow_nan=False), flush=True)
