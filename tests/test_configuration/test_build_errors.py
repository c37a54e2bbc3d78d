"""An entry that cannot be built is named, whatever Python's own message says of it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from mmpretrain.models.utils.batch_augments import RandomBatchAugment as BatchAugments

from rdarts.cli import run_guarded
from rdarts.configuration.build_errors import explain, unknown_type, why_unbuilt
from rdarts.registry import MODELS


class Closed(Hook):
    def __init__(self, interval, *, after=0):
        super().__init__()
        self.total = interval + after


class Open(Closed):
    def __init__(self, own=1, **kwargs):
        super().__init__(**kwargs)


class HandsOn(Hook):
    def __init__(self, **kwargs):
        self.inner = dict.fromkeys([], **kwargs)


class Defective(Hook):
    def __init__(self, interval):
        super().__init__()
        len(1)


def build_optimizer(**kwargs):
    return OPTIMIZERS.build(dict(kwargs, params=[torch.zeros(1)]))


def build_scheduler(**kwargs):
    return PARAM_SCHEDULERS.build(dict(kwargs, optimizer=build_optimizer(type='SGD', lr=0.1)))


def build_loader(**kwargs):
    loader = dict(dataset=[1, 2], sampler=dict(type='DefaultSampler'), batch_size=1)
    return Runner.build_dataloader({**loader, **kwargs})


def cosine(**kwargs):
    return build_scheduler(type='CosineAnnealingLR', **kwargs)


def error_of(build, **kwargs) -> Exception:
    with pytest.raises(Exception) as caught:
        build(**kwargs)
    return caught.value


def hook(**kwargs):
    return HOOKS.build(kwargs)


def model(**kwargs):
    return MODELS.build(kwargs)


@pytest.mark.parametrize(
    ('build', 'args', 'reason'),
    [
        (
            hook,
            dict(type=Closed, interval=1, aftr=2),
            "Closed takes no 'aftr': did you mean 'after'?",
        ),
        (hook, dict(type=Closed), "Closed needs 'interval'"),
        (
            hook,
            dict(type=Open, interval=1, intervl=2),
            "Open takes no 'intervl': did you mean 'inter",
        ),
        (hook, dict(type=HandsOn, x=3), 'HandsOn: '),
        (
            build_optimizer,
            dict(type='SGD', lr=1, momentm=1),
            "SGD takes no 'momentm': did you mean",
        ),
        (cosine, dict(T_maxx=3), "CosineAnnealingLR takes no 'T_maxx': did you mean 'T_max'?"),
        (
            cosine,
            dict(T_max=3, et_min=0, convert_to_iter_based=True, epoch_length=2),
            "CosineAnnealingLR takes no 'et_min': did you mean 'eta_min'?",
        ),
        (build_loader, dict(num_worker=2), "DataLoader takes no 'num_worker': did you mean 'num_"),
        (model, dict(type='mmpretrain.ImageClassifier', backbne=3), "takes no 'backbne': did you"),
    ],
)
def test_what_does_not_fit(build, args, reason, capsys):
    error = error_of(build, **args)
    assert reason in why_unbuilt(error)
    # other releases of Python write the same errors otherwise
    error.args = ('whatever',)

    def main():
        raise error

    assert run_guarded(main) == 2
    err = capsys.readouterr().err
    assert reason in err and err.count('did you mean') <= 1 and len(err.splitlines()) == 1


def test_a_defect_within_a_constructor_is_no_mistake_of_the_config():
    error = error_of(hook, type=Defective, interval=1)
    assert isinstance(error, TypeError) and why_unbuilt(error) is None
    assert why_unbuilt(TypeError("f() got an unexpected keyword argument 'x'")) is None


@pytest.mark.parametrize(
    ('build', 'name'),
    [
        (build_optimizer, 'SDG'),
        (build_scheduler, 'PolyRL'),
        (hook, 'mmengine.IterTimerHok'),
        (model, 'rdarts.DARTSSupernt'),
    ],
)
def test_a_type_that_is_not_known(build, name, capsys):
    error = error_of(build, type=name)
    assert unknown_type(error) == name

    def main():
        raise error

    assert run_guarded(main) == 2
    assert re.match(f"error: unknown type '{name}': did you mean '", capsys.readouterr().err)


def test_other_errors_are_of_no_type():
    assert unknown_type(KeyError('SDG is not in the registry')) is None
    error = error_of(lambda: HOOKS.build(dict(type=lambda: {}['x'])))
    assert isinstance(error, KeyError) and unknown_type(error) is None


def test_a_package_that_a_component_asks_for():
    text = 'Please run "pip install future tensorboard" to install the dependencies'
    assert explain(ImportError(text)) == (f'a component of the config needs a package: {text}', 2)
    assert explain(ImportError("cannot import name 'x' from 'rdarts'")) is None


class Refusing(Hook):
    def __init__(self):
        raise ValueError('its own')


def test_what_a_frameworks_component_refuses_is_said():
    with pytest.raises(AssertionError) as caught:
        BatchAugments(augments=dict(type='Mixup', alpha=-1))
    assert why_unbuilt(caught.value) == 'Mixup: assert isinstance(alpha, float) and alpha > 0'


def test_what_a_users_own_component_raises_keeps_its_traceback():
    with pytest.raises(ValueError, match='its own') as caught:
        HOOKS.build(dict(type=Refusing))
    assert why_unbuilt(caught.value) is None


class Building(Hook):
    def before_run(self, runner):
        HOOKS.build(dict(type=Closed, intervall=1))


def test_what_a_hook_builds_when_it_is_called():
    runner = SimpleNamespace(_hooks=[Building()])
    with pytest.raises(TypeError) as caught:
        Runner.call_hook(runner, 'before_run')
    assert why_unbuilt(caught.value) == "Closed takes no 'intervall': did you mean 'interval'?"
