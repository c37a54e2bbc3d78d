"""Exported networks give the scores of the config's network, and say what they are."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import write_retrained, write_small_search
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, IMAGENET_CATEGORIES
from PIL import Image
from safetensors.torch import load_file

from rdarts import __version__
from rdarts.apis import build_net
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.load import load_config
from rdarts.deploy import export, inference
from rdarts.deploy import trained as trained_nets
from rdarts.deploy.description import KEY, Description
from rdarts.deploy.inference import (
    classify,
    find_images,
    load_exported,
    read_exported,
    scores_of_net,
    top_classes,
)
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import load_genotype
from rdarts.registry import MODELS
from rdarts.search_spaces import build_space

pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')
safetensors = pytest.importorskip('safetensors')

NB201 = '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|'
LIGHT = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('skip_connect', 0), "
    "('dil_conv_3x3', 1), ('skip_connect', 0), ('avg_pool_3x3', 2), ('skip_connect', 2), "
    "('max_pool_3x3', 1)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('skip_connect', 1), ('avg_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 3), "
    "('max_pool_3x3', 1), ('skip_connect', 0), ('skip_connect', 2)], reduce_concat=range(2, 6))"
)
LAYERWISE_SPACE = dict(type='mobilenet_like', widths=[8, 16], depths=[2, 2], strides=[2, 2])
ENDINGS = ('.onnx', '.pt2', '.safetensors')
IMAGENET_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=72, edge='short'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='PackInputs'),
]
RUNS = dict(
    darts=dict(
        config='darts_c10',
        genotype='DARTS_V2',
        options={
            'model.backbone.channels': 4,
            'model.backbone.num_cells': 3,
            'model.backbone.drop_path': 0.2,
            'model.head.in_channels': 64,
            'model.head.auxiliary.in_channels': 64,
        },
    ),
    nb201=dict(
        config='nb201_c100',
        genotype=NB201,
        options={
            'model.backbone.channels': 4,
            'model.backbone.cells_per_stage': 1,
            'model.head.in_channels': 16,
        },
    ),
    imagenet=dict(
        config='darts_imagenet',
        genotype=LIGHT,
        options={
            'model.backbone.channels': 4,
            'model.backbone.num_cells': 3,
            'model.head.in_channels': 64,
            'model.head.auxiliary.in_channels': 64,
            'test_dataloader.dataset.pipeline': IMAGENET_PIPELINE,
        },
    ),
    layerwise=dict(
        config='mobilenet_like_imagenet',
        genotype='mbconv_k3_e3 - skip_connect - mbconv_k7_e6 - mbconv_k5_e3',
        options={
            'model.backbone.space': dict(LAYERWISE_SPACE, _delete_=True),
            'model.backbone.stem_channels': 4,
            'model.backbone.first_channels': 8,
            'model.backbone.last_channels': 24,
            'model.head.in_channels': 24,
            'test_dataloader.dataset.pipeline': IMAGENET_PIPELINE,
        },
    ),
)
SIZES = dict(darts=(32, 32), nb201=(32, 32), imagenet=(64, 64), layerwise=(64, 64))


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp('runs')
    return {name: write_retrained(root / name, **args) for name, args in RUNS.items()}


@pytest.fixture(scope='module')
def trained(runs) -> dict[str, trained_nets.Trained]:
    return {
        name: trained_nets.load_trained(*trained_nets.find_run(run)) for name, run in runs.items()
    }


@pytest.fixture(scope='module')
def files(trained, tmp_path_factory) -> dict[str, list[export.Exported]]:
    """Every network in every format."""
    if not export.can_write_onnx():
        pytest.skip('this torch writes no ONNX')
    root = tmp_path_factory.mktemp('files')
    return {
        name: export.export_net(
            one.net, one.description, [root / f'{name}{ending}' for ending in ENDINGS]
        )
        for name, one in trained.items()
    }


def file_of(files: dict, name: str, ending: str) -> Path:
    return next(file.path for file in files[name] if file.path.suffix == ending)


def images_of(name: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 3, *SIZES[name]), dtype=np.float32)


def text_of(path: Path) -> str:
    """The description by other means than ours."""
    if path.suffix == '.onnx':
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        return session.get_modelmeta().custom_metadata_map[KEY]
    if path.suffix == '.safetensors':
        with safetensors.safe_open(path, framework='pt') as file:
            return file.metadata()[KEY]
    extra = {KEY: ''}
    torch.export.load(path, extra_files=extra)
    return extra[KEY]


# What is loaded


@pytest.mark.parametrize('name', RUNS)
def test_the_network_is_the_one_that_is_tested(name, runs, trained):
    cfg = load_config(runs[name] / 'config.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).eval()
    load_weights(model, read_checkpoint(runs[name] / 'epoch_1_iter_1.pth'), 'x')
    images = images_of(name, 4)
    with torch.no_grad():
        wanted = model(torch.from_numpy(images), mode='tensor').numpy()
    assert wanted.std() > 0.1  # else anything would be near
    found = scores_of_net(trained[name].net)(images)
    assert found.shape == wanted.shape == (4, len(trained[name].description.classes))
    assert np.abs(found - wanted).max() < 1e-5


def test_what_trains_only_is_left_out(trained):
    """Auxiliary head and drop-path."""
    net = trained['darts'].net
    assert not net.training and not [key for key in net.state_dict() if 'auxiliary' in key]
    plain = build_net('DARTS_V2', channels=4, num_cells=3)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert not {'auxiliary', 'drop_path', 'init_cfg'} & set(trained['darts'].description.network)
    images = images_of('darts', 2)
    scores = scores_of_net(net)
    assert np.array_equal(scores(images), scores(images))


# What is written


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('name', RUNS)
def test_every_format_gives_the_same_scores(name, ending, trained, files):
    predictor = load_exported(file_of(files, name, ending), trust=True)
    assert predictor.description == trained[name].description
    for count in (1, 2, 5):
        images = images_of(name, count)
        wanted = scores_of_net(trained[name].net)(images)
        found = predictor.scores(images)
        assert found.shape == wanted.shape and found.dtype == np.float32
        assert np.abs(found - wanted).max() < 2e-5


@pytest.mark.parametrize('name', RUNS)
def test_every_format_holds_the_same_description(name, files):
    texts = {text_of(file.path) for file in files[name]}
    assert len(texts) == 1
    data = json.loads(texts.pop())
    assert data['format'] == 1 and data['made_by'] == f'rdarts {__version__}'
    space = LAYERWISE_SPACE if name == 'layerwise' else None
    genotype = load_genotype(RUNS[name]['genotype'], space).to_dict()
    assert data['network']['genotype'] == genotype
    assert data['network']['stem_channels' if name == 'layerwise' else 'channels'] == 4
    assert data['preprocessing']['size'] == list(SIZES[name])
    assert data['preprocessing']['channel_order'] == 'RGB'


def test_a_description_in_full(files):
    data = json.loads(text_of(file_of(files, 'darts', '.safetensors')))
    assert data['classes'] == list(CIFAR10_CATEGORIES)
    assert data['network'] == dict(
        type='rdarts.DARTSNet',
        genotype=load_genotype('DARTS_V2').to_dict(),
        in_channels=3,
        channels=4,
        num_cells=3,
        stem='cifar',
    )
    assert data['preprocessing'] == dict(
        steps=[
            dict(type='resize', size=32, interpolation='area', library='opencv'),
            dict(type='center_crop', size=[32, 32]),
        ],
        size=[32, 32],
        channel_order='RGB',
        mean=[125.307, 122.961, 113.8575],
        std=[62.993, 62.089, 66.705],
    )
    data = json.loads(text_of(file_of(files, 'imagenet', '.onnx')))
    assert data['classes'] == list(IMAGENET_CATEGORIES)
    assert data['preprocessing']['steps'] == [
        dict(type='resize', size=72, interpolation='bilinear', library='opencv'),
        dict(type='center_crop', size=[64, 64]),
    ]


def test_the_onnx_model_names_what_it_takes_and_gives(files):
    onnx = pytest.importorskip('onnx')
    path = file_of(files, 'nb201', '.onnx')
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    (images,), (logits,) = model.graph.input, model.graph.output
    for value, name, rest in ((images, 'images', [3, 32, 32]), (logits, 'logits', [100])):
        batch, *others = value.type.tensor_type.shape.dim
        assert value.name == name and batch.dim_param == 'batch'
        assert [dim.dim_value for dim in others] == rest
    assert all(not tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_file_tells_nothing_of_the_computer_that_made_it(ending, files):
    data = file_of(files, 'darts', ending).read_bytes()
    assert str(Path(__file__).parent.parent.parent).encode() not in data


def test_safetensors_are_the_state_dict(trained, files):
    from safetensors.torch import load_file

    found, wanted = load_file(file_of(files, 'nb201', '.safetensors')), trained['nb201'].net
    assert found.keys() == wanted.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in wanted.state_dict().items())


def test_a_space_of_ones_own_is_rebuilt(tmp_path):
    """Its table is in the description."""
    candidates = ['skip_connect', 'nor_conv_3x3']
    table = dict(
        type='CellSpace', name='own', cells=dict(cell=dict(num_nodes=3, candidates=candidates))
    )
    nodes = [[['nor_conv_3x3', 0]], [['skip_connect', 0], ['nor_conv_3x3', 1]]]
    genotype = dict(space='own', kind='cell', cells=dict(cell=dict(nodes=nodes, concat=[2])))
    options = {**RUNS['nb201']['options'], 'model.backbone.space': table}
    run = write_retrained(tmp_path / 'run', 'nb201_c100', json.dumps(genotype), options)
    one, path = trained_nets.load_trained(*trained_nets.find_run(run)), tmp_path / 'net.safetensors'
    export.export_net(one.net, one.description, [path])
    assert json.loads(text_of(path))['network']['space'] == table
    images = images_of('nb201', 2)
    found, wanted = load_exported(path).scores(images), one.predictor.scores(images)
    assert np.array_equal(found, wanted) and wanted.std() > 0.1


def write_costs(path: Path) -> Path:
    space = build_space(LAYERWISE_SPACE)
    layers = [dict.fromkeys(edge.candidates, 1.0) for edge in space.cells['layerwise'].edges]
    path.write_text(json.dumps(dict(space=space.name, unit='ms', costs=dict(layerwise=layers))))
    return path


@pytest.mark.slow
def test_a_cost_table_stays_behind(trained, tmp_path):
    """It is of the search; the file need not be there any more."""
    costs = write_costs(tmp_path / 'costs.json')
    args = RUNS['layerwise']
    options = {
        **args['options'],
        'model.backbone.space': dict(LAYERWISE_SPACE, costs=str(costs), _delete_=True),
    }
    run = write_retrained(tmp_path / 'run', **{**args, 'options': options})
    assert str(costs) in (run / 'config.py').read_text()
    costs.unlink()
    one = trained_nets.load_trained(*trained_nets.find_run(run), genotype=args['genotype'])
    assert one.description == trained['layerwise'].description
    assert one.description.network['space'] == LAYERWISE_SPACE
    path = tmp_path / 'net.safetensors'
    export.export_net(one.net, one.description, [path])
    images = images_of('layerwise', 2)
    found, wanted = (
        load_exported(path).scores(images),
        trained['layerwise'].predictor.scores(images),
    )
    assert np.abs(found - wanted).max() < 2e-5  # the network evaluates fused, the file does not


def test_what_was_written_is_told(files, trained):
    for file in (file for name in files for file in files[name]):
        assert file.size == file.path.stat().st_size
        assert 0 <= file.difference < 2e-5
    for name, one in trained.items():
        (weights,) = (file for file in files[name] if file.path.suffix == '.safetensors')
        written, own = load_file(weights.path), one.net.state_dict()
        assert written.keys() <= own.keys()
        assert all(torch.equal(value, own[key]) for key, value in written.items())


def test_a_file_of_other_scores_is_not_written(trained, tmp_path, monkeypatch):
    one = trained['nb201']

    def perturbed(net, description):
        state = {key: value.clone() for key, value in net.state_dict().items()}
        state['head.fc.bias'][7] += 2e-4
        other = description.build(state)
        return export_to(other, description)

    export_to = export.to_safetensors
    monkeypatch.setattr(export, 'to_safetensors', perturbed)
    path = tmp_path / 'net.safetensors'
    with pytest.raises(RunFailed, match=r'other scores.*2.0e-04 apart, where 1e-04 is allowed'):
        export.export_net(one.net, one.description, [path])
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    one, path = trained['nb201'], tmp_path / 'net.safetensors'
    path.write_bytes(b'before')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(RunFailed, match='net.safetensors cannot be written: No space left'):
        export.export_net(one.net, one.description, [path])
    assert [item.name for item in tmp_path.iterdir()] == ['net.safetensors']
    assert path.read_bytes() == b'before'


def test_without_onnxruntime_it_is_not_compared(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.setattr(export, 'trace', lambda net, size: None)
    monkeypatch.setattr(export, 'to_onnx', lambda program, description: b'onnx')
    one = trained['nb201']
    (file,) = export.export_net(one.net, one.description, [tmp_path / 'net.onnx'])
    assert file.difference is None and file.path.read_bytes() == b'onnx'
    export.export_trained(one, [tmp_path / 'other.onnx'])
    *about, written, following = capsys.readouterr().out.splitlines()
    assert about == export.summary(one).splitlines()
    assert written.split() == [
        *(f'{tmp_path}/other.onnx', '0.00', 'MB', 'not', 'checked:', 'pip', 'install'),
        'onnxruntime',
    ]
    assert following.startswith('next:   python ') and following.endswith('other.onnx IMAGES')


@pytest.mark.parametrize(
    ('ending', 'package'), [('.onnx', 'onnxscript'), ('.safetensors', 'safetensors')]
)
def test_a_missing_package_is_named(ending, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    line = f'writing {ending} needs {package}: pip install {package}'
    with pytest.raises(UserError, match=f'^{line}$'):
        export.check_outputs([tmp_path / f'net{ending}'])


@pytest.mark.parametrize('ending', ['.onnx', '.safetensors'])
def test_a_package_missing_for_reading_is_named(ending, files, monkeypatch):
    package = 'onnxruntime' if ending == '.onnx' else 'safetensors'
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f'pip install {package}'):
        load_exported(file_of(files, 'nb201', ending))


# Names of classes


def names_of(folder: Path, options: dict, meta: dict | None = None) -> tuple[str, ...]:
    args = dict(RUNS['nb201'], config='darts_image_folder', genotype='DARTS_V2')
    args['options'] = {**RUNS['imagenet']['options'], **options}
    run = write_retrained(folder, **args, meta=meta)
    return trained_nets.load_trained(*trained_nets.find_run(run)).description.classes


@pytest.mark.slow
def test_names_of_ones_own_classes(tmp_path):
    few = {'model.head.num_classes': 2, 'data_preprocessor.num_classes': 2}
    meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
    assert names_of(tmp_path / 'a', few, meta) == ('cat', 'dog')
    three = {'model.head.num_classes': 3, 'data_preprocessor.num_classes': 3}
    assert names_of(tmp_path / 'b', three, meta) == ('0', '1', '2')  # of another set
    for split in ('train', 'val'):
        for name in ('ant', 'bee', 'fly'):
            (tmp_path / 'images' / split / name).mkdir(parents=True)
            Image.new('RGB', (8, 8)).save(tmp_path / 'images' / split / name / '1.png')
    where = {'test_dataloader.dataset.data_root': str(tmp_path / 'images')}
    assert names_of(tmp_path / 'c', {**three, **where}) == ('ant', 'bee', 'fly')


# What cannot be exported


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        (['net.tflite'], r'follows from the ending: \.onnx, \.pt2, \.safetensors'),
        (['net'], 'follows from the ending'),
        (['file/net.onnx'], 'net.onnx cannot be written: (Not a directory|File exists)'),
        (['folder.pt2'], 'folder.pt2 cannot be written: it is a folder'),
    ],
)
def test_outputs_are_checked_first(names, text, tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder.pt2').mkdir()
    with pytest.raises(UserError, match=text):
        export.check_outputs([tmp_path / name for name in names])


def test_a_run_is_found(runs, tmp_path):
    run = runs['nb201']
    config, checkpoint = run / 'config.py', run / 'epoch_1_iter_1.pth'
    for source in (run, config):
        assert trained_nets.find_run(source) == (config, checkpoint)
        assert trained_nets.find_run(source, checkpoint) == (config, checkpoint)
    other = tmp_path / 'other.py'
    other.write_text('')
    assert trained_nets.find_run(other, run) == (other, checkpoint)
    for source, text in (
        (tmp_path / 'gone', 'gone: not found'),
        (tmp_path / 'gone.py', 'config not found'),
        (tmp_path, 'holds no config.py: give the work directory of a retraining'),
        (checkpoint, 'a checkpoint alone does not say what its network is'),
        (other, f'no checkpoint in {tmp_path}'),
    ):
        with pytest.raises(UserError, match=text):
            trained_nets.find_run(source)
    with pytest.raises(UserError, match='checkpoint not found'):
        trained_nets.find_run(run, run / 'gone.pth')


def refused(runs: dict, name: str, options: dict, text: str) -> None:
    with pytest.raises(UserError, match=text):
        trained_nets.load_trained(*trained_nets.find_run(runs[name]), options=options)


def test_configs_that_cannot_be_exported(runs, tmp_path):
    search, (_, checkpoint) = write_small_search(tmp_path), trained_nets.find_run(runs['nb201'])
    with pytest.raises(UserError, match=r'small.py is a search: .*train the one that it found'):
        trained_nets.load_trained(search, checkpoint)
    stacked = {'model.head.type': 'StackedLinearClsHead', 'model.head.mid_channels': [8]}
    refused(runs, 'nb201', stacked, 'over averaged features')
    refused(runs, 'nb201', {'model.neck.type': 'GeneralizedMeanPooling'}, 'GeneralizedMeanPooling')
    refused(runs, 'nb201', {'model.type': 'MoCo'}, 'only classifiers are exported')
    grey = {'data_preprocessor.mean': [128.0], 'data_preprocessor.std': [64.0]}
    refused(runs, 'nb201', {'model.backbone.in_channels': 1, **grey}, 'the network takes 1')
    refused(runs, 'nb201', {'model.backbone.cells_per_stage': 2}, 'does not fit this network')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomGrayscale', prob=1.0)]
    refused(
        runs, 'nb201', {'test_dataloader.dataset.pipeline': pipeline}, "knows no 'RandomGrayscale'"
    )


def test_noise_has_no_fixed_output(tmp_path):
    genotype = load_genotype('DARTS_V2').to_dict()
    genotype['space'] = 's4'
    for cell in genotype['cells'].values():
        cell['nodes'] = [[['noise', 0], ['sep_conv_3x3', 1]] for _ in cell['nodes']]
    run = write_retrained(tmp_path, 'darts_c10', json.dumps(genotype), RUNS['darts']['options'])
    with pytest.raises(UserError, match="the operation 'noise': such a network has no fixed"):
        trained_nets.load_trained(*trained_nets.find_run(run))


# Files from elsewhere


def with_description(path: Path, text: str | None) -> bytes:
    """An exported file with another description."""
    data = path.read_bytes()
    if path.suffix == '.onnx':
        import onnx

        model = onnx.load_from_string(data)
        del model.metadata_props[:]
        if text is not None:
            model.metadata_props.add(key=KEY, value=text)
        return model.SerializeToString()
    if path.suffix == '.safetensors':
        from safetensors.torch import load, save

        return save(load(data), metadata=None if text is None else {KEY: text})
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, 'w') as new:
        for name in old.namelist():
            if not name.endswith(f'extra/{KEY}'):
                new.writestr(name, old.read(name))
            elif text is not None:
                new.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize('ending', ENDINGS)
def test_files_that_are_not_ours(ending, files, tmp_path):
    path = file_of(files, 'nb201', ending)
    with pytest.raises(UserError, match='tools/export.py did not write it'):
        read_exported(with_description(path, None), ending, trust=True)
    for text, message in (
        ('{', 'no JSON'),
        ('[]', 'of format None, not 1'),
        ('{"format": 2}', 'of format 2, not 1'),
        ('{"format": 1, "classes": "ab", "network": {}}', 'classes must be a list of names'),
        ('{"format": 1, "classes": ["\\ud83d"], "network": {}}', 'classes must be a list of names'),
        ('{"format": 1, "classes": ["a"], "network": {}}', 'preprocessing needs the keys'),
    ):
        with pytest.raises(UserError, match=message):
            read_exported(with_description(path, text), ending, trust=True)
    other = tmp_path / f'other{ending}'
    other.write_bytes(with_description(path, '{'))
    with pytest.raises(UserError, match=f'^{other}: its description is no JSON$'):
        load_exported(other, trust=True)


@pytest.mark.parametrize('ending', ENDINGS)
def test_damaged_files(ending, files, capfd):
    data = file_of(files, 'nb201', ending).read_bytes()
    flipped = bytearray(data)
    for place in range(len(data) // 3, len(data), 997):
        flipped[place] ^= 0xFF
    for damaged in (b'', b'PK', data[: len(data) // 2], data[:-1000]):
        with pytest.raises(UserError, match='damaged'):
            read_exported(damaged, ending, trust=True)
    if ending == '.pt2':  # the others have no checksum
        with pytest.raises(UserError, match='damaged'):
            read_exported(bytes(flipped), ending, trust=True)
    assert capfd.readouterr() == ('', '')


def test_an_onnx_file_reads_no_other_file(tmp_path, monkeypatch):
    """Its weights could be in any file of the working directory."""
    onnx = pytest.importorskip('onnx')
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 64]) for name in 'xy']
    weights = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), 'w')
    node = onnx.helper.make_node('MatMul', ['x', 'w'], ['y'])
    graph = onnx.helper.make_graph([node], 'graph', values[:1], values[1:], [weights])
    opset = [onnx.helper.make_opsetid('', 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    path = tmp_path / 'net.onnx'
    onnx.save(model, path)
    with pytest.raises(UserError, match='it has no description'):
        load_exported(path)
    onnx.save(model, path, save_as_external_data=True, location='other', size_threshold=0)
    assert (tmp_path / 'other').stat().st_size >= 4 * 64 * 64
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='net.onnx: damaged, or no ONNX file'):
        load_exported(path)


def test_other_files(tmp_path):
    with pytest.raises(UserError, match=r'ends in \.onnx, \.pt2, \.safetensors'):
        load_exported(tmp_path / 'net.pb')
    with pytest.raises(UserError, match='cannot be read: No such file'):
        load_exported(tmp_path / 'net.onnx')


def test_a_description_of_another_network(files, trained):
    path = file_of(files, 'nb201', '.onnx')
    description = trained['nb201'].description
    for other in (
        replace(description, classes=('a', 'b')),
        trained['imagenet'].description,
    ):
        with pytest.raises(UserError, match='its description does not fit its network'):
            read_exported(with_description(path, other.to_json()), '.onnx')
    path = file_of(files, 'nb201', '.safetensors')
    network = dict(description.network, channels=8)
    other = replace(description, network=network).to_json()
    with pytest.raises(UserError, match="are not of its NASBench201Net: 'backbone.stem.0.weight'"):
        read_exported(with_description(path, other), '.safetensors')


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pt2_file_is_run_with_trust_only(files, tmp_path):
    """What PyTorch's reader would unpickle is not even looked at."""
    path, marker = file_of(files, 'nb201', '.pt2'), tmp_path / 'ran'
    with pytest.raises(UserError, match='can run code when PyTorch reads it: add --trust'):
        load_exported(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith('model_constants_config.json'):
                payload = dict(
                    path_name='opaque_obj_0', is_param=False, use_pickle=True, tensor_meta=None
                )
                data = json.dumps(dict(config=dict(x=payload))).encode()
                new.writestr(
                    name.replace('model_constants_config.json', 'opaque_obj_0'),
                    pickle.dumps(Payload(marker)),
                )
            new.writestr(name, data)
    with pytest.raises(UserError, match='add --trust'):
        read_exported(buffer.getvalue(), '.pt2')
    assert not marker.exists()
    with pytest.raises(UserError):
        read_exported(buffer.getvalue(), '.pt2', trust=True)
    if not marker.exists():
        pytest.skip('this PyTorch refuses by itself to run what is in the file')


def test_a_description_calls_nothing(trained, tmp_path):
    """Neither types nor operations of it are imported."""
    marker = tmp_path / 'ran'
    one = trained['nb201'].description
    touch = f'touch {marker}'
    space = dict(type='os.system', command=touch)
    table = dict(type='CellSpace', name='own', cells=dict(cell=dict(num_nodes=4, candidates=['a'])))
    genotype = one.network['genotype']
    named = dict(genotype, cell='|os.system~0|+|none~0|none~1|+|none~0|none~1|none~2|')
    for changes, text in (
        (dict(type='os.system', command=touch), "unknown network 'os.system'"),
        (dict(type='subprocess.Popen'), 'unknown network'),
        (dict(type='AuxiliaryClsHead'), 'unknown network'),
        (dict(space=space), "unknown search space 'os.system'"),
        (dict(space=['os.system']), 'unknown search space'),
        (dict(space=dict(type='mobilenet_like', costs=str(marker))), "'costs' is no argument"),
        (dict(space=dict(LAYERWISE_SPACE, costs=dict(type='os.system'))), "'costs' is no argument"),
        (dict(space=dict(type='nas_bench_201', _scope_='os')), "takes no '_scope_'"),
        (dict(space=table, genotype=named), "unknown operation 'os.system'"),
        (dict(genotype='/etc/passwd'), 'the JSON must be an object'),
        (dict(genotype=dict(genotype, space='/etc/passwd')), "of the space '/etc/passwd', but"),
        (dict(init_cfg=dict(type='Pretrained', checkpoint='x')), "'init_cfg' is no argument"),
        (dict(norm_cfg=[dict(type='os.system')]), "'norm_cfg' is no argument"),
        (dict(widht=3), "Net takes no 'widht'"),
        (dict(channels=-1), 'channels must be'),
        (dict(channels='4'), 'channels must be'),
    ):
        other = replace(one, network={**one.network, **changes})
        with pytest.raises(UserError, match=text):
            Description.from_json(other.to_json()).build(trained['nb201'].net.state_dict())
    assert not marker.exists()


def test_what_mmdet_logs_at_its_import_is_not_shown(trained, monkeypatch):
    """Once: what comes later, or from others, is."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [handler])
    monkeypatch.setattr(logger, 'filters', [])  # that of a config which this process has loaded
    lines = ['Line NMS is not compiled. Most likely', 'another']
    monkeypatch.setattr(MODELS, 'import_from_location', lambda: [*map(logger.warning, lines)])
    one = trained['nb201']
    one.description.build(one.net.state_dict())
    assert [record.getMessage() for record in records] == lines[1:]
    logger.warning(lines[0])
    assert [record.getMessage() for record in records] == lines[::-1]


# Images


def test_top_classes_are_those_of_torch():
    scores = np.random.default_rng(0).standard_normal((6, 11)).astype(np.float32) * 9
    classes, probabilities = top_classes(scores, 5)
    wanted = torch.from_numpy(scores).double().softmax(1).topk(5)
    assert np.array_equal(classes, wanted.indices.numpy())
    assert np.allclose(probabilities, wanted.values.numpy(), rtol=1e-12, atol=0)
    assert top_classes(scores, 20)[0].shape == (6, 11)
    assert np.isfinite(top_classes(scores * 1e30, 3)[1]).all()


def test_images_are_classified_in_their_order(trained, tmp_path):
    """Whatever the batch size; what cannot be read is in its place."""
    rng, paths = np.random.default_rng(0), []
    for number in range(7):
        paths.append(tmp_path / 'all' / f'{number}.png')
        paths[0].parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (32 + number, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    paths[2].write_text('no image')
    predictor = trained['darts'].predictor
    found = {
        size: list(classify(predictor, paths, top=3, batch_size=size)) for size in (1, 2, 3, 100)
    }
    for predictions in found.values():
        assert [prediction.path for prediction in predictions] == paths
        errors = [prediction.error for prediction in predictions]
        assert errors == [None] * 2 + [f'{paths[2]}: unreadable image'] + [None] * 4
        for one, other in zip(predictions, found[1], strict=True):
            assert one.classes == other.classes
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    good = [prediction for prediction in found[1] if prediction.error is None]
    assert len({prediction.probabilities for prediction in good}) == 6


def test_one_image_that_fails_is_named(trained, tmp_path, monkeypatch):
    """Whatever it fails by."""
    paths = []
    for width, height in ((64, 64), (1, 60_000), (65, 64), (66, 64), (67, 64), (64, 65)):
        paths.append(tmp_path / f'{width}_{height}.png')
        Image.new('RGB', (width, height)).save(paths[-1])
    predictor = trained['imagenet'].predictor
    prepare, read = predictor.description.input, inference.read_image

    def prepare_or_fail(image):
        if image.shape[1] == 65:
            raise cv2.error('OpenCV: (-4:Insufficient memory)\nin resize')
        if image.shape[1] == 66:
            raise MemoryError
        return prepare(image)

    def read_or_fail(path):
        if path == paths[4]:
            raise MemoryError('Unable to allocate 2 GiB')
        return read(path)

    monkeypatch.setattr(inference, 'read_image', read_or_fail)
    predictor = replace(
        predictor, description=replace(predictor.description, input=prepare_or_fail)
    )
    found = list(classify(predictor, paths, top=2, batch_size=4))
    assert [prediction.path for prediction in found] == paths
    assert [prediction.error for prediction in found] == [
        None,
        f'{paths[1]}: an image of 1 x 60000 would be resized to 72 x 4320000, but 100,000,000 '
        'pixels are the limit',
        f'{paths[2]}: OpenCV: (-4:Insufficient memory)',
        f'{paths[3]}: MemoryError',
        f'{paths[4]}: Unable to allocate 2 GiB',
        None,
    ]
    assert [len(prediction.classes) for prediction in found] == [2, 0, 0, 0, 0, 2]


def test_images_of_folders(tmp_path):
    for name in ('b.JPG', 'a.png', 'sub/c.jpeg', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    names = ['a.png', 'b.JPG', 'sub/c.jpeg']
    assert find_images([tmp_path]) == [tmp_path / name for name in names]
    assert find_images([tmp_path / 'notes.txt', tmp_path / 'sub']) == [
        tmp_path / 'notes.txt',
        tmp_path / 'sub' / 'c.jpeg',
    ]
    (tmp_path / 'sub' / 'folder.png').mkdir()
    os.mkfifo(tmp_path / 'sub' / 'pipe.png')
    (tmp_path / 'sub' / 'link.png').symlink_to(tmp_path / 'gone')  # to be named as unreadable
    assert find_images([tmp_path / 'sub']) == [
        tmp_path / 'sub' / name for name in ('c.jpeg', 'link.png')
    ]
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'folder.png').mkdir()
    with pytest.raises(UserError, match='no image in .*empty'):
        find_images([tmp_path, tmp_path / 'empty'])
    with pytest.raises(UserError, match='image not found: .*gone'):
        find_images([tmp_path / 'gone'])
    with pytest.raises(UserError, match='image not found: xxx'):
        find_images(['x' * 5000])  # longer than a name can be
