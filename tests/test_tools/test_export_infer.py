"""A retrained network leaves the toolbox, and classifies images."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TOOLS, Finished, run_tool, write_retrained, write_small_search
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS, TRANSFORMS
from PIL import Image

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.load import load_config
from rdarts.datasets.image_bytes import read_image
from rdarts.deploy.description import KEY
from rdarts.deploy.export import can_write_onnx
from rdarts.deploy.image_input import LIBRARIES
from rdarts.deploy.inference import load_exported
from rdarts.utils.commands import shown_path

for package in ('onnxscript', 'onnxruntime', 'safetensors'):
    pytest.importorskip(package)

NB201 = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
SIZES = ['model.backbone.channels=4', 'model.head.in_channels=16']


def refused(done: Finished, *texts: str) -> None:
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1 and done.err.startswith('error: '), done.err
    assert all(text in done.err for text in texts), done.err


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def run(digits, tmp_path_factory) -> Path:
    """A network that has seen the digits for one epoch, and answers theirs by their numbers.

    What an epoch teaches depends on how a CPU rounds: the last layer is set afterwards.
    """
    folder = tmp_path_factory.mktemp('retrained')
    config = TOOLS.parent / 'configs' / 'retrain' / 'nb201_digits.py'
    options = ['train_cfg.max_epochs=1', 'train_dataloader.dataset.dataset.limit=512', *SIZES]
    done = run_tool(
        ['train.py', config, '--work-dir', folder, '--genotype', NB201, '--cfg-options', *options]
    )
    assert done.code == 0, done.err
    checkpoint = folder / 'epoch_1_iter_8.pth'
    model, state = restore(folder, checkpoint)
    with torch.no_grad():
        features = model.extract_feat(model_input(model, digits[1]))[-1].double()
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        # image i is of class i, the next one comes second, and so on, none near another
        distance = (torch.arange(10) - torch.arange(len(features))[:, None]) % 10
        answers = 5 - distance.double()
        # of the layers that give these answers the one with the smallest weights
        layer = torch.linalg.lstsq(features, answers, driver='gelsd').solution.T
    state['state_dict']['head.fc.weight'].copy_(layer[:, :-1])
    state['state_dict']['head.fc.bias'].copy_(layer[:, -1])
    torch.save(state, checkpoint)
    return folder


def restore(folder: Path, checkpoint: Path) -> tuple[torch.nn.Module, dict]:
    """A run's network with the weights of a checkpoint, and the checkpoint."""
    cfg = load_config(folder / 'config.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
    state = read_checkpoint(checkpoint)
    load_weights(model, state, checkpoint)
    return model, state


def model_input(model: torch.nn.Module, images: np.ndarray) -> torch.Tensor:
    """Pixels [N, H, W, 3] as the network takes them."""
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return model.data_preprocessor(dict(inputs=batch))['inputs']


@pytest.fixture(scope='module')
def exported(run, tmp_path_factory) -> tuple[dict[str, Path], Finished]:
    if not can_write_onnx():
        pytest.skip('this torch writes no ONNX')
    folder = tmp_path_factory.mktemp('exported') / 'new'
    paths = {end: folder / f'net{end}' for end in ('.onnx', '.pt2', '.safetensors')}
    return paths, run_tool(['export.py', run, '--out', *paths.values()])


@pytest.fixture(scope='module')
def digits(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """Test images of the digits as files, and their labels."""
    from rdarts.datasets import Digits

    folder, arrays = tmp_path_factory.mktemp('digits'), None
    data = Digits(split='test', limit=6)
    arrays = data.arrays
    for number, image in enumerate(arrays.images):
        Image.fromarray(image).save(folder / f'{number}.png')
    return folder, arrays.images


@pytest.mark.slow
def test_what_an_export_prints(run, exported):
    paths, done = exported
    assert done.code == 0 and done.err == '', done.err
    lines = done.out.splitlines()
    assert lines[0] == f'net:    NASBench201Net, 11,446 parameters, {run}/epoch_1_iter_8.pth'
    assert lines[1] == 'input:  images [N, 3, 32, 32], RGB'
    assert lines[2] == 'output: logits [N, 10]: 0, 1, 2, ...'
    for line, path in zip(lines[3:6], paths.values(), strict=True):
        assert line.startswith(str(path)) and 'MB  read back: scores within' in line
        assert path.is_file()
    assert lines[6] == f'next:   python tools/infer.py {shown_path(paths[".onnx"])} IMAGES'
    assert sorted(item.name for item in paths['.onnx'].parent.iterdir()) == [
        *('net.onnx', 'net.pt2', 'net.safetensors')
    ]


@pytest.mark.slow
@pytest.mark.parametrize('source', ['.onnx', '.pt2', '.safetensors', 'work dir', 'checkpoint'])
def test_the_table_is_torchs_topk(source, run, exported, digits, tmp_path):
    folder, images = digits
    checkpoint = run / 'epoch_1_iter_8.pth'
    model, _ = restore(run, checkpoint)
    with torch.no_grad():
        wanted = model(model_input(model, images), mode='tensor').double().softmax(1).topk(3)
    assert wanted.indices.tolist() == [[i, i + 1, i + 2] for i in range(6)]
    args = dict(
        zip(
            ('work dir', 'checkpoint', '.pt2'),
            (
                [run],
                [run / 'config.py', '--checkpoint', checkpoint],
                [exported[0]['.pt2'], '--trust'],
            ),
            strict=True,
        )
    ).get(source) or [exported[0][source]]
    out = tmp_path / 'table.csv'
    done = run_tool(
        ['infer.py', args[0], folder, '--top', 3, '--batch-size', 4, '--out', out, *args[1:]]
    )
    assert done.code == 0 and done.err == '', done.err
    rows = rows_of(out)
    assert list(rows[0]) == ['image', 'rank', 'class', 'name', 'probability']
    assert [row['image'] for row in rows] == [
        str(folder / f'{number}.png') for number in range(6) for _ in range(3)
    ]
    assert [row['rank'] for row in rows] == ['1', '2', '3'] * 6
    assert [int(row['class']) for row in rows] == wanted.indices.flatten().tolist()
    assert all(row['name'] == row['class'] for row in rows)  # the digits are named as numbered
    found = [float(row['probability']) for row in rows]
    assert found == pytest.approx(wanted.values.flatten().tolist(), abs=1e-4)
    lines = done.out.splitlines()
    assert lines[0].split() == ['image', 'probability', 'class'] and len(lines) == 1 + 18
    first = [str(folder / '0.png'), f'{100 * found[0]:.2f}', '%', rows[0]['name']]
    assert lines[1].split() == first and lines[2].split() == [
        *(f'{100 * found[1]:.2f}', '%', rows[1]['name'])
    ]


@pytest.mark.slow
def test_layers_leave_as_cells_do(digits, tmp_path):
    """A MobileNet-like network whose search had a cost table that is gone."""
    space = dict(type='mobilenet_like', widths=[8, 16], depths=[2, 1], strides=[2, 2])
    mbconvs = [f'mbconv_k{kernel}_e{expansion}' for kernel in (3, 5, 7) for expansion in (3, 6)]
    layers = [dict.fromkeys([*mbconvs, 'skip_connect'], 1.0)] * 3
    costs = tmp_path / 'costs.json'
    name = 'mobilenet_like_w8_16_d2_1_s2_2'
    costs.write_text(json.dumps(dict(space=name, unit='ms', costs=dict(layerwise=layers))))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=36, interpolation='bicubic', backend='pillow'),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ]
    run = write_retrained(
        tmp_path / 'run',
        'mobilenet_like_imagenet',
        'mbconv_k3_e3 - mbconv_k5_e6 - mbconv_k7_e3',
        {
            'model.backbone.space': dict(space, costs=str(costs), _delete_=True),
            'model.backbone.stem_channels': 4,
            'model.backbone.first_channels': 4,
            'model.backbone.last_channels': 32,
            'model.head.in_channels': 32,
            'num_classes': 10,
            'test_dataloader.dataset.pipeline': pipeline,
        },
    )
    costs.unlink()
    endings = ['.pt2', '.safetensors', *(['.onnx'] if can_write_onnx() else [])]
    nets = [tmp_path / f'net{ending}' for ending in endings]
    done = run_tool(['export.py', run, '--out', *nets])
    assert done.code == 0 and done.err == '', done.err
    lines = done.out.splitlines()
    assert lines[0].startswith('net:    MobileNetLikeNet, ')
    end = 3 + len(nets)
    differences = [re.search('within (.*) of the network', line)[1] for line in lines[3:end]]
    assert max(map(float, differences)) < 1e-4
    assert lines[end] == f'next:   python tools/infer.py {shown_path(nets[0])} IMAGES --trust'
    tables = []
    for source in (run, *nets):
        out = tmp_path / 'table.csv'
        done = run_tool(
            ['infer.py', source, digits[0], '--top', 10, '--batch-size', 4, '--out', out, '--trust']
        )
        assert done.code == 0 and done.err == '', done.err
        tables.append(
            {(row['image'], row['class']): float(row['probability']) for row in rows_of(out)}
        )
    wanted = tables[0]
    assert len(wanted) == 60 and np.std([*wanted.values()]) > 0.05  # else anything would be near
    for table in tables[1:]:
        assert table == pytest.approx(wanted, abs=1e-4)


