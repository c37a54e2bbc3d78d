"""Golden cases: numbers that the published codes compute for small inputs (tests/data/golden)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FOLDER = Path(__file__).parent / 'data' / 'golden'


def golden(method: str, name: str) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Inputs, expected numbers and tolerance of a case."""
    cases = json.loads((FOLDER / f'{method}.json').read_text())
    cases = cases if isinstance(cases, list) else [cases]
    (case,) = (one for one in cases if one['name'] == name)
    return case['inputs'], case['expected'], float(str(case['tolerance']).removeprefix('absolute '))


def double(values: Any) -> Tensor:
    """A tensor in float64."""
    return torch.tensor(values, dtype=torch.float64)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Each number within the tolerance, absolute and relative."""
    found = torch.as_tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, double(expected), rtol=tolerance, atol=tolerance)


def uniform(stream: int, count: int) -> Tensor:
    """The numbers U(stream, 0), ... of cases whose inputs come from a generator, in [0, 1)."""
    found = []
    for i in range(count):
        z = ((stream << 32) + i + 1) * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        found.append(((z ^ (z >> 31)) >> 11) * 2.0**-53)
    return double(found)
