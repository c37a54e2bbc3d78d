from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def threads_as_before():
    """Settings of a step say how many threads there are."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