@pytest.mark.slow
def test_names_that_are_no_utf_8(run, digits, tmp_path):
    """In a process of its own, whose output is nothing but the table."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b'/\xff'))
    folder.mkdir()
    good, bad = folder / 'good.png', folder / 'bad.png'
    good.write_bytes((digits[0] / '0.png').read_bytes())
    bad.write_text('no image')
    out = folder / 'table.csv'
    done = subprocess.run(
        [sys.executable, TOOLS / 'infer.py', run, folder, '--top', '1', '--out', out],
        capture_output=True,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONIOENCODING='utf-8:strict'),
        timeout=120,
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1 and len(lines) == 2, done
    assert lines[0].split() == ['image', 'probability', 'class']
    assert lines[1].startswith(f'{tmp_path}/\\xff/good.png  ')
    assert lines[0].index('probability') == len(f'{tmp_path}/\\xff/good.png  ')
    assert done.stderr.decode() == f'{tmp_path}/\\xff/bad.png: unreadable image\n'
    assert [row['image'] for row in rows_of(out)] == [f'{tmp_path}/\\xff/good.png']
    net = folder / 'net.safetensors'
    exported = run_tool(['export.py', run, '--out', net])
    assert exported.code == 0 and net.is_file(), exported.err
    assert exported.out.splitlines()[3].startswith(f'{tmp_path}/\\xff/net.safetensors  ')


@pytest.mark.slow
def test_a_config_and_a_checkpoint(run, tmp_path):
    config = TOOLS.parent / 'configs' / 'retrain' / 'nb201_digits.py'
    out = tmp_path / 'net.safetensors'
    options = ['--genotype', NB201, '--cfg-options', *SIZES]
    done = run_tool(['export.py', config, run, '--out', out, *options])
    assert done.code == 0, done.err
    again = tmp_path / 'again.safetensors'
    assert run_tool(['export.py', run, '--out', again]).code == 0
    assert out.read_bytes() == again.read_bytes()


@pytest.mark.slow
def test_an_image_that_cannot_be_read(exported, digits, tmp_path):
    folder, _ = digits
    broken, cut = tmp_path / 'broken.png', tmp_path / 'cut.jpg'
    broken.write_text('no image')
    Image.new('RGB', (64, 64)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-20])
    out = tmp_path / 'table.csv'
    images = [broken, folder / '0.png', cut, folder / '1.png']
    done = run_tool(
        ['infer.py', exported[0]['.onnx'], *images, '--top', 1, '--out', out], timeout=60
    )
    assert done.code == 1
    assert done.err.splitlines() == [f'{broken}: unreadable image', f'{cut}: unreadable image']
    assert [row['image'] for row in rows_of(out)] == [str(images[1]), str(images[3])]
    assert len(done.out.splitlines()) == 3


@pytest.mark.slow
def test_fewer_classes_than_asked_for(exported, digits):
    image = digits[0] / '0.png'
    done = run_tool(['infer.py', exported[0]['.safetensors'], image, '--top', 99])
    assert done.code == 0 and len(done.out.splitlines()) == 11
    done = run_tool(['infer.py', exported[0]['.safetensors'], image])
    assert len(done.out.splitlines()) == 6


@pytest.mark.slow
@pytest.mark.data
def test_photographs_as_the_test_pipeline_sees_them(data_root, tmp_path):
    """An ImageNet network on JPEG files: what mmpretrain's transforms and network give."""
    root = data_root / 'imagenet_mini'
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=73, edge='short'),
        dict(type='CenterCrop', crop_size=64),
        dict(type='PackInputs'),
    ]
    run = write_retrained(
        tmp_path / 'run',
        'darts_image_folder',
        'DARTS_V2',
        {
            'model.backbone.channels': 4,
            'model.backbone.num_cells': 3,
            'model.head.in_channels': 64,
            'model.head.auxiliary.in_channels': 64,
            'test_dataloader.dataset.pipeline': pipeline,
            'num_classes': 10,
            'test_dataloader.dataset.data_root': str(root),
        },
    )
    images = [
        path for folder in sorted((root / 'val').iterdir()) for path in [*folder.iterdir()][:1]
    ]
    cfg = load_config(run / 'config.py')
    scores = []
    with DefaultScope.overwrite_default_scope('mmpretrain'), torch.no_grad():
        model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
        load_weights(model, read_checkpoint(run / 'epoch_1_iter_1.pth'), run)
        for path in images:
            sample = dict(img_path=str(path))
            for transform in pipeline:
                sample = TRANSFORMS.build(transform)(sample)
            inputs = model.data_preprocessor(dict(inputs=sample['inputs'][None]))['inputs']
            scores.append(model(inputs, mode='tensor')[0])
    wanted = torch.stack(scores).double().softmax(1).topk(5)
    net, out = tmp_path / 'net.safetensors', tmp_path / 'table.csv'
    done = run_tool(['export.py', run, '--out', net])
    assert done.code == 0, done.err
    done = run_tool(['infer.py', net, *images, '--out', out])
    assert done.code == 0, done.err
    rows = rows_of(out)
    assert [int(row['class']) for row in rows] == wanted.indices.flatten().tolist()
    found = [float(row['probability']) for row in rows]
    assert found == pytest.approx(wanted.values.flatten().tolist(), abs=1e-5)
    names = sorted(folder.name for folder in (root / 'train').iterdir())
    assert [row['name'] for row in rows] == [names[int(row['class'])] for row in rows]


