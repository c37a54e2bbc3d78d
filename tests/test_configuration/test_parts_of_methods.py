"""What is wrong with a part of a method is one line, told before anything is loaded or built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import start_fails

from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.search_spaces import build_space

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ROOT / 'configs' / 'search'
RELAXATION, MIXED = 'model.backbone.relaxation', 'model.backbone.mixed_op'
THRESHOLD = 'default_hooks.genotype.discretizer.threshold'
INSIDE = 'must be a finite number above 0 and below 1, but is'


def line_of(config: str, options: dict) -> str:
    with pytest.raises(UserError) as error:
        load_config(SEARCH / f'{config}.py', options)
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        ({f'{RELAXATION}.type': 'rdarts.Gumbel'}, "unknown relaxation 'rdarts.Gumbel'"),
        ({f'{RELAXATION}.temprature': 1.0}, "takes no 'temprature': did you mean 'temperature'?"),
        ({f'{MIXED}.type': 'rdarts.PartialChanels'}, "did you mean 'PartialChannels'?"),
        ({'default_hooks.architect.architect': 'rdarts.Unroled'}, "did you mean 'Unrolled'?"),
        ({'default_hooks.genotype.discretizer': 'rdarts.Treshold'}, "did you mean 'Threshold'?"),
        (
            {'default_hooks.architect.regularizers.x': dict(type='rdarts.BetaDecy')},
            "did you mean 'BetaDecay'?",
        ),
        (
            {'default_hooks.decay': dict(type='rdarts.AdaptiveDecayHook', tmes=3)},
            "default_hooks.decay.tmes: rdarts.AdaptiveDecayHook takes no 'tmes': did you mean",
        ),
    ],
)
def test_an_unknown_part(options, line):
    assert line in line_of('gdas_nb201_c10', options)


@pytest.mark.parametrize('value', [0, 1, 1.5, -0.1])
def test_a_threshold_outside_0_and_1(value):
    line = line_of('fairdarts_darts_c10', {THRESHOLD: value})
    assert line == f'{THRESHOLD} {INSIDE} {value}'
    line = line_of('dsnas_s2_c10', {'default_hooks.early_fix.threshold': value})
    assert line == f'default_hooks.early_fix.threshold {INSIDE} {value}'


@pytest.mark.parametrize(
    ('temperature', 'least'),
    [
        (0, '0'),
        (-1.5, '-1.5'),
        (dict(points=[(0, 10.0), (49, 0.0)]), '0'),
        (dict(points=[(0, 1.0), (9, -0.5), (49, 1.0)], interpolation='step'), '-0.5'),
    ],
)
@pytest.mark.parametrize('method', ['gdas', 'snas', 'reinmax'])
def test_a_temperature_of_0(method, temperature, least):
    # _delete_: else the points would be merged into those of the method
    value = dict(temperature, _delete_=True) if isinstance(temperature, dict) else temperature
    line = line_of(f'{method}_s2_c10', {f'{RELAXATION}.temperature': value})
    assert line.endswith(f'must be more than 0, but is {least}') and 'temperature of' in line


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        ({f'{MIXED}.share': 3}, 'must divide the number of channels, but is 3 of 16'),
        ({'model.backbone.channels': 18}, 'must divide the number of channels, but is 4 of 18'),
        ({f'{MIXED}.share': 0}, 'share must be a whole number of at least 1, but is 0'),
        ({f'{MIXED}.share': 2.0}, 'share must be a whole number of at least 1, but is 2.0'),
    ],
)
def test_a_share_of_channels_that_does_not_divide(options, line):
    assert line in line_of('pc_darts_s2_c10', options)


@pytest.mark.parametrize(
    ('config', 'options', 'line'),
    [
        ('proxylessnas_nb201_c10', {'epochs': 1}, '1, but is 1'),
        ('pc_darts_darts_c10', {'train_cfg.max_epochs': 10}, '10, but is 15'),
        ('darts_nb201_c10', {'epochs': 3, 'default_hooks.architect.start_epoch': 3}, '3, but is 3'),
    ],
)
def test_a_search_that_ends_before_alpha_moves(config, options, line):
    found = line_of(config, options)
    assert found == (
        f'default_hooks.architect.start_epoch must be below train_cfg.max_epochs, {line}: alpha '
        'would never move'
    )
    assert load_config(SEARCH / 'proxylessnas_nb201_c10.py', {'epochs': 2})


def test_a_cost_table_of_another_space(tmp_path):
    space = build_space('s2')
    rows = {
        cell: [dict.fromkeys(edge.candidates, 1.0) for edge in topology.edges]
        for cell, topology in space.cells.items()
    }
    path = tmp_path / 'costs.json'
    path.write_text(json.dumps(dict(space='s2', unit='ms', costs=rows)))
    key = 'model.backbone.space'
    assert load_config(SEARCH / 'darts_s2_c10.py', {key: dict(type='s2', costs=str(path))})
    line = line_of('darts_s3_c10', {key: dict(type='s3', costs=str(path))})
    assert line == f"{path}: it is of the space 's2', but 's3' is needed"


@pytest.mark.parametrize(
    ('config', 'options', 'line'),
    [
        ('gdas_nb201_digits', [f'{RELAXATION}.temperature=0'], 'must be more than 0, but is 0'),
        ('pc_darts_nb201_digits', [f'{MIXED}.share=3'], 'must divide the number of channels'),
    ],
)
def test_as_a_command(config, options, line, tmp_path):
    found = start_fails(tmp_path, '--cfg-options', *options, config=SEARCH / f'{config}.py')
    assert line in found
