"""A run is resumed with the network that it was begun with."""

from __future__ import annotations

import pytest
from torch import nn

from rdarts.checkpoint.run_state import check_resumable
from rdarts.errors import UserError


class Small(nn.Module):
    def __init__(self, width: int = 4, classes: int = 3, extra: bool = False) -> None:
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Linear(4, classes)
        if extra:
            self.more = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ('saved', 'own', 'says'),
    [
        (Small(), Small(width=6), r"another width or depth \('body.weight' is \[4, 2\]"),
        (Small(), Small(classes=5), r"another class number \('head.weight' is \[3, 4\]"),
        (Small(), Small(extra=True), "the checkpoint lacks 'more.weight'"),
        (Small(extra=True), Small(), "network lacks 'more.weight'"),
    ],
)
def test_check_resumable(saved, own, says):
    checkpoint = dict(meta=dict(epoch=0, iter=1), state_dict=saved.state_dict())
    check_resumable(checkpoint, saved)
    with pytest.raises(UserError, match=says):
        check_resumable(checkpoint, own)
    with pytest.raises(UserError, match='no state of a run'):
        check_resumable(dict(state_dict=saved.state_dict()), saved)
