"""From a config to a runner, and the errors of tools/train.py: one line, exit code 2."""

from __future__ import annotations

import copy
import errno
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import digits_config, digits_runner, run_tool, write_small_search
from mmengine.hooks import Hook

from rdarts import cli
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.load import load_config, set_amp
from rdarts.configuration.options import merge_options, parse_options
from rdarts.engine.launch import set_launcher
from rdarts.engine.runner import OwnRunner
from rdarts.engine.work_dir import prepare_work_dir, set_resume
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.models import MixedOp, NASBench201Supernet
from rdarts.utils.commands import shown_path

CONFIG = Path('configs/search/rdarts_nb201_digits.py')
BACKBONE = 'model.backbone'


def fails(tmp_path: Path, *args, config: Path = CONFIG) -> str:
    """The one line of a start that must fail; it leaves no run behind."""
    done = run_tool(['train.py', config, '--work-dir', tmp_path / 'run', *args])
    assert done.code == 2, done.out + done.err
    assert 'Traceback' not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, done.err
    assert not (tmp_path / 'run' / 'search_log.jsonl').exists()
    return lines[0]


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
        load_config(CONFIG, parse_options(option.split()))
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_elements_of_lists_are_set():
    options = ['data_preprocessor.mean=[1,2,3]', 'custom_hooks=[dict(type=EMAHook)]']
    cfg = load_config(CONFIG, parse_options(options))
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
        ('train_dataloader.batch_size=5000', 'train_dataloader: 719 images are fewer than a'),
        ('arch_dataloader.batch_size=5000', 'arch_dataloader: 719 images are fewer than a'),
    ],
)
def test_mistakes_at_a_start(option, says, tmp_path):
    assert says in fails(tmp_path, '--cfg-options', option)


@pytest.mark.slow
def test_forty_mistakes_at_starts(tmp_path):
    for option, says in MISTAKES[-40:]:
        assert says in fails(tmp_path, '--dry-run', '--cfg-options', *option.split()), option


def test_mistakes_in_the_config_file(tmp_path):
    line = fails(tmp_path, config=CONFIG.with_name('rdarts_nb201_digit.py'))
    assert 'config not found' in line
    assert "did you mean 'configs/search/rdarts_nb201_digits.py'?" in line
    broken = tmp_path / 'broken.py'
    broken.write_text('model = dict(\n')
    assert f'config {broken} cannot be read' in fails(tmp_path, config=broken)
    broken.write_text("_base_ = ['./nothing.py']\n")
    assert 'nothing.py' in fails(tmp_path, config=broken)


def test_mistakes_in_arguments(tmp_path):
    if not torch.cuda.is_available():
        assert '--amp fp16 needs a GPU: use --amp bf16' in fails(tmp_path, '--amp', 'fp16')
        assert 'slurm needs GPUs' in fails(tmp_path, '--launcher', 'slurm')
    assert 'fit' in fails(tmp_path, '--cfg-options', 'train_cfg.max_epochs.x=1')


@pytest.mark.slow
def test_bfloat16_leaves_alpha_in_float32(tmp_path):
    small = write_small_search(tmp_path, dict(type='RecordAlpha'), images=48, batch_size=8)
    alphas = {}
    for name, args in dict(bf16=['--amp'], fp32=[], seed=['--seed', '3']).items():
        options = ['--cfg-options', 'train_cfg.max_epochs=1', 'arch_optimizer.lr=3e-4']
        done = run_tool(['train.py', small, '--work-dir', tmp_path / name, *args, *options])
        assert done.code == 0, done.err
        saved = torch.load(tmp_path / name / 'alpha_0_3.pt')
        assert saved['dtypes'] == ['torch.float32']
        alphas[name] = saved['alpha']['cell']
        state = read_checkpoint(tmp_path / name / 'epoch_1_iter_3.pth')
        arch = state['arch']['optimizer']['state'][0]
        assert arch['exp_avg'].dtype == torch.float32
    assert alphas['bf16'].dtype == torch.float32
    # it is another arithmetic, but the same search: three steps of Adam of 3e-4, either way where
    # a gradient is about 0
    assert not torch.equal(alphas['bf16'], alphas['fp32'])
    assert torch.allclose(alphas['bf16'], alphas['fp32'], atol=2 * 3 * 3e-4)
    assert (alphas['bf16'] - alphas['fp32']).abs().mean() < 3e-4
    # alpha's start is of size 1e-3, three steps of Adam of 3e-4
    assert (alphas['seed'] - alphas['fp32']).abs().mean() > 6e-4


