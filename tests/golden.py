"""Golden cases: numbers that the published codes compute for small inputs (tests/data/golden)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
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
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy(((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53)
