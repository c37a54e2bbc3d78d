"""A step of a retraining reads nothing from its device: the loop does, once, when it is taken.

On the ``meta`` device, as in :mod:`test_architect.test_host_reads`.
"""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from no_copies import NoCopies

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, set_genotype
from rdarts.engine.optimizers import note_norms, take_norms
from rdarts.utils import host

CELL = '|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
LAYERS = ' - '.join(['mbconv_k3_e3', 'mbconv_k5_e6', 'mbconv_k7_e3'] * 7)
CASES = dict(
    darts_c10=('DARTS_V2', dict(channels=8, num_cells=6, drop_path=0.1)),
    nb201_c10=(CELL, dict(channels=8, cells_per_stage=1)),
    mobilenet_like_imagenet=(LAYERS, {}),
)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('name', CASES)
def test_a_step_of_every_network(name, execution, monkeypatch):
    monkeypatch.setattr(host, 'read', None)
    genotype, sizes = CASES[name]
    options = {f'model.backbone.{key}': value for key, value in sizes.items()}
    cfg = load_config(str(configs_folder() / 'retrain' / f'{name}.py'), options)
    set_genotype(cfg, genotype)
    cfg.model.backbone.execution = execution
    if cfg.model.head.loss.type == 'LabelSmoothLoss':  # mmpretrain's, which reads the largest label
        cfg.model.head.loss = dict(type='CrossEntropyLoss')
    cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).to('meta').train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    note_norms(wrapper)
    wrapper.initialize_count_status(model, 0, 10)
    samples = [DataSample().set_gt_label(label).to('meta') for label in (1, 2)]
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, device='meta')
    batch = dict(inputs=images, data_samples=samples)
    model.train_step(batch, wrapper)  # what is kept on the device is made here
    take_norms(wrapper)
    with NoCopies():
        losses = model.train_step(batch, wrapper)
    assert losses['loss'].is_meta
    clips = cfg.optim_wrapper.get('clip_grad') is not None
    assert [norm.is_meta for norm in take_norms(wrapper).values()] == [True] * clips
