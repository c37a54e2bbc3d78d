"""Our registries: names, nearest names, arguments, and no warnings under another scope."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from rdarts import registry
from rdarts.errors import UserError
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import build_operation
from rdarts.registry import (
    BENCHMARKS,
    DISCRETIZERS,
    EVALUATORS,
    GENOTYPE_FORMS,
    MIXED_OPS,
    MODELS,
    OPERATIONS,
    REGULARIZERS,
    RELAXATIONS,
    SEARCH_SPACES,
    build,
    lookup,
)

OWN = dict(
    GENOTYPE_FORMS=(GENOTYPE_FORMS, 'dense_cell'),
    BENCHMARKS=(BENCHMARKS, 'nas_bench_201'),
    SEARCH_SPACES=(SEARCH_SPACES, 'darts'),
    MIXED_OPS=(MIXED_OPS, 'MixedOp'),
    OPERATIONS=(OPERATIONS, 'sep_conv_3x3'),
    RELAXATIONS=(RELAXATIONS, 'Softmax'),
    REGULARIZERS=(REGULARIZERS, 'BatchEntropyDecay'),
    DISCRETIZERS=(DISCRETIZERS, 'TopEdges'),
)


@pytest.fixture
def warnings_logged():
    """What is logged at the level of a warning or above, by any logger, while the test runs."""
    records = []

    class Collect(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    handler = Collect(logging.WARNING)
    loggers = [logging.getLogger()]
    loggers += [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    from mmengine.logging import MMLogger

    loggers.append(MMLogger.get_current_instance())
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize('name', list(OWN))
def test_every_component_is_found_with_and_without_the_prefix(name):
    own, component = OWN[name]
    assert lookup(component, own) is lookup(f'rdarts.{component}', own)


@pytest.mark.parametrize('name', list(OWN))
def test_an_unknown_name_gets_the_nearest(name):
    own, component = OWN[name]
    for wrong in (component + 'x', f'rdarts.{component}x'):
        with pytest.raises(UserError) as error:
            lookup(wrong, own)
        assert str(error.value) == f"unknown {own.name} '{wrong}': did you mean '{component}'?"


def test_a_name_that_is_near_nothing_lists_what_is_known():
    with pytest.raises(UserError, match='unknown relaxation .*known: .*Softmax'):
        build('zzzzzz', RELAXATIONS)


def test_a_dotted_path_imports():
    assert lookup('torch.nn.Identity', OPERATIONS) is nn.Identity


def test_build_takes_a_name_a_dict_or_an_object():
    relaxation = build('Softmax', RELAXATIONS)
    assert build(relaxation, RELAXATIONS) is relaxation
    assert type(build(dict(type='rdarts.Softmax'), RELAXATIONS)) is type(relaxation)
    assert type(build(dict(type=type(relaxation)), RELAXATIONS)) is type(relaxation)


def test_what_a_config_sets_comes_before_the_defaults():
    assert build(dict(type='TopEdges', k=3), DISCRETIZERS, k=5).k == 3
    assert build('TopEdges', DISCRETIZERS, k=5).k == 5


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='TopEdges', q=3), "discretizer 'TopEdges' takes no 'q': known: "),
        (dict(k=3), r"a discretizer needs a 'type', but got \{'k': 3\}"),
        (dict(type=3), "discretizer '3': 'int' object is not callable"),
        (None, 'a discretizer is a name or a dict .* but got None'),
        (['TopEdges'], 'a discretizer is a name or a dict'),
    ],
)
def test_build_with_wrong_arguments(cfg, message):
    with pytest.raises(UserError, match=message) as error:
        build(cfg, DISCRETIZERS)
    assert '\n' not in str(error.value)


def test_a_vowel_has_another_article():
    with pytest.raises(UserError, match='^an evaluator is a name or a dict'):
        build(3, EVALUATORS)


def test_an_argument_that_is_missing():
    with pytest.raises(UserError, match="search space 'CellSpace' needs 'cells'"):
        build(dict(type='CellSpace', name='x'), SEARCH_SPACES)


def test_nothing_warns_under_the_scope_of_a_search(warnings_logged):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        DISCRETIZERS.build(dict(type='TopEdges'))  # what build() is there to avoid
        assert any('TopEdges' in line or 'mmpretrain' in line for line in warnings_logged)
        warnings_logged.clear()

        for name, (own, component) in OWN.items():
            lookup(component, own)
            with pytest.raises(UserError):
                lookup(f'rdarts.no_{name}', own)
        build_operation('sep_conv_3x3', PlainLayers(), 2, 2)
        build(dict(type='BatchEntropyDecay', lambda_=1.0), REGULARIZERS)
        build(dict(type='rdarts.Argmax'), DISCRETIZERS)
        net = MODELS.build(
            dict(
                type='rdarts.NASBench201Supernet',
                channels=2,
                cells_per_stage=1,
                relaxation=dict(type='rdarts.Softmax'),
                mixed_op=dict(type='rdarts.MixedOp'),
            )
        )
    assert net(torch.zeros(2, 3, 8, 8))[0].shape == (2, 8, 2, 2)
    assert warnings_logged == []


def test_configs_may_inherit_from_the_package():
    from mmengine.config.utils import MODULE2PACKAGE

    assert MODULE2PACKAGE['rdarts'] == 'rdarts'
    assert registry.MODELS.scope == 'rdarts' and registry.MODELS.parent is not None
