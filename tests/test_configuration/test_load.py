"""Mistakes in a config and in its options: one line, exit code 2."""

from __future__ import annotations

import pytest
from helpers import DIGITS, digits_config, start_fails
from mmengine.config import Config

from rdarts.configuration.load import load_config, set_amp, set_genotype
from rdarts.configuration.options import merge_options, parse_options
from rdarts.errors import UserError

BACKBONE = 'model.backbone'


MISTAKES = [
    # names
    (f'{BACKBONE}.type=rdarts.DARTSSupernt', "did you mean 'rdarts.DARTSSupernet'?"),
    (f'{BACKBONE}.space=nas_bench_21', "search space 'nas_bench_21' (model.backbone.space): did"),
    (f'{BACKBONE}.relaxation.type=rdarts.Sofmax', "did you mean 'Softmax'?"),
    (
        f'{BACKBONE}.relaxation=Sofmax',
        "'Sofmax' (model.backbone.relaxation): did you mean 'Softmax'",
    ),
    (f'{BACKBONE}.mixed_op.type=MixedOpp', "mixed operation 'MixedOpp' (model.backbone.mixed_op)"),
    (
        'default_hooks.architect.type=rdarts.BERArchitectHok',
        "(default_hooks.architect): did you mean 'rdarts.BERArchitectHook'?",
    ),
    ('default_hooks.timer.type=IterTimerHok', "did you mean 'IterTimerHook'?"),
    ('default_hooks.genotype.discretizer=Argmx', "did you mean 'Argmax'?"),
    ('model.type=ImageClasifier', "did you mean 'ImageClassifier'?"),
    ('optim_wrapper.optimizer.type=SDG', "did you mean 'SGD'?"),
    ('train_dataloader.sampler.type=rdarts.SededSampler', "'rdarts.SeededSampler'?"),
    ("custom_hooks=[dict(type='EMAHok')]", "unknown hook 'EMAHok' (custom_hooks.0): did you mean"),
    ('train_dataloader.collate_fn.type=x', 'known: default_collate, '),
    # keys
    ('modle.backbone.channels=4', "unknown key 'modle': did you mean 'model'?"),
    (f'{BACKBONE}.chanels=4', "'chanels': did you mean 'channels'?"),
    ('model.cells_per_stag=2', "did you mean 'model.backbone.cells_per_stage'?"),
    ('default_hooks.architect.lamda_=1', "'lamda_': did you mean 'lambda_'?"),
    ('default_hooks.architct.lambda_=1', "no hook 'architct': did you mean 'architect'?"),
    ('train_cfg.max_epoch=3', "'max_epoch': did you mean 'max_epochs'?"),
    ('train_dataloader.dataset.fracton=.3', "'fracton': did you mean 'fraction'?"),
    ('optim_wrapper.optimizer.momentm=.3', "SGD takes no 'momentm': did you mean 'momentum'?"),
    ('default_hooks.checkpoint.intervall=2', "did you mean 'interval'?"),
    ('default_hooks.checkpoint.by_epoch=False', "takes no 'by_epoch'"),
    ('randomness.sed=1', "did you mean 'seed'?"),
    ('search_split.fraction=.3', 'set train_dataloader.dataset.fraction, arch_dataloader.d'),
    ('cells_per_stag=1', "did you mean 'model.backbone.cells_per_stage'?"),
    ('batch_size=8', "did you mean 'train_dataloader.batch_size' or 'arch_dataloader.batch_s"),
    ('default_hooks.lambda_=1', "is 1: did you mean 'default_hooks.architect.lambda_'?"),
    ('custom_imports.imports=json', 'would change nothing: modules are imported while the config'),
    ('resume=True', 'resume=True would change nothing: the option is --resume'),
    ('foo', "--cfg-options takes KEY=VALUE, but got 'foo'"),
    # values
    (
        'model.head.in_channels=4',
        'the network gives 64 features: set model.head.in_channels=64',
    ),
    ('image_size=0', 'image_size must be a whole number of at least 4'),
    ('epochs=1.5', 'epochs must be a positive integer, but is 1.5'),
    (
        'train_cfg.max_epochs=0',
        'train_cfg.max_epochs must be a whole number of at least 1, but is 0',
    ),
    ('train_cfg.val_interval=0', 'must be a whole number of at least 1, but is 0'),
    ('default_hooks.checkpoint.interval=x', "a whole number of at least 1, but is 'x'"),
    ('default_hooks.checkpoint.minutes=nan', 'a finite number of at least 0, but is nan'),
    ('default_hooks.architect.lambda_=-1', 'must be at least 0 unless signed=True, but is -1'),
    ('default_hooks.architect.lambda_=nan', 'must be a finite number or a dict of points'),
    ('default_hooks.architect.lambda_=dict(points=[(1,1),(0,1)])', 'must have increasing epochs'),
    ('default_hooks.architect.order=3', 'order must be one of 1, 2, but is 3'),
    ('default_hooks.report=none', "but is 'none': none is written None"),
    ('train_dataloader.dataset.fraction=1.5', 'above 0 and below 1, but is 1.5'),
    ('optim_wrapper.clip_grad=5', 'must be a dict of type, max_norm, '),
    ('arch_optimizer.betas=(0.5,)', 'a list of 2: a finite number of at least 0 and below 1 each'),
    ('env_cfg.mp_cfg.mp_start_method=forc', "must be one of 'fork', 'spawn', 'forkserver'"),
    ('launcher=x', "must be one of 'none', 'pytorch', 'slurm', 'mpi', but is 'x'"),
    ('launcher=pytorch', 'launcher=pytorch would change nothing: the option is --launcher'),
    ('compile.modes=x', "compile.modes: compile takes no 'modes': did you mean 'mode'?"),
    ('compile.target=forward', "takes no 'target'"),
    ('randomness=None', 'randomness must be a dict of seed, '),
    ('env_cfg=None', 'env_cfg must be a dict of cudnn_benchmark, '),
    ('launcher=None', "must be one of 'none', 'pytorch', 'slurm', 'mpi', but is None"),
    ('default_hooks.repport=None', "is None: did you mean 'report'?"),
    ('data_preprocessor.to_onehot=True', 'needs model.head.loss.use_soft=True'),
    ('compile.mode=fast', "compile.mode must be one of 'default', 'reduce-overhead'"),
    ('compile.backend=foo', 'compile.backend must be one of '),
    ('custom_hooks=[dict(type=EMAHook,momentum=2)]', 'momentum must be a finite number above 0'),
    ('activation_checkpointing=3', 'activation_checkpointing must be a list: a text each'),
    (
        'model_wrapper_cfg=dict(type=MMDistributedDataParalel)',
        "did you mean 'MMDistributedDataParallel'?",
    ),
    ('load_from=a,b.pth', 'a text with a comma needs quotes'),
    # relations
    ('val_evaluator.topk=20', 'at most the number of classes, 10 (model.head.num_classes), but is'),
    ('data_preprocessor.num_classes=11', 'is 11, but model.head.num_classes is 10'),
    ('train_dataloader.persistent_workers=True', 'set train_dataloader.persistent_workers=False'),
    ('val_cfg=None', 'which val_dataloader needs'),
    ('runner_type=Runner val_cfg=None', 'which val_dataloader needs'),
    ('optim_wrapper.optimizer.momentum=0 optim_wrapper.optimizer.nesterov=True', 'momentum above'),
    ('param_scheduler.begin=100', 'must be above begin, which is 100, but is 100'),
    ('model=None', "model is missing: it is a dict with a 'type'"),
    ('model.head=None', 'model.head is missing, which an ImageClassifier needs'),
    ('model.data_preprocessor.num_classes=3', 'takes the place of the other data_preprocessor'),
    ('model.neck=None', 'model.neck is missing: LinearClsHead takes vectors'),
    ('auto_scale_lr.enable=True', 'base_batch_size is missing, which auto_scale_lr.enable needs'),
    ('data_preprocessor.mean=[1,2]', 'must be of 1 or of model.backbone.in_channels, 3, but is'),
    ('data_preprocessor.mean=None', 'mean is missing: without it std would do nothing'),
    ('default_hooks.checkpoint.save_best=acuracy', "is 'acuracy', but the validation gives acc"),
    (
        'default_hooks.checkpoint.save_best=x '
        'val_evaluator=dict(type=SingleLabelMetric,_delete_=True)',
        "default_hooks.checkpoint.rule is missing, which save_best='x' needs",
    ),
    (
        'default_hooks.checkpoint.save_best=auto val_dataloader=None val_cfg=None '
        'val_evaluator=None',
        'save_best needs a validation',
    ),
    (
        'custom_hooks=[dict(type=EMAHook,begin_epoch=99)]',
        'custom_hooks.0.begin_epoch must be at most train_cfg.max_epochs, 10, but is 99',
    ),
    ('custom_hooks=[dict(type=EarlyStoppingHook,monitor=x)]', "custom_hooks.0.monitor is 'x'"),
    ('arch_optimizer=None', 'is missing, which default_hooks.architect needs'),
]


