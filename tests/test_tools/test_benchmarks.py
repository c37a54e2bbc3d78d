"""``tools/benchmarks``: what is counted, how it is divided, and what a user sees."""

from __future__ import annotations

import functools
import importlib
import json
import re

import pytest
import torch
import torch.nn.functional as F
from helpers import TOOLS, digits_config, digits_runner, run_tool
from mmengine.hooks import Hook
from test_architect.tiny_search import architect_of

from rdarts.configuration.load import load_config, set_amp
from rdarts.errors import RunFailed, UserError
from rdarts.models.backbones import base_supernet

TINY = ['--width', 4, '--depth', 1, '--image-size', 8, '--batch-size', 2, '--threads', 1,
        '--steps', 1, '--warmup', 0]  # fmt: skip
PLAIN = ['--executions', 'plain', 'plain_channels_last']
needs_fused = pytest.mark.skipif(
    'fused' not in base_supernet.EXECUTIONS, reason='there is no execution fused yet'
)
run_slowly = functools.partial(run_tool, timeout=400)  # matrix products on a busy machine


@pytest.fixture
def tool(monkeypatch):
    """Import a file of ``tools/benchmarks`` as it imports its neighbours."""
    monkeypatch.syspath_prepend(str(TOOLS / 'benchmarks'))
    return importlib.import_module


def tiny_args(common, *options):
    import arguments

    parser = arguments.make_parser('', steps=1, warmup=0)
    args = parser.parse_args([str(o) for o in (*TINY, *PLAIN, *options)])
    common.check_args(args)
    return args