@pytest.mark.slow
def test_deterministic(tmp_path):
    small = write_small_search(tmp_path, images=48, batch_size=8)
    states = []
    for name in ('first', 'second'):
        args = ['--deterministic', '--cfg-options', 'train_cfg.max_epochs=1']
        done = run_tool(['train.py', small, '--work-dir', tmp_path / name, *args])
        assert done.code == 0, done.err
        assert 'deterministic=True' in (tmp_path / name / 'config.py').read_text()
        states.append(read_checkpoint(tmp_path / name / 'epoch_1_iter_3.pth')['state_dict'])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# In this process


@pytest.mark.parametrize(
    ('error', 'line', 'code'),
    [
        (UserError('what is wrong'), 'error: what is wrong', 2),
        (RunFailed('what failed'), 'error: what failed', 1),
        # as a data loader's worker sends it
        (
            UserError('Caught UserError in worker 0.\nTraceback ...\nrdarts.errors.UserError: bad'),
            'error: bad',
            2,
        ),
        (Interrupted('stopped', 15), 'stopped', 143),
        (KeyboardInterrupt(), 'stopped at once; what was saved before is kept', 130),
        (
            OSError(errno.ENOSPC, 'No space', 'log.txt'),
            'error: no space left on the disk: log.txt',
            1,
        ),
        (MemoryError(), 'error: out of memory: a smaller train_dataloader.batch_size', 1),
    ],
)
def test_run_guarded(error, line, code, capsys):
    def main():
        raise error

    assert cli.run_guarded(main) == code
    err = capsys.readouterr().err
    assert line in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ('option', 'line'),
    [
        ('foo', "takes KEY=VALUE, but got 'foo'"),
        ('', "takes KEY=VALUE, but got ''"),
        ('a=[1,(2]', "cannot read 'a=[1,(2]': ']' closes no bracket"),
    ],
)
def test_options_that_cannot_be_parsed(option, line, capsys):
    assert cli.run_guarded(lambda: parse_options(['model.x=1', option])) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: --cfg-options') and line in err
    assert len(err.splitlines()) == 1


def test_defects_are_not_hidden(capsys):
    def main():
        raise ZeroDivisionError('a defect')

    with pytest.raises(ZeroDivisionError):
        cli.run_guarded(main)
    assert cli.run_guarded(lambda: None) == 0
    assert cli.run_guarded(lambda: 3) == 3