@pytest.mark.parametrize(('option', 'says'), MISTAKES)
def test_mistakes_in_options(option, says):
    with pytest.raises(UserError) as error:
        load_config(DIGITS, parse_options(option.split()))
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_elements_of_lists_are_set():
    options = ['data_preprocessor.mean=[1,2,3]', 'custom_hooks=[dict(type=EMAHook)]']
    cfg = load_config(DIGITS, parse_options(options))
    merge_options(
        cfg,
        {
            'data_preprocessor.mean.1': 9.0,
            'val_evaluator.topk.0': 2,
            'custom_hooks.0': {'momentum': 0.5},
        },
        'x',
    )
    assert cfg.data_preprocessor.mean == [1, 9.0, 3]
    assert cfg.val_evaluator.topk == (2,)
    assert cfg.custom_hooks == [dict(type='EMAHook', momentum=0.5)]
    with pytest.raises(UserError, match='Index 3 exceeds'):
        merge_options(cfg, {'data_preprocessor.mean.3': 9.0}, 'x')


# of every kind one, and what only the data can say
@pytest.mark.slow
@pytest.mark.parametrize(
    ('option', 'says'),
    [
        MISTAKES[5],
        ('optim_wrapper.type=AmpOptimWrapper', 'needs a GPU: on a CPU, --amp computes in bf'),
        ('activation_checkpointing=[x]', "the model has no module 'x', but data_preprocessor, "),
        ('efficient_conv_bn_eval=backbne', "has no module 'backbne', but data_preprocessor, "),
        ('train_dataloader.batch_size=5000', 'train_dataloader: only 719 images for a'),
        ('arch_dataloader.batch_size=5000', 'arch_dataloader: only 719 images for a'),
    ],
)
def test_mistakes_at_a_start(option, says, tmp_path):
    assert says in start_fails(tmp_path, '--cfg-options', option)