def programs() -> dict[str, str]:
    text = (TOOLS.parent / 'docs' / 'en' / 'export.md').read_text(encoding='utf-8')
    return dict(re.findall(r'<!-- example: (\S+) -->\n```python\n(.*?)```', text, re.DOTALL))


@pytest.mark.slow
def test_programs_as_the_page_says(exported, digits, tmp_path, monkeypatch, capsys):
    large = tmp_path / 'more_photos' / '0.png'
    large.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(large)
    images = [large, *(digits[0] / f'{number}.png' for number in range(6))]
    out = tmp_path / 'table.csv'
    done = run_tool(['infer.py', exported[0]['.onnx'], *images, '--top', 1, '--out', out])
    assert done.code == 0, done.err
    names = [row['name'] for row in rows_of(out)]
    assert names[1:] == [str(number) for number in range(6)]
    for image, name in zip(images, names, strict=True):
        monkeypatch.setattr(sys, 'argv', ['classify.py', str(exported[0]['.onnx']), str(image)])
        exec(programs()['classify.py'], {})
        assert capsys.readouterr().out == f'{name}\n'
    (tmp_path / 'net.safetensors').symlink_to(exported[0]['.safetensors'])
    monkeypatch.chdir(tmp_path)
    exec(programs()['predict.py'], {})
    assert capsys.readouterr().out == f'more_photos/0.png {names[0]}\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('library', 'interpolation'),
    [(library, name) for library, known in LIBRARIES.items() for name in known],
)
def test_the_program_knows_every_resize(
    library, interpolation, exported, tmp_path, monkeypatch, capsys
):
    """Its input is that of the toolbox."""
    import onnx

    model = onnx.load(exported[0]['.onnx'])
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    data = json.loads(entry.value)
    step = dict(type='resize', library=library, interpolation=interpolation)
    data['preprocessing']['steps'] = [
        dict(step, size=48), dict(step, size=[40, 36]), dict(type='center_crop', size=[32, 32])
    ]  # fmt: skip
    entry.value = json.dumps(data)
    net, photo = tmp_path / 'net.onnx', tmp_path / 'photo.png'
    onnx.save(model, net)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    monkeypatch.setattr(sys, 'argv', ['classify.py', str(net), str(photo)])
    scope = {}
    exec(programs()['classify.py'], scope)
    predictor = load_exported(net)
    wanted = predictor.description.input(read_image(photo))
    assert wanted.std() > 0.1
    assert np.array_equal(scope['image'].transpose(2, 0, 1), wanted)
    name = predictor.description.classes[predictor.scores(wanted[None]).argmax()]
    assert capsys.readouterr().out == f'{name}\n'


