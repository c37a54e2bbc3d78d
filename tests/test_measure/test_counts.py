"""What a step computes, against counts by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_measure.tiny_settings import levels, settings_of

from rdarts.measure.counts import count_flop, count_work


def nb201_macs(width, size):
    """Multiply-adds of an image, N 1: forward, of the stem, of the 3 edges that leave the input."""
    stem = 3 * width * 9 * size**2
    cells = [6 * (9 + 1) * w * w * s * s for w, s in levels(width, size)]
    blocks = [(9 * w // 2 * w + 9 * w * w + w // 2 * w) * s * s for w, s in levels(width, size)[1:]]
    head = 4 * width * 10
    return stem + sum(cells) + sum(blocks) + head, stem, cells[0] // 2


@pytest.mark.parametrize(('width', 'size'), [(4, 8), pytest.param(6, 12, marks=pytest.mark.slow)])
@pytest.mark.parametrize('order', [1, 2])
def test_the_work_of_a_step_by_hand(width, size, order):
    forward, stem, first = nb201_macs(width, size)
    # gradients: of all inputs but the images, and of all weights
    weight_step = forward + (forward - stem) + forward
    # of inputs alone, and there only where alpha is above: not of the stem's output
    alpha_step = forward + (forward - stem - first)
    if order == 2:
        # L_train(w) and L_val(w') for the weights, then L_train(w +- radius v) for alpha
        alpha_step = 2 * weight_step + 2 * alpha_step
    settings = settings_of(width=width, image_size=size, order=order)
    assert count_work(settings) == 2 * 2 * (alpha_step + weight_step)


@pytest.mark.parametrize('groups', [1, 2, 6])
def test_gradients_cost_what_the_forward_pass_does(groups):
    forward = 2 * 5 * (4 * 4) * 6 * (6 // groups) * 9  # 5 images, 4 x 4 pixels left of 8 x 8

    def run(image, weight):
        x = torch.randn(5, 6, 8, 8, requires_grad=image)
        w = torch.randn(6, 6 // groups, 3, 3, requires_grad=weight)
        y = F.conv2d(x, w, stride=2, padding=1, groups=groups)
        if image or weight:
            y.sum().backward()

    flags = (False, True)
    counts = [count_flop(lambda i=i, w=w: run(i, w)) for i in flags for w in flags]
    assert counts == [forward, 2 * forward, 2 * forward, 3 * forward]
