"""Networks of a study that are counted: which there are, and their table."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.genotypes.describe import dumps
from rdarts.study.counted import count_table, counted_networks, counts
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.queue import run_all
from rdarts.study.run import Run
from rdarts.study.searches import Comparison, Search
from rdarts.study.study_file import comparison_of

TABLE_2 = str(Path(__file__).resolve().parents[2] / 'configs' / 'studies' / 'table2.py')


def end(run: Run, printed: str) -> None:
    """As a run leaves its folder that has ended."""
    run.mark(ended=True)
    (run.folder / 'run.log').write_text(printed + '\n')


def test_what_is_found_and_what_is_given_is_counted(tmp_path):
    networks = dict(ResNet50='torchvision:resnet50', DARTS='DARTS_V2')
    options = ['model.backbone.channels=8']
    plan = Comparison(
        ['a.py'],
        str(tmp_path),
        retrain='retrain.py',
        retrain_options=options,
        networks=networks,
        image=[3, 64, 64],
    )
    searched = [
        Search('a.py', seed, Run('', tmp_path / 'a' / f'seed_{seed}', [], {})) for seed in (0, 1)
    ]
    searched += [Search('a.py', 2, Run('', tmp_path / 'a' / 'seed_2', [], {}, error='no cell'))]
    searched += [Search('a.py', 3, Run('', tmp_path / 'a' / 'seed_3', [], {}))]
    for one in searched[:2]:
        one.run.folder.mkdir(parents=True)
        (one.run.folder / 'genotype.json').write_text(dumps(load_genotype('DARTS_V1')))
    found = counts(plan, searched)
    assert 'seed_3' in searched[3].run.error
    assert [one.name for one in found] == ['ResNet50', 'DARTS', 'a', 'a']
    shape = ['--shape', '3', '64', '64', '--no-latency']
    given = [one.run.settings['options'] for one in found]
    assert given[0] == ['--network', 'torchvision:resnet50', *shape]
    assert given[1] == ['--genotype', 'DARTS_V2', *shape]
    cell = load_genotype('DARTS_V1').to_string()
    assert given[3] == ['retrain.py', '--genotype', cell, *shape, '--cfg-options', *options]
    assert count_table(plan, found) is None
    for one, parameters in zip(found[1:], (4_700_000, 2_000_000, 4_000_000), strict=True):
        end(one.run, json.dumps(dict(parameters=parameters, macs=574_000_000)))
    end(found[0].run, '{"parameters": null}')
    table, data = count_table(plan, found)
    assert table.header == ['network', 'parameters (M)', 'multiply-adds (M)']
    assert table.rows == [
        ['DARTS', '4.70', '574.00'],
        ['a', '3.00 ± 1.41', '574.00 ± 0.00'],
    ]
    assert table.title.endswith('3 x 64 x 64') and len(data['a']) == 2
    assert found[0].run.error == 'its result has no parameters and multiply-adds'
    assert counts(Comparison(['a.py'], str(tmp_path), retrain='r.py'), searched) == []


def test_a_published_cell_is_counted_by_the_tool(tmp_path):
    plan = Comparison([], str(tmp_path), networks=dict(DARTS='DARTS_V2'), image=[3, 32, 32])
    found = counts(plan, [])
    run_all([one.run for one in found], LocalExecutor())
    table, data = count_table(plan, found)
    assert table.rows == [['DARTS', '3.35', '528.36']]
    assert data['DARTS'][0]['parameters'] == 3_349_342
    assert data['DARTS'][0]['macs'] == 528_359_040
    assert counts(plan, [])[0].run.state() == 'done'


def test_a_library_that_is_not_installed_says_what_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'timm' else name)
    study = dict(networks=dict(one='timm:mobilenetv1_100', two='torchvision:resnet50', three='X'))
    found, missing = counted_networks(study, dict(methods=None))
    assert missing == dict(one="it needs timm: 'pip install timm'")
    assert list(found) == ['two', 'three']
    assert counted_networks(study, dict(methods=['darts'])) == ({}, {})
    plan = comparison_of([TABLE_2])
    assert plan.absent['MobileNetV1'] == "it needs timm: 'pip install timm'"
    assert plan.networks['NASNet_A'] == 'NASNet' and list(plan.image) == [3, 224, 224]
    assert [Path(training).stem for training in plan.trainings] == ['darts_imagenet']
    part = comparison_of([TABLE_2], methods=['rdarts'])
    assert (part.networks, part.absent, len(part.configs)) == ({}, {}, 1)


def test_small_options_by_data():
    plan = comparison_of([TABLE_2], small=True)
    for name, given in (('pc_darts_darts_imagenet', True), ('rdarts_darts_c10', False)):
        options = plan.options_of(f'{name}.py')
        assert ('image_size=64' in options) == given
        assert (f'limit={2000 if given else 6250}') in options


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ("networks=dict(a='X')", 'study.image is missing'),
        ("networks=dict(a=3), image=[3, 32, 32]", 'study.networks.a must be a text, but is 3'),
        ('image=[3, 32]', 'study.image must be three sizes, but is '),
        ("image=[3, 32, 'x']", 'study.image must be three sizes, but is '),
        ("image=[3, 8, 8], networks={1: 'X'}", 'study.networks: a name must be of letters'),
        ("image=[3, 8, 8], networks={'../x': 'X'}", 'study.networks: a name must be of letters'),
        (
            "image=[3, 8, 8], networks=dict(a='tormvision:resnet50')",
            "study.networks.a: there is no library 'tormvision': did you mean 'torchvision'",
        ),
    ],
)  # fmt: skip
def test_wrong_networks(tmp_path, keys, message):
    path = tmp_path / 'mine.py'
    path.write_text(f"study = dict(methods=['darts'], spaces=['darts'], data=['c10'], {keys})\n")
    with pytest.raises(UserError) as error:
        comparison_of([str(path)])
    assert str(error.value).startswith(f'{path}: {message}') and '\n' not in str(error.value)