# What does not fit


@pytest.mark.slow
def test_exports_that_are_refused(run, tmp_path):
    out = ['--out', tmp_path / 'net.safetensors']
    refused(run_tool(['export.py', run, '--out', 'net.tflite']), 'net.tflite: the format follows')
    (tmp_path / 'file').write_text('')
    done = run_tool(['export.py', run, '--out', tmp_path / 'file' / 'net.onnx'])
    refused(done, 'net.onnx cannot be written')
    refused(run_tool(['export.py', tmp_path, *out]), f'{tmp_path} holds no config.py')
    empty = tmp_path / 'empty'
    empty.mkdir()
    (empty / 'config.py').write_text((run / 'config.py').read_text())
    refused(run_tool(['export.py', empty, *out]), f'no checkpoint in {empty}')
    search = write_small_search(tmp_path)
    refused(run_tool(['export.py', search, run, *out]), 'small.py is a search', 'train the one')
    config = TOOLS.parent / 'configs' / 'retrain' / 'nb201_digits.py'
    refused(run_tool(['export.py', config, run, *out]), 'needs a genotype: --genotype FILE')
    options = ['--genotype', NB201]
    refused(run_tool(['export.py', config, run, *out, *options]), 'does not fit this network')
    assert not (tmp_path / 'net.safetensors').exists()


