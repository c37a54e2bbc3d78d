"""Recurrent networks over sequences of tokens, computed from their equations in numpy."""

from __future__ import annotations

import numpy as np
from torch import nn


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: one.detach().double().numpy() for name, one in module.named_parameters()}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def on_sphere(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def lstm(weights, name: str, inputs, hidden, cell, suffix: str = '') -> np.ndarray:
    """The outputs, [steps, hidden], of one sequence."""
    read, back = (weights[f'{name}.weight_{part}_l0{suffix}'] for part in ('ih', 'hh'))
    bias = sum(weights.get(f'{name}.bias_{part}_l0{suffix}', 0) for part in ('ih', 'hh'))
    outputs = []
    for x in inputs:
        i, f, g, o = np.split(read @ x + back @ hidden + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def encoded(weights, sequence, both_ways: bool) -> np.ndarray:
    """The points of the steps, [steps, hidden]."""
    x = weights['embed.weight'][sequence]
    zero = np.zeros(weights['encoder.weight_hh_l0'].shape[1])
    steps = lstm(weights, 'encoder', x, zero, zero)
    if both_ways:
        back = lstm(weights, 'encoder', x[::-1], zero, zero, '_reverse')[::-1]
        both = np.concatenate([steps, back], 1)
        steps = x + both @ weights['project.weight'].T + weights['project.bias']
    return on_sphere(steps)


def predicted(weights, steps, layers: int, both_ways: bool) -> float:
    """What a sequence of these points reaches."""
    x = on_sphere(steps.mean(0))
    for k in range(layers):
        entered, weight = x, weights[f'layers.{k}.weight']
        x = np.maximum(weight @ x + weights[f'layers.{k}.bias'], 0)
        if both_ways and weight.shape[0] == weight.shape[1]:
            x = (entered + x) * 0.5**0.5
    value = float((weights['regress.weight'] @ x + weights['regress.bias'])[0])
    return value if both_ways else float(sigmoid(np.array(value)))


def logits(weights, steps, sequence) -> np.ndarray:
    """Of each token given those before it, [steps, tokens]."""
    point = on_sphere(steps.mean(0))
    before = weights['given.weight'][[0, *sequence[:-1]]]
    rows = []
    for d in lstm(weights, 'decoder', before, point, point):
        context = softmax(steps @ (weights['attend.weight'] @ d)) @ steps
        seen = weights['combine.weight'] @ np.concatenate([context, d]) + weights['combine.bias']
        rows.append(weights['out.weight'] @ np.tanh(seen) + weights['out.bias'])
    return np.array(rows)


def chances(weights, sequence, first, ways) -> list[np.ndarray]:
    """A controller's softmax of each step, given the tokens before it."""
    before = weights['embed.weight'][[0, *sequence[:-1]]]
    zero = np.zeros(before.shape[1])
    outputs = lstm(weights, 'lstm', before, zero, zero)
    return [
        softmax((weights['softmaxes.weight'] @ out + weights['softmaxes.bias'])[f : f + count])
        for out, f, count in zip(outputs, first, ways, strict=True)
    ]
