"""search_log.jsonl: its rows, and how it is cut back."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import digits_runner, log_text
from mmengine.config import Config
from mmengine.hooks import Hook

from rdarts.engine.facts import Facts
from rdarts.engine.search_log import SCHEMA
from rdarts.errors import UserError
from rdarts.hooks import SearchLogHook
from rdarts.hooks.search_log import KEEP_ALL
from rdarts.results.search_run import find_runs

HEAD = ['schema', 'kind', 'epoch', 'iter']
ITER = ['lr', 'loss', 'grad_norm', 'arch_loss', 'arch_grad_norm', 'arch_cosine_total',
        'regularizers', 'time', 'memory']  # fmt: skip
EPOCH = ['regularizers', 'genotype', 'skip_connections', 'alpha', 'weights', 'entropy',
         'mean_entropy', 'kinds', 'execution']  # fmt: skip
PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'en' / 'search_log.md'


def read(work_dir):
    return [json.loads(line) for line in (work_dir / 'search_log.jsonl').read_text().splitlines()]


def not_timed(rows):
    return [{k: v for k, v in row.items() if k not in ('time', 'memory')} for row in rows]


def make_hook(work_dir, **options):
    """A hook and a runner of nothing but what the hook reads."""
    scalars = []
    runner = SimpleNamespace(
        work_dir=str(work_dir),
        cfg=Config(dict(a=1)),
        seed=7,
        model=torch.nn.Module(),
        epoch=0,
        iter=0,
        _resume=False,
        train_dataloader=range(5),
        train_loop=None,
        optim_wrapper=SimpleNamespace(get_lr=lambda: dict(lr=[0.5, 0.25])),
        message_hub=SimpleNamespace(log_scalars={}),
        visualizer=SimpleNamespace(add_scalars=lambda values, step: scalars.append((step, values))),
        logger=SimpleNamespace(warning=lambda text: scalars.append(text)),
        hooks=[],
        scalars=scalars,
    )
    hook = SearchLogHook(**options)
    runner.hooks.append(hook)
    return hook, runner


def run_epoch(hook, runner, **outputs):
    for index in range(5):
        hook.before_train_iter(runner, index)
        Facts.of(runner).iteration.update(arch_loss=float(index))
        hook.after_train_iter(runner, index, outputs=dict(loss=1.5, **outputs))
        runner.iter += 1
    hook.after_train_epoch(runner)
    runner.epoch += 1


def test_rows_of_a_real_search(tmp_path):
    options = {'default_hooks.search_log.interval': 1, 'train_cfg.max_epochs': 2}
    runner = digits_runner(tmp_path, options)
    runner.train()
    rows = read(tmp_path)
    assert [(row['kind'], row['epoch'], row['iter']) for row in rows] == [
        ('start', 0, 0),
        ('iter', 1, 1), ('iter', 1, 2), ('epoch', 1, 2), ('val', 1, 2),
        ('iter', 2, 3), ('iter', 2, 4), ('epoch', 2, 4), ('val', 2, 4),
    ]  # fmt: skip
    start = ['seed', 'versions', 'machine', 'space', 'relaxation']
    keys = dict(start=start, iter=ITER, epoch=EPOCH, val=['accuracy/top1'])
    for row in rows:
        assert list(row) == HEAD + keys[row['kind']]
        assert row['schema'] == SCHEMA == 1
    assert rows[0]['seed'] == 0 and rows[0]['versions']['torch'] == torch.__version__
    capability = torch.backends.cpu.get_cpu_capability()
    assert rows[0]['machine']['instructions'] == capability and rows[0]['machine']['cpu']
    one, two = rows[1], rows[6]
    assert one['lr'] == 0.025
    # the cosine schedule of 100 epochs, after one of them
    assert two['lr'] == pytest.approx(1e-3 + 0.024 * (1 + math.cos(math.pi / 100)) / 2, rel=1e-9)
    assert 0 < one['time'] < two['time'] and one['memory'] > 50
    assert list(one['regularizers']['ber']) == ['lambda_', 'value', 'grad_norm', 'cosine']
    assert one['regularizers']['ber']['lambda_'] == 0.75
    assert one['regularizers']['ber']['value'] == pytest.approx(math.log(5), abs=1e-4)
    epoch = rows[3]
    assert epoch['regularizers'] == dict(ber=dict(lambda_=0.75))
    assert epoch['execution'] == 'fused'
    assert [len(epoch['alpha']['cell']), len(epoch['alpha']['cell'][0])] == [6, 5]
    end = runner.model.backbone.arch_parameters['cell'].double().tolist()
    assert rows[7]['alpha']['cell'] == end


def test_the_page_lists_every_key(tmp_path):
    digits_runner(tmp_path, {'default_hooks.search_log.interval': 1}).train()
    listed = set(re.findall(r'`([\w/]+)`', PAGE.read_text(encoding='utf-8')))
    keys = set()

    def collect(value, names):
        if isinstance(value, dict) and not names:
            return
        if isinstance(value, dict):
            for key, item in value.items():
                keys.add(key)
                # by group or by cell type: their names are the space's
                collect(item, names and key in ('regularizers', 'ber', 'kinds', *KINDS))

    for row in read(tmp_path):
        collect(row, True)
    assert {'arch_cosine_total', 'parameter_free', 'value', 'entropy'} <= keys
    assert not keys - listed
    for path in tmp_path.rglob('*'):
        name = path.name
        if path.suffix in ('.json', '.jsonl', '.py') and path.parent == tmp_path:
            assert f'`{name}`' in PAGE.read_text(encoding='utf-8')


KINDS = ('parameter_free', 'parameterised')


@pytest.mark.parametrize(
    ('interval', 'logged'), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (10, [5])]
)
def test_the_interval_and_the_last_iteration_of_an_epoch(tmp_path, interval, logged):
    hook, runner = make_hook(tmp_path, interval=interval)
    hook.before_train(runner)
    run_epoch(hook, runner)
    rows = [row for row in read(tmp_path) if row['kind'] == 'iter']
    assert [row['iter'] for row in rows] == logged
    # each holds its own iteration's values
    assert [row['arch_loss'] for row in rows] == [i - 1 for i in logged]
    assert all(row['lr'] == 0.5 and row['loss'] == 1.5 for row in rows)


def test_values_that_are_not_finite_become_null(tmp_path):
    hook, runner = make_hook(tmp_path, interval=1)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    Facts.of(runner).iteration.update(
        a=math.nan, b=dict(c=math.inf, d=[1.0, -math.inf, (math.nan, 2)]), e='NaN'
    )
    hook.after_train_iter(runner, 0, outputs=dict(loss=math.nan))
    text = (tmp_path / 'search_log.jsonl').read_text()
    row = json.loads(text.splitlines()[-1], parse_constant=lambda name: pytest.fail(name))
    assert (row['loss'], row['a'], row['b'], row['e']) == (
        None, None, dict(c=None, d=[1.0, None, [None, 2]]), 'NaN'
    )  # fmt: skip


def test_values_do_not_leak_into_the_next_row(tmp_path):
    hook, runner = make_hook(tmp_path, interval=1)
    hook.before_train(runner)
    Facts.of(runner).iteration.update(once=1)
    Facts.of(runner).epoch.update(too=2)
    run_epoch(hook, runner)
    run_epoch(hook, runner)
    assert sum('once' in row for row in read(tmp_path)) == 1
    assert [row.get('too') for row in read(tmp_path) if row['kind'] == 'epoch'] == [2, None]


def test_numbers_go_to_the_visualizer_by_their_path(tmp_path):
    hook, runner = make_hook(tmp_path, interval=1)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    Facts.of(runner).iteration.update(
        arch_loss=2.0, BER=dict(value=1, cosine=dict(normal=0.5)), genotype='x'
    )
    hook.after_train_iter(runner, 0, outputs=dict(loss=1.0))
    assert runner.scalars == [
        (1, {'search/arch_loss': 2.0, 'search/BER/value': 1, 'search/BER/cosine/normal': 0.5})
    ]


def test_tensors_become_numbers_where_a_row_is_written(tmp_path):
    hook, runner = make_hook(tmp_path, interval=3)
    hook.before_train(runner)
    for index in range(3):
        hook.before_train_iter(runner, index)
        value = torch.tensor(index + 0.1, requires_grad=True)
        Facts.of(runner).iteration.update(a=dict(b=value, c=torch.tensor(math.nan)))
        hook.after_train_iter(runner, index, outputs=dict(loss=1.0))
    Facts.of(runner).epoch.update(whole=torch.tensor(3))
    hook.after_train_epoch(runner)
    *_, step, epoch = read(tmp_path)
    number = float(torch.tensor(2.1))
    assert step['a'] == dict(b=number, c=None) and epoch['whole'] == 3
    (_, scalars), (_, whole) = runner.scalars
    assert scalars['search/a/b'] == number and whole == {'search/whole': 3}


def test_a_start_empties_what_was_there_and_a_resumed_one_appends(tmp_path):
    hook, runner = make_hook(tmp_path)
    (tmp_path / 'search_log.jsonl').write_text('old\n')
    hook.before_train(runner)
    assert [row['kind'] for row in read(tmp_path)] == ['start'] and read(tmp_path)[0]['seed'] == 7
    run_epoch(hook, runner)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    kept = (tmp_path / 'search_log.jsonl').read_bytes()
    assert checkpoint['search_log']['bytes'] == len(kept)
    run_epoch(hook, runner)  # rows that the checkpoint does not know
    with open(tmp_path / 'search_log.jsonl', 'a') as file:
        file.write('{"schema": 1, "ki')  # and one that was being written at the kill

    again, runner = make_hook(tmp_path)
    runner._resume = True
    again.after_load_checkpoint(runner, checkpoint)
    again.before_train(runner)
    assert (tmp_path / 'search_log.jsonl').read_bytes() == kept and not runner.scalars
    runner.epoch, runner.iter = 1, 5
    run_epoch(again, runner)
    assert [(r['kind'], r['iter']) for r in read(tmp_path)] == [
        ('start', 0), ('iter', 5), ('epoch', 5), ('iter', 10), ('epoch', 10)
    ]  # fmt: skip


def test_the_clock_of_a_resumed_run_goes_on(tmp_path):
    hook, runner = make_hook(tmp_path, interval=1)
    runner._resume = True
    hook.after_load_checkpoint(runner, dict(search_log=dict(bytes=0, seconds=1000.0)))
    hook.before_train(runner)
    run_epoch(hook, runner)
    assert all(1000 <= row['time'] < 1100 for row in read(tmp_path) if row['kind'] == 'iter')


def test_a_log_that_is_shorter_than_the_checkpoint_says(tmp_path):
    hook, runner = make_hook(tmp_path)
    (tmp_path / 'search_log.jsonl').write_text('{}\n')
    runner._resume = True
    hook.after_load_checkpoint(runner, dict(search_log=dict(bytes=50, seconds=0.0)))
    hook.before_train(runner)
    (warning,) = runner.scalars
    assert 'search_log.jsonl is shorter than the checkpoint says (3 bytes of 50)' in warning
    assert (tmp_path / 'search_log.jsonl').read_text() == '{}\n'


def test_a_checkpoint_that_knows_of_no_log_cuts_nothing(tmp_path):
    hook, runner = make_hook(tmp_path)
    (tmp_path / 'search_log.jsonl').write_text('{}\n')
    runner._resume = True
    hook.after_load_checkpoint(runner, {})
    assert hook._size == KEEP_ALL
    hook.before_train(runner)
    assert (tmp_path / 'search_log.jsonl').read_text() == '{}\n' and not runner.scalars


def test_a_search_that_starts_from_weights_begins_its_own_log(tmp_path):
    hook, runner = make_hook(tmp_path)
    hook.after_load_checkpoint(runner, dict(search_log=dict(bytes=50, seconds=9.0)))
    hook.before_train(runner)
    assert [row['kind'] for row in read(tmp_path)] == ['start']


def test_only_the_first_rank_writes(tmp_path, monkeypatch):
    monkeypatch.setattr('rdarts.hooks.search_log.is_main_process', lambda: False)
    hook, runner = make_hook(tmp_path, interval=1)
    hook.before_train(runner)
    run_epoch(hook, runner)
    assert not list(tmp_path.iterdir())
    # on a machine that does not see the first rank's folder
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint['search_log']['bytes'] == 0


def test_a_validation_before_any_training_is_not_logged(tmp_path):
    hook, runner = make_hook(tmp_path)
    hook.after_val_epoch(runner, dict(accuracy=1.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_resumed_search_logs_what_an_uninterrupted_one_does(tmp_path):
    options = {'default_hooks.search_log.interval': 1, 'train_cfg.max_epochs': 2}
    whole = tmp_path / 'whole'
    digits_runner(whole, options).train()

    class Stop(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 3:
                raise KeyboardInterrupt

    cut = tmp_path / 'cut'
    with pytest.raises(KeyboardInterrupt):
        digits_runner(cut, options, hooks=[Stop()]).train()
    assert read(cut)[-1]['iter'] == 4  # beyond the checkpoint of iteration 2
    runner = digits_runner(cut, options, resume=True)
    runner.train()
    assert not_timed(read(cut)) == not_timed(read(whole))
    times = [row['time'] for row in read(cut) if 'time' in row]
    assert times == sorted(times)
    assert 'is shorter than' not in log_text(cut)


@pytest.mark.slow
def test_a_search_of_an_earlier_version_can_be_shown_once_it_was_resumed(tmp_path):
    """Also one that has ended."""
    digits_runner(tmp_path).train()
    path = tmp_path / 'search_log.jsonl'
    before = path.read_text()
    rows = read(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['default_hooks']['architect']['lambda_'] == 0.75
    # as it was
    space = rows[0].pop('space')
    old = ''.join(json.dumps(row) + '\n' for row in rows)
    path.write_text(old)
    (tmp_path / 'config.json').unlink()
    checkpoint = next(tmp_path.glob('epoch_*.pth'))
    state = torch.load(checkpoint, weights_only=True)
    state['search_log']['bytes'] -= len(before) - len(old)
    torch.save(state, checkpoint)
    with pytest.raises(UserError, match='resume it once'):
        find_runs([tmp_path])
    for _ in range(2):  # the second time it is cut back, and added again
        digits_runner(tmp_path, resume=True).train()
        found = read(tmp_path)
        assert [row for row in found if row['kind'] != 'start'] == rows[1:]
        assert [row.get('space') for row in found if row['kind'] == 'start'] == [None, space]
        (run,) = find_runs([tmp_path])
        assert run.space.name == 'nas_bench_201' and run.epochs and run.config['randomness']


def test_config_py_is_a_config_that_runs_again(tmp_path):
    runner = digits_runner(tmp_path)
    runner.train()
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.default_hooks.architect.lambda_ == 0.75
    assert cfg.model.backbone.channels == 2
    assert cfg.train_cfg == runner.cfg.train_cfg