@pytest.mark.slow
def test_classifications_that_are_refused(run, exported, digits, tmp_path):
    net, image = exported[0]['.safetensors'], digits[0] / '0.png'
    empty = tmp_path / 'empty'
    empty.mkdir()
    refused(run_tool(['infer.py', net, empty]), f'no image in {empty}')
    refused(run_tool(['infer.py', net, tmp_path / 'gone.png']), 'image not found')
    refused(run_tool(['infer.py', net, image, '--top', 0]), '--top must be 1 or more, but is 0')
    refused(run_tool(['infer.py', net, image, '--batch-size', 0]), '--batch-size must be 1')
    (tmp_path / 'file').write_text('')
    done = run_tool(['infer.py', net, image, '--out', tmp_path / 'file' / 'table.csv'])
    refused(done, 'table.csv cannot be written')
    before = image.read_bytes()
    done = run_tool(['infer.py', net, digits[0], '--out', image])
    refused(done, f'--out {image}: the table is written as CSV: give a name in .csv')
    assert image.read_bytes() == before
    refused(run_tool(['infer.py', exported[0]['.pt2'], image]), 'add --trust')
    gone = tmp_path / 'gone.onnx'
    refused(run_tool(['infer.py', gone, image]), f'{gone} cannot be read')
    for ending, path in exported[0].items():
        damaged = tmp_path / f'damaged{ending}'
        damaged.write_bytes(path.read_bytes()[:-1500])
        refused(run_tool(['infer.py', damaged, image, '--trust']), f'{damaged}: damaged')
    from safetensors.torch import save_file

    plain = tmp_path / 'plain.safetensors'
    save_file(dict(x=torch.zeros(1)), plain)
    refused(run_tool(['infer.py', plain, image]), 'tools/export.py did not write it')
    checkpoint = next(run.glob('*.pth'))
    refused(run_tool(['infer.py', checkpoint, image]), 'a checkpoint alone does not say')
    refused(run_tool(['infer.py', tmp_path / 'net.pb', image]), 'net.pb: not found')


@pytest.mark.slow
def test_what_is_left_of_a_failed_export(run, tmp_path):
    net = tmp_path / 'net.safetensors'
    net.mkdir()
    done = run_tool(['export.py', run, '--out', tmp_path / 'net.onnx', net])
    refused(done, f'{net} cannot be written: it is a folder')
    assert [item.name for item in tmp_path.iterdir()] == ['net.safetensors']