@pytest.mark.slow
def test_mistakes_at_dry_runs(tmp_path):
    for option, says in MISTAKES[-40::8]:  # each refuses them at the place where a load does
        assert says in start_fails(tmp_path, '--dry-run', '--cfg-options', *option.split()), option


def test_mistakes_in_the_config_file(tmp_path):
    line = start_fails(tmp_path, config=DIGITS.with_name('rdarts_nb201_digit.py'))
    assert 'config not found' in line
    assert "did you mean 'configs/search/rdarts_nb201_digits.py'?" in line
    broken = tmp_path / 'broken.py'
    broken.write_text('model = dict(\n')
    assert f'config {broken} cannot be read' in start_fails(tmp_path, config=broken)
    broken.write_text("_base_ = ['./nothing.py']\n")
    assert 'nothing.py' in start_fails(tmp_path, config=broken)


def test_mixed_precision(tmp_path):
    cfg = digits_config(tmp_path)
    set_amp(cfg, 'bf16')
    assert cfg.optim_wrapper.type == 'rdarts.BFloat16OptimWrapper'


NB201 = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


@pytest.mark.parametrize(
    ('config', 'genotype', 'says'),
    [
        ('darts_c10', NB201, 'use one of configs/retrain: nb201_c10, nb201_c100, nb201_digits'),
        ('nb201_c10', 'DARTS_V2', "of the space 'darts', of which rdarts.NASBench201Net makes"),
    ],
)
def test_a_genotype_of_another_form_than_the_networks(config, genotype, says):
    cfg = load_config(DIGITS.parents[1] / 'retrain' / f'{config}.py')
    with pytest.raises(UserError, match=says):
        set_genotype(cfg, genotype)
    assert cfg.model.backbone.genotype is None


def test_detectors_of_a_genotype_are_those_of_its_space():
    """Without mmdetection: what makes a config a detector's is that its model has no head."""
    backbone = dict(type='rdarts.DARTSNet', genotype=None)
    cfg = Config(dict(model=dict(type='RetinaNet', backbone=backbone)))
    names = 'faster-rcnn_nb201_fpn_1x_coco, faster-rcnn_nb201_fpn_1x_voc0712, retinanet_nb201_fpn'
    with pytest.raises(UserError, match=f'use one of configs/detection: {names}'):
        set_genotype(cfg, NB201)
    set_genotype(cfg, 'DARTS_V2')
    assert cfg.model.backbone.genotype.space == 'darts'
