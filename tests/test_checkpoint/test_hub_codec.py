"""mmengine's message hub as plain data, and back."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.logging import MessageHub

from rdarts.checkpoint.hub_codec import (
    HISTORY,
    bound_histories,
    pack_message_hub,
    unpack_message_hub,
)


def test_message_hub_is_packed_as_plain_data():
    hub = MessageHub('packed')
    for value in (1.0, 2.0, 4.0):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float32(0.5))
    hub.update_info('nested', dict(a=[np.int64(3), None, 'x']))
    hub.update_info('object', object())
    packed = pack_message_hub(hub.state_dict())
    assert packed['runtime_info'] == dict(best_score=0.5, nested=dict(a=[3, None, 'x']))
    assert type(packed['runtime_info']['best_score']) is float
    restored = MessageHub('restored')
    restored.load_state_dict(unpack_message_hub(packed))
    assert restored.get_scalar('train/loss').mean() == pytest.approx(7 / 3)
    assert restored.get_scalar('train/loss').data[0].tolist() == [1.0, 2.0, 4.0]
    assert restored.get_info('best_score') == 0.5


def test_histories_are_bounded():
    """A run keeps what its checkpoints do, so that logging does not slow down as it goes on."""
    hub = MessageHub('bounded')
    hub.update_scalar('train/loss', 0.0)
    bound_histories(hub)
    buffer = hub.get_scalar('train/loss')
    buffer._log_history, buffer._count_history = np.arange(HISTORY), np.ones(HISTORY)
    hub.update_scalar('train/loss', -1.0)
    values, counts = buffer.data
    assert len(values) == len(counts) == HISTORY and (values[0], values[-1]) == (1, -1)
    restored = MessageHub('bounded and restored')
    restored.load_state_dict(unpack_message_hub(pack_message_hub(hub.state_dict())))
    assert restored.get_scalar('train/loss').data[0].tolist() == values.tolist()
    assert restored.get_scalar('train/loss').max_length == HISTORY
