"""The weights that a supernet began with."""

from __future__ import annotations

import torch
from helpers import digits_runner
from mmengine.hooks import Hook
from same_runs import same

from rdarts.utils.wrapped import unwrapped

OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'epochs': 1,
    'default_hooks.initial_weights.type': 'rdarts.InitialWeightsHook',
    'default_hooks.checkpoint.iter_interval': 1,
}


class Begins(Hook):
    """Keeps what the weights were before the first step."""

    priority = 'HIGH'

    def before_train(self, runner) -> None:
        self.state = {k: v.clone() for k, v in unwrapped(runner.model).state_dict().items()}


def test_they_are_kept_beside_the_checkpoints_once(tmp_path):
    begins = Begins()
    runner = digits_runner(tmp_path, OPTIONS, hooks=[begins], config='darts_nb201_digits')
    runner.train()
    path = tmp_path / 'initial.pth'
    kept = path.read_bytes()
    state = torch.load(path, weights_only=True)['state_dict']
    assert same(dict(state), begins.state)
    assert not same(dict(state), dict(unwrapped(runner.model).state_dict()))
    first = str(tmp_path / 'iter_1.pth')
    path.unlink()
    digits_runner(tmp_path, OPTIONS, config='darts_nb201_digits', resume=first).train()
    assert not path.exists()  # of a run that goes on, they are not the weights that it finds
    assert kept


def test_they_go_along_into_another_folder(tmp_path):
    begun, other = tmp_path / 'begun', tmp_path / 'other'
    digits_runner(begun, OPTIONS, config='darts_nb201_digits').train()
    first = str(begun / 'iter_1.pth')
    digits_runner(other, OPTIONS, config='darts_nb201_digits', resume=first).train()
    kept = (begun / 'initial.pth').read_bytes()
    assert (other / 'initial.pth').read_bytes() == kept
    digits_runner(other, OPTIONS, config='darts_nb201_digits', resume=first).train()
    assert (other / 'initial.pth').read_bytes() == kept


def test_a_run_that_goes_on_without_them_says_so(tmp_path):
    digits_runner(tmp_path, OPTIONS, config='darts_nb201_digits').train()
    (tmp_path / 'initial.pth').unlink()
    first = str(tmp_path / 'iter_1.pth')
    runner = digits_runner(tmp_path, OPTIONS, config='darts_nb201_digits', resume=first)
    lines = []
    runner.logger.warning = lambda line, *_: lines.append(line)
    runner.train()
    assert any(f'no {tmp_path / "initial.pth"}: what needs' in line for line in lines)