def nb201_macs(width, size):
    """Multiply-adds of an image, N 1: forward, of the stem, of the 3 edges that leave the input."""
    stem = 3 * width * 9 * size**2
    cells = [6 * (9 + 1) * w * w * s * s for w, s in levels(width, size)]
    blocks = [(9 * w // 2 * w + 9 * w * w + w // 2 * w) * s * s for w, s in levels(width, size)[1:]]
    head = 4 * width * 10
    return stem + sum(cells) + sum(blocks) + head, stem, cells[0] // 2


def levels(width, size):
    return [(width << i, size >> i) for i in range(3)]


@pytest.mark.parametrize(('width', 'size'), [(4, 8), (6, 12)])
@pytest.mark.parametrize('order', [1, 2])
def test_the_work_of_a_step_by_hand(tool, width, size, order):
    common = tool('common')
    forward, stem, first = nb201_macs(width, size)
    # gradients: of all inputs but the images, and of all weights
    weight_step = forward + (forward - stem) + forward
    # of inputs alone, and there only where alpha is above: not of the stem's output
    alpha_step = forward + (forward - stem - first)
    if order == 2:
        # L_train(w) and L_val(w') for the weights, then L_train(w +- radius v) for alpha
        alpha_step = 2 * weight_step + 2 * alpha_step
    args = tiny_args(common, '--width', width, '--image-size', size, '--order', order)
    assert common.count_work(args) == 2 * 2 * (alpha_step + weight_step)


@pytest.mark.parametrize('groups', [1, 2, 6])
def test_gradients_cost_what_the_forward_pass_does(tool, groups):
    common = tool('common')
    forward = 2 * 5 * (4 * 4) * 6 * (6 // groups) * 9  # 5 images, 4 x 4 pixels left of 8 x 8

    def run(image, weight):
        x = torch.randn(5, 6, 8, 8, requires_grad=image)
        w = torch.randn(6, 6 // groups, 3, 3, requires_grad=weight)
        y = F.conv2d(x, w, stride=2, padding=1, groups=groups)
        if image or weight:
            y.sum().backward()

    flags = (False, True)
    counts = [common.count_flop(lambda i=i, w=w: run(i, w)) for i in flags for w in flags]
    assert counts == [forward, 2 * forward, 2 * forward, 3 * forward]


def test_figures_are_medians_and_their_quotients(tool):
    step_time, common = tool('step_time'), tool('common')
    args = tiny_args(common, '--amp')
    times = dict(
        plain=[(8.0, 0.1), (4.0, 0.02), (5.0, 0.04)],
        plain_channels_last=[(3.0, 0.04)] * 3,
        fused=[(2.04, 0.04), (2.0, 0.04), (9.0, 0.04)],
        plain_amp=[(2.5, 5.0)] * 3,
        fused_amp=[(1.02, 5.0)] * 3,
    )
    found = step_time.summarise(args, times, work=6_000_000_000, rate=2e9)
    assert (found['plain_s'], found['plain_channels_last_s'], found['fused_s']) == (5, 3, 2.04)
    assert found['ratio'] == pytest.approx(5 / 2.04)
    assert found['work_gflop'] == 6 and found['matrix_rate_gflops'] == 2
    assert found['limit_ratio'] == pytest.approx(3 / 2.04)
    assert found['plain_limit_ratio'] == pytest.approx(3 / 5)
    assert found['images_per_s'] == pytest.approx(2 * 2 / 2.04)
    assert found['ber_share'] == pytest.approx(0.04 / 2)
    assert found['amp_ratio'] == pytest.approx(2) and found['plain_amp_ratio'] == 2
    assert found['plain_channels_last_amp_s'] is None
    del times['fused']
    found = step_time.summarise(args, times, work=6_000_000_000, rate=2e9)
    for key in ('fused_s', 'ratio', 'limit_ratio', 'images_per_s', 'amp_ratio'):
        assert found[key] is None


class Iteration(Hook):
    """Notes what an iteration starts from, its batch, and what it leaves."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        self.start = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batch, self.architect = data_batch, architect_of(runner)
        optimizers = (self.architect.optimizer, runner.optim_wrapper.optimizer)
        self.gradients = note_gradients(*optimizers)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.end = {key: value.clone() for key, value in runner.model.state_dict().items()}


def note_gradients(*optimizers):
    """A list that gets the gradients of every step of the optimizers."""
    found = []
    for optimizer in optimizers:
        optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: found.append(
                [p.grad.clone() for group in optimizer.param_groups for p in group['params']]
            )
        )
    return found


@pytest.mark.parametrize(('order', 'amp'), [(1, False), (2, False), (1, True)])
def test_a_step_is_an_iteration_of_a_real_search(tool, tmp_path, order, amp):
    common = tool('common')
    cifar = load_config(common.CONFIGS / 'rdarts_nb201_c10.py')
    options = {
        'model.backbone.execution': 'plain',
        'arch_optimizer': cifar.arch_optimizer,
        'data_preprocessor.mean': cifar.data_preprocessor.mean,
        'data_preprocessor.std': cifar.data_preprocessor.std,
        'default_hooks.architect.order': order,
    }
    cfg = digits_config(tmp_path, options)
    if amp:
        set_amp(cfg, 'bf16')
    real = Iteration()
    runner = digits_runner(
        tmp_path, options, images=16, hooks=[real], optim_wrapper=cfg.optim_wrapper
    )
    runner.train()
    args = tiny_args(common, '--width', 2, '--order', order)
    search = common.Search(args, 'plain', amp, real.start)
    search.batches.update(train=real.batch, val=real.architect.last_batch)
    gradients = note_gradients(search.architect.optimizer, search.optim_wrapper.optimizer)
    seconds, part = search.step()
    assert 0 < part < seconds
    assert [len(step) for step in gradients] == [1, len(search.weights)]
    torch.testing.assert_close(gradients, real.gradients)
    assert search.model.state_dict().keys() == real.end.keys()
    for key, value in search.model.state_dict().items():
        torch.testing.assert_close(value, real.end[key], rtol=1e-6, atol=1e-7)
    assert not torch.equal(search.alphas['cell'], real.start['backbone.arch_parameters.cell'])


def test_a_step_without_a_loss_is_no_measurement(tool):
    common = tool('common')
    search = common.Search(tiny_args(common), 'plain')
    search.step()
    with torch.no_grad():
        search.model.head.fc.bias.fill_(torch.nan)
    with pytest.raises(RunFailed, match='L_val became nan'):
        search.step()


@pytest.mark.parametrize('space', ['nb201', 's4'])
def test_every_execution_takes_the_same_step(tool, space):
    common = tool('common')
    args = tiny_args(common, '--space', space)
    plain = common.Search(args, 'plain')
    start = {key: value.clone() for key, value in plain.model.state_dict().items()}
    other = common.Search(args, 'plain_channels_last', state=start)
    assert not plain.batches['train']['inputs'].is_contiguous(memory_format=torch.channels_last)
    for name in ('train', 'val'):
        images = other.batches[name]['inputs']
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, plain.batches[name]['inputs'])
    weights = [p for p in other.model.parameters() if p.dim() > 3]
    for weight in weights:
        rows = weight.unbind(0) if weight.dim() == 5 else [weight]
        assert all(row.is_contiguous(memory_format=torch.channels_last) for row in rows)
    for search in (plain, other):
        torch.manual_seed(1)  # S4's noise
        search.step()
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[key], value, rtol=1e-3, atol=1e-4)
    changed = {
        key for key, value in plain.model.state_dict().items() if (value != start[key]).any()
    }
    assert {f'backbone.arch_parameters.{name}' for name in plain.alphas} <= changed
    assert {'backbone.stem.0.weight', 'head.fc.weight'} <= changed


def test_layers_computed_anew_are_the_same_step_in_less_memory(tool):
    common, memory = tool('common'), tool('memory')
    sizes = ('--space', 'mobilenet_like', '--width', '8', '--depth', '2')
    args = tiny_args(common, *sizes)
    again = tiny_args(common, *sizes, '--checkpoint')
    searches = [common.Search(one, 'plain') for one in (args, again)]
    assert [search.supernet.checkpoint for search in searches] == [False, True]
    assert [len(search.supernet.layers) for search in searches] == [11, 11]
    assert searches[0].supernet.space.stages[-1].width == 160
    for search in searches:
        search.step()
    first, second = (search.model.state_dict() for search in searches)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-5, atol=1e-6)
    assert common.count_work(again) == common.count_work(args)
    large = dict(batch_size=16, image_size=32, steps=1, warmup=0, executions=['plain'])
    peaks = []
    for one in (args, again):
        vars(one).update(large)
        peaks.append(memory.measure_apart(one, 'plain')['mb'])
    assert peaks[1] < 0.6 * peaks[0]
    assert 'each computed anew' in common.heading(again)


def test_amp_runs_convolutions_in_bfloat16(tool):
    common = tool('common')
    args = tiny_args(common)
    for amp, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        search = common.Search(args, 'plain', amp)
        seen = []
        search.supernet.stem[0].register_forward_hook(
            lambda *io, seen=seen: seen.append(io[2].dtype)
        )
        search.step()
        assert seen == [dtype, dtype]
        assert all(p.dtype == torch.float32 for p in search.model.parameters())


KEYS = {
    'plain_s', 'plain_channels_last_s', 'fused_s', 'ratio', 'limit_ratio', 'plain_limit_ratio',
    'images_per_s', 'plain_images_per_s', 'ber_share', 'work_gflop', 'matrix_rate_gflops', 'space',
    'batch_size', 'width', 'depth', 'image_size', 'order', 'amp', 'steps', 'warmup', 'threads',
    'seed', 'executions', 'checkpoint', 'device', 'cpu', 'bf16_instructions', 'torch', 'rdarts',
    'python',
}  # fmt: skip


def test_step_time_prints_one_object(tool):
    done = run_slowly(['benchmarks/step_time.py', *TINY, *PLAIN, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert set(found) == KEYS
    assert found['fused_s'] is None and found['ratio'] is None
    forward, stem, first = nb201_macs(4, 8)
    assert found['work_gflop'] == 4 * (5 * forward - 2 * stem - first) / 1e9
    limit = found['work_gflop'] / found['matrix_rate_gflops']
    assert found['plain_limit_ratio'] == pytest.approx(limit / found['plain_s'])
    assert found['plain_images_per_s'] == pytest.approx(4 / found['plain_s'])
    assert (found['space'], found['depth'], found['threads']) == ('nb201', 1, 1)
    assert found['executions'] == ['plain', 'plain_channels_last']


def test_step_time_prints_a_table_with_units():
    done = run_slowly(
        ['benchmarks/step_time.py', *TINY, '--space', 's1', '--amp', '--executions', 'plain']
    )
    assert (done.code, done.err) == (0, '')
    assert 's1, C 4, 1 cells, batch 2, 8 x 8 pixels, order 1, 1 threads' in done.out
    for word in ('s a step', 'images/s', 'x plain', 'GFLOP/s', 'BER adds'):
        assert word in done.out
    rows = [line.split() for line in done.out.splitlines() if line.startswith('plain')]
    assert [row[0] for row in rows] == ['plain', 'plain_amp'] and rows[0][3] == '1.00'


@needs_fused
@pytest.mark.parametrize('space', ['nb201', 'darts'])
def test_step_time_compares_fused(space):
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--space', space, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert found['executions'] == ['plain', 'plain_channels_last', 'fused']
    assert found['ratio'] == pytest.approx(found['plain_s'] / found['fused_s'])
    assert found['images_per_s'] == pytest.approx(4 / found['fused_s'])
    limit = found['work_gflop'] / found['matrix_rate_gflops']
    assert found['limit_ratio'] == pytest.approx(limit / found['fused_s'])


@pytest.mark.parametrize('name', ['step_time', 'memory'])
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--space', 'nb20'], "--space: unknown space 'nb20': did you mean 'nb201'?"),
        (['--batch-size', '0'], '--batch-size must be 1 or more, but is 0'),
        (['--width', 'wide'], "argument --width: invalid int value: 'wide'"),
        (['--warmup', '-1'], '--warmup must be 0 or more, but is -1'),
        (['--order', '3'], '--order must be 1 or 2, but is 3'),
        (['--checkpoint'], '--checkpoint is for --space mobilenet_like, not nb201'),
        (['--executions', 'plane'], "unknown execution 'plane': did you mean 'plain'?"),
        (['--speed'], 'unrecognized arguments: --speed'),
    ],
)
def test_mistakes_are_one_line(name, options, message):
    done = run_slowly([f'benchmarks/{name}.py', *TINY, *PLAIN, *options])
    assert done.code == 2 and done.out == ''
    assert message in done.err and len(done.err.strip().splitlines()) == 1


# Memory

MB = 2**20


def test_ratios_of_memory(tool):
    memory, common = tool('memory'), tool('common')
    args = tiny_args(common, '--amp')
    one = dict(idle_mb=500.0, mb=80.0, method='VmHWM')
    found = memory.summarise(args, dict(plain=one, fused=dict(one, mb=20.0, method='sampled')))
    assert found['ratio'] == 0.25 and found['methods'] == ['VmHWM', 'sampled']
    assert (found['plain_mb'], found['plain_idle_mb'], found['plain_amp_mb']) == (80, 500, None)


@pytest.mark.slow
def test_memory_measures_each_execution_apart():
    options = [*TINY, '--image-size', 32, '--batch-size', 16, '--executions', 'plain', '--amp']
    done = run_slowly(['benchmarks/memory.py', *options, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert found['ratio'] is None and found['fused_mb'] is None
    # the cells' activations alone: 6 edges x 4 results of the operations and of their norms
    least = 16 * sum(w * s * s for w, s in levels(4, 32)) * 6 * 4 * 4 / MB
    for key in ('plain_mb', 'plain_amp_mb'):
        assert least / 2 < found[key] < 400
    assert found['plain_idle_mb'] > 100


@pytest.mark.slow
@needs_fused
def test_memory_compares_fused():
    options = [*TINY, '--executions', 'plain', 'fused']
    done = run_slowly(['benchmarks/memory.py', *options])
    assert (done.code, done.err) == (0, '')
    assert 'peak above idle, MB' in done.out and 'MB of 2^20 bytes' in done.out
    rows = [
        line.split()[0] for line in done.out.splitlines() if line.startswith(('plain', 'fused'))
    ]
    assert rows == ['plain', 'fused']


def test_a_profile_names_the_operators():
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--executions', 'plain', '--profile'])
    assert (done.code, 'by the profiler' in done.out) == (0, True), done.err
    shares = [float(n) for n in re.findall(r'([\d.]+)%', done.out)]
    assert len(shares) == 15 and shares == sorted(shares, reverse=True) and sum(shares) <= 100.5
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--profile', '--json'])
    assert done.code == 2 and 'leave out --json' in done.err


def test_the_error_of_float32(tool):
    common, errors = tool('common'), tool('float32_error')
    args = tiny_args(common, '--executions', 'plain', 'fused')
    args.seeds = 2
    found = [errors.errors(args, seed) for seed in range(2)]
    for seed in found:
        assert all(0 < value < 1e-4 for values in seed.values() for value in values)
    result = errors.summarise(args, found)
    weights = [seed['fused'][0] for seed in found]
    assert result['fused_weights_seeds'] == weights
    assert result['fused_weights'] == pytest.approx(sum(weights) / 2)
    ratio = result['fused_alpha'] / result['plain_alpha']
    assert result['ratio_alpha'] == pytest.approx(ratio)


def test_the_error_of_float32_in_float64_is_nothing(tool, monkeypatch):
    common, errors = tool('common'), tool('float32_error')
    args = tiny_args(common, '--executions', 'plain', 'fused')
    search = common.Search
    monkeypatch.setattr(common, 'Search', lambda *a, **k: double(search(*a, **k)))
    assert all(v < 1e-12 for values in errors.errors(args, 0).values() for v in values)


def double(search):
    search.model.double()
    return search


def test_the_error_of_float32_has_a_table_and_one_line_for_mistakes():
    done = run_slowly(['benchmarks/float32_error.py', *TINY, '--seeds', 1])
    assert (done.code, done.err) == (0, '')
    assert 'x plain' in done.out and 'float64' in done.out
    done = run_slowly(['benchmarks/float32_error.py', *TINY, '--seeds', 0])
    assert done.code == 2 and '--seeds must be 1 or more, but is 0' in done.err


# Beside others


def neighbour_runs(**medians):
    """What searches have measured: three steps each, with an outlier."""
    return {
        case: [dict(step_seconds=[0.9 * s, s, 9 * s], threads=2, cpu='c', torch='t')]
        for case, s in medians.items()
    }


def test_ratios_of_neighbours_by_hand(tool, capsys):
    neighbours = tool('neighbours')
    medians = dict(alone=0.4, spinning=0.5, one=0.7, second=0.88, busy=0.6, quota=0.735)
    result = neighbours.summarise(neighbour_runs(**medians))
    ratios = {name: round(result[f'{name}_ratio'], 9) for name in neighbours.RATIOS}
    assert ratios == dict(cost_alone=0.8, second=2.2, busy=1.5, quota=1.05)
    assert result['exceeded'] == ['second']
    assert (result['alone_s'], result['alone_steps'], result['alone_threads']) == (0.4, 3, 2)
    neighbours.print_table(result)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4:] for line in lines if 'too much' in line] == [
        ['2.20', '2.10', 'too', 'much']
    ]


def test_without_a_control_group_the_quota_is_not_measured(tool, capsys):
    neighbours = tool('neighbours')
    result = neighbours.summarise(
        neighbour_runs(alone=1.0, spinning=1.0, one=1.0, second=1.0, busy=1.0)
    )
    assert result['quota_ratio'] is None and result['exceeded'] == []
    neighbours.print_table(result)
    out = capsys.readouterr().out
    assert 'under a quota of one core                 not measured' in out


@pytest.mark.parametrize('version', [1, 2, None])
def test_a_group_with_a_quota(tool, version, tmp_path, monkeypatch):
    neighbours = tool('neighbours')
    mkdir = neighbours.Path.mkdir
    files = {1: ['cpu.cfs_quota_us', 'cpu.cfs_period_us'], 2: ['cpu.max'], None: []}[version]

    def as_the_kernel_does(path):
        mkdir(path)
        for name in files:
            (path / name).touch()

    monkeypatch.setattr(neighbours.Path, 'mkdir', as_the_kernel_does)
    group = neighbours.make_group(tmp_path)
    if version is None:
        assert group is None
        assert [path.name for path in tmp_path.iterdir()] == ['cgroup.subtree_control']
    else:
        found = [(group / name).read_text() for name in files]
        assert found == (['100000', '100000'] if version == 1 else ['100000 100000'])


@pytest.mark.slow
def test_neighbours_are_measured():
    args = ['benchmarks/neighbours.py', '--json', '--rounds', 1, '--seconds', 0.1]
    done = run_slowly([*args, '--width', 4, '--depth', 1, '--image-size', 8, '--batch-size', 2,
                       '--steps', 1, '--warmup', 0])  # fmt: skip
    assert done.code in (0, 1), done.err  # a busy machine may exceed any ratio
    result = json.loads(done.out)
    assert (result['seconds'], result['rounds']) == (0.1, 1)
    for case in ('alone', 'spinning', 'one', 'second', 'busy'):
        assert result[f'{case}_s'] > 0
    assert result['second_steps'] >= 2
    assert (result['one_threads'], result['width']) == (1, 4)


def test_neighbours_take_one_execution(tool, monkeypatch):
    neighbours = tool('neighbours')
    for wrong in (['--executions', 'plain', 'fused'], ['--amp'], ['--seconds', '0']):
        monkeypatch.setattr('sys.argv', ['neighbours.py', *wrong])
        with pytest.raises(UserError):
            neighbours.parse_args()