@pytest.mark.parametrize('flush', [True, False])
def test_a_reader_that_leaves_ends_a_tool_quietly(flush):
    code = (
        'import sys; from rdarts.cli import run_guarded\n'
        'def main():\n'
        '    sys.stdin.read()\n'  # until nobody reads
        f"    for _ in range(3): print('line', flush={flush})\n"
        'sys.exit(run_guarded(main))'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b''
    process.stderr.close()
    assert process.wait(120) == 141


def test_a_broken_pipe_of_ours_is_a_defect(capsys):
    def main():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        cli.run_guarded(main)


def test_only_the_first_rank_says_what_all_find(capsys, monkeypatch):
    def main():
        raise UserError('wrong')

    monkeypatch.setenv('RANK', '1')
    assert cli.run_guarded(main) == 2
    assert capsys.readouterr().err == ''


def test_prepare_work_dir(tmp_path, capsys):
    folder = tmp_path / 'a' / 'b c'
    assert prepare_work_dir(folder, keep=False) == folder
    (folder / 'config.py').write_text('')
    prepare_work_dir(folder, keep=False)  # a start that failed is no run
    assert not (folder / 'previous_1').exists()
    for number in (1, 2):
        for name in ('search_log.jsonl', 'iter_3.pth', 'own_notes.txt'):
            (folder / name).write_text(str(number))
        (folder / 'genotypes').mkdir()
        prepare_work_dir(folder, keep=True)
        assert not (folder / f'previous_{number}').exists()
        prepare_work_dir(folder, keep=False)
        moved = sorted(path.name for path in (folder / f'previous_{number}').iterdir())
        assert {'genotypes', 'iter_3.pth', 'search_log.jsonl'} <= set(moved)
        assert 'own_notes.txt' not in moved
    targets = [shown_path(folder / f'previous_{number}') for number in (1, 2)]
    printed = capsys.readouterr().out
    assert all(f'held an earlier run: moved to {target} (' in printed for target in targets)
    with pytest.raises(UserError, match='cannot be written: Not a directory'):
        prepare_work_dir(folder / 'own_notes.txt' / 'run', keep=False)


def test_resume_without_a_checkpoint_keeps_what_is_there(tmp_path, capsys):
    """As after a kill while an earlier run was moved aside."""
    (tmp_path / 'search_log.jsonl').write_text('rows\n')
    cfg = digits_config(tmp_path)
    set_resume(cfg, True)
    assert not cfg.resume
    assert 'found no checkpoint' in capsys.readouterr().out
    assert (tmp_path / 'previous_1' / 'search_log.jsonl').read_text() == 'rows\n'


def test_checkpoints_are_moved_aside_first(tmp_path, monkeypatch):
    """Ended in between, a start with --resume never mixes two runs."""
    for name in ('iter_1.pth', 'iter_2.pth', 'search_log.jsonl'):
        (tmp_path / name).write_text('')
    moved = []
    monkeypatch.setattr(shutil, 'move', lambda path, target: moved.append(path.name))
    prepare_work_dir(tmp_path, keep=False)
    assert moved == ['iter_2.pth', 'iter_1.pth', 'search_log.jsonl']


def test_a_log_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    runner = digits_runner(tmp_path)
    handler = next(h for h in runner.logger.handlers if isinstance(h, logging.FileHandler))

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, 'No space left on device')

        flush = close = lambda self: None

    handler.stream.close()
    handler.stream = Full()
    for _ in range(2):
        runner.logger.warning('a line')
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if 'lacks lines of the log: no space left on the disk' in line]
    assert len(said) == 1 and not any('Traceback' in line for line in lines)


class _OutOfMemory(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == 1:
            raise MemoryError


def test_an_error_of_the_machine_names_the_last_checkpoint(tmp_path):
    options = {'default_hooks.checkpoint.iter_interval': 1}
    runner = digits_runner(tmp_path, options, hooks=[_OutOfMemory()])
    with pytest.raises(RunFailed, match=r'^out of memory: .*Last good checkpoint: .*iter_1.pth'):
        runner.train()


def test_set_amp_and_launcher(tmp_path):
    cfg = digits_config(tmp_path)
    set_amp(cfg, 'bf16')
    assert cfg.optim_wrapper.type == 'rdarts.BFloat16OptimWrapper'
    set_launcher(cfg, 'none')
    assert cfg.launcher == 'none'
    assert cfg.get('model_wrapper_cfg') is None


# What mmengine is asked to wrap a model with: on a GPU, and on a CPU by set_launcher
WRAPPERS = (None, dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False))


@pytest.mark.parametrize('sampled', [False, True])
@pytest.mark.parametrize('given', WRAPPERS, ids=['gpu', 'cpu'])
def test_unused_parameters_are_allowed_for_where_the_relaxation_samples(given, sampled):
    class Asked:
        def wrap_model(self, model_wrapper_cfg, model):
            return model_wrapper_cfg

    class Runner(OwnRunner, Asked):
        distributed, cfg = True, {}

    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    for module in net.modules():
        if isinstance(module, MixedOp):
            assert module.sampled is False
            module.sampled = sampled
    before = copy.deepcopy(given)
    found = Runner().wrap_model(given, net)
    assert given == before
    if sampled:
        kind = dict(type='MMDistributedDataParallel', broadcast_buffers=False)
        assert found == {**kind, **(given or {}), 'find_unused_parameters': True}
    else:
        assert found is given
    other = dict(type='MMFullyShardedDataParallel')  # which has no such argument
    assert Runner().wrap_model(other, net) == other
    Runner.distributed = False
    assert Runner().wrap_model(given, net) is given
