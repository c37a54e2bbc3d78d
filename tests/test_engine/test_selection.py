"""DARTS-PT: what is decided, by which trials, when; and that a decision outlasts a kill."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from golden import assert_close, double, golden
from helpers import digits_runner, log_text
from mmengine.hooks import CheckpointHook, Hook
from same_runs import assert_same_state, rows

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.roll_back import checkpoint_hook_of
from rdarts.engine.selection.decisions import EDGES, OPERATION, Decision, Trier, epoch_of, plan
from rdarts.engine.selection.trials import batch_statistics
from rdarts.errors import Interrupted, UserError
from rdarts.genotypes import load_genotype
from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.search_spaces import build_space
from rdarts.utils.random_state import get_random_state

CELL = dict(
    num_inputs=2, num_nodes=5, output='concat', candidates=['none', 'skip_connect', 'noise']
)
# of each cell type 9 edges, and two nodes of three and four, which keep two
SMALL_SPACE = dict(type='CellSpace', name='small', cells=dict(normal=CELL, reduce=CELL))
OPTIONS = {
    'train_cfg.type': 'rdarts.PerturbationSelection',
    'train_cfg.max_epochs': 2,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
    'default_hooks.report': None,
}


def runner_of(work_dir: Path, hooks=(), resume=False, **loop):
    options = {**OPTIONS, **{f'train_cfg.{key}': value for key, value in loop.items()}}
    return digits_runner(work_dir, options, config='darts_nb201_digits', hooks=hooks, resume=resume)


def weights_of(owner) -> torch.Tensor:
    """The mixing weights of NAS-Bench-201's cell as they are in a forward, [edges, candidates]."""
    edges = owner.space.cells['cell'].edges
    rows = {}
    for node, mixing in owner.mixing()['cell'].items():
        into = [i for i, edge in enumerate(edges) if edge.source == node]
        rows.update(zip(into, mixing.by_edge([5] * len(into)), strict=True))
    return torch.stack([rows[i] for i in range(len(edges))]).detach()


def test_what_is_decided_is_that_of_the_published_code(tmp_path):
    inputs, expected, tolerance = golden('darts_pt', 'nb201_projection')
    order = inputs['edge_order']
    loop = runner_of(tmp_path, order=order).train_loop
    owner = loop.owner.double()
    alpha, gains, pairs = (double(inputs[key]) for key in ('alpha', 'A', 'I'))
    owner.arch_parameters['cell'].data.copy_(alpha)

    def accuracy() -> float:
        gain = (gains * weights_of(owner)).sum(1)
        return float(50 + 5 * (gain.sum() + gain @ pairs @ gain))

    loop.trier.score = accuracy
    found = [loop.trier(decision) for decision in loop.plan]
    names = owner.space.cells['cell'].edges[0].candidates
    kept = [[d.place, names.index(t.kept[0])] for d, t in zip(loop.plan, found, strict=True)]
    assert kept == expected['selected_edge_op']
    first = [found[0].scores[name] for name in names]
    assert_close(first, expected['accuracies_of_first_edge'], tolerance)
    assert torch.equal(owner.arch_parameters['cell'], alpha)
    assert weights_of(owner).sum(1).tolist() == [1.0] * 6
    assert kept != expected['argmax_of_alpha_for_comparison']


@pytest.mark.parametrize('criterion', ['accuracy', 'loss'])
def test_of_a_tie_the_first_candidate_is_kept(criterion, tmp_path):
    inputs, expected, _ = golden('darts_pt', 'ties_op')
    key = 'acc' if criterion == 'accuracy' else criterion
    loop = runner_of(tmp_path, criterion=criterion).train_loop
    scores = iter(inputs[f'{key}_after_masking'])
    loop.trier.score = lambda: next(scores)
    names = loop.owner.space.cells['cell'].edges[3].candidates
    trials = loop.trier(Decision(0, OPERATION, 'cell', 3))
    assert trials.kept == [names[expected[f'best_by_{key}']]]
    assert list(trials.scores.values()) == inputs[f'{key}_after_masking']
    alive = loop.owner.alive['cell']
    assert alive[3] == [name == trials.kept[0] for name in names]
    assert all(all(flags) for edge, flags in enumerate(alive) if edge != 3)


def test_a_dry_run_prices_trials_and_decides_nothing(tmp_path):
    loop = runner_of(tmp_path).train_loop
    assert loop.trials == 6 * 5
    loop.trier.score = lambda: 1.0
    loop.trier(loop.plan[0])
    loop.decided = 1
    assert loop.trials == 5 * 5
    checkpoint_hook_of(loop.runner, '').dry_run = True
    loop.begin_epoch()
    assert (loop.decided, loop.trials) == (1, 5 * 5)
    net = small_net()  # without `none`, and nodes of three and four edges
    trier = Trier(net, None, 1, 2)
    hidden = [len(trier.hidden(one)) for one in plan(net.space, 2, 'random', 0)]
    assert sum(hidden) == 2 * (9 * 2 + 3 + 4)


def test_when_decisions_are_taken():
    _, expected, _ = golden('darts_pt', 'schedule')
    for space, keep, key in (('nas_bench_201', None, 'nb201'), ('darts', 2, 'darts')):
        found = plan(build_space(space), keep, 'random', 5)
        turns, epochs = found[-1].turn + 1, expected[f'{key}_total']
        due = [(epoch_of(one.turn, turns, epochs), one.kind) for one in found]
        kinds = {OPERATION: 'op', EDGES: 'edge'}
        if key == 'nb201':
            assert [epoch for epoch, _ in due] == expected['nb201_epochs']
        else:  # one of each cell type at a time
            assert [cell for *_, cell, _ in found] == ['normal', 'reduce'] * 17
            assert [[epoch, kinds[kind]] for epoch, kind in due[::2]] == expected['darts']


@pytest.mark.parametrize('turns', [1, 2, 3, 6, 17])
def test_turns_are_spread_over_any_number_of_epochs(turns):
    for epochs in range(1, 100):
        due = [epoch_of(turn, turns, epochs) for turn in range(turns)]
        assert due == sorted(due) and due[0] == 0 and due[-1] == (epochs - 1 if turns > 1 else 0)
        if epochs >= turns:  # never two before one epoch
            assert len(set(due)) == turns
        else:
            assert set(due) == set(range(epochs))


def test_the_order_is_a_function_of_the_seed():
    space = build_space('darts')
    one = plan(space, 2, 'random', 1)
    assert one == plan(space, 2, 'random', 1) != plan(space, 2, 'random', 2)
    for cell in space.cells:
        own = [decision for decision in one if decision.cell == cell]
        assert sorted(d.place for d in own if d.kind == OPERATION) == list(range(14))
        assert sorted(d.place for d in own if d.kind == EDGES) == [3, 4, 5]
    assert len({tuple(d.place for d in one if d.cell == cell) for cell in space.cells}) == 2
    given = plan(space, 2, list(range(13, -1, -1)), 1)
    assert [d.place for d in given if d.cell == 'reduce'] == [*range(13, -1, -1), 3, 4, 5]
    with pytest.raises(UserError, match="each of 0 to 13 of the cell 'normal' once, but is"):
        plan(space, 2, [0, 1], 1)


def small_net(execution='plain'):
    torch.manual_seed(0)
    return DARTSSupernet(SMALL_SPACE, channels=4, num_cells=3, execution=execution, alpha_std=1.0)


@pytest.mark.parametrize(
    ('sign', 'scores', 'kept'),
    [
        (1, [60.0, 55.0, 70.0, 55.0], [1, 3]),
        (1, [50.0, 50.0, 50.0, 50.0], [0, 1]),  # the last are dropped
        (1, [40.0, 50.0, 50.0, 50.0], [0, 1]),
        (1, [50.0, 50.0, 50.0, 40.0], [0, 3]),
        (-1, [0.5, 0.9, 0.1, 0.9], [1, 3]),
    ],
)
def test_a_node_keeps_the_edges_that_are_missed_most(sign, scores, kept):
    net = small_net()
    into = net.space.cells['reduce'].edges_into(4)
    hidden, left = [], iter(scores)

    def score() -> float:
        hidden.append(sorted(edge for _, edge, _ in net._hidden))
        return next(left)

    trials = Trier(net, score, sign, 2)(Decision(0, EDGES, 'reduce', 4))
    assert hidden == [[edge] * 3 for edge in into]
    assert trials.kept == [into[place] for place in kept]
    assert trials.scores == dict(zip(into, scores, strict=True))
    dropped = [edge for edge, flags in enumerate(net.alive['reduce']) if not any(flags)]
    assert dropped == [edge for edge in into if edge not in trials.kept]
    assert all(all(flags) for flags in net.alive['normal'])


def test_where_there_is_no_choice_nothing_is_tried():
    net = small_net()

    def score() -> float:
        raise AssertionError

    net.prune('normal', 0, ['none', 'noise'])
    assert Trier(net, score, 1, 2)(Decision(0, OPERATION, 'normal', 0)) == (['skip_connect'], {})
    assert Trier(net, score, 1, 2)(Decision(0, EDGES, 'normal', 2)) == ([0, 1], {})
    # `none` is no choice where nodes keep some of their edges: no genotype has it
    net.prune('normal', 1, ['noise'])
    assert Trier(net, score, 1, 2)(Decision(0, OPERATION, 'normal', 1)) == (['skip_connect'], {})
    assert net.alive['normal'][1] == [False, True, False]


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_batch_statistics_leave_nothing_behind(execution):
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=8, cells_per_stage=1, execution=execution).double()
    x = torch.randn(4, 3, 8, 8).double()
    net(x)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.eval()
    with torch.no_grad():
        (running,) = net(x)
        with batch_statistics(net):
            (found,) = net(x)
        (again,) = net(x)
    assert torch.equal(running, again)
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    net.train()
    with torch.no_grad():
        (trained,) = net(x)
    torch.testing.assert_close(found, trained, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(found, running)


@pytest.mark.parametrize('criterion', ['accuracy', 'loss'])
@pytest.mark.parametrize(('statistics', 'images'), [('batch', 'val'), ('running', 'arch')])
def test_a_score_is_of_all_images_and_touches_nothing(criterion, statistics, images, tmp_path):
    runner = runner_of(tmp_path, criterion=criterion, statistics=statistics, images=images)
    loop, model = runner.train_loop, runner.model
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with loop.owner.hide('cell', 2, ['nor_conv_3x3']):
        random = get_random_state()
        found = loop.score()
        assert torch.equal(get_random_state()['torch'], random['torch'])
        assert loop.score() == found
        model.eval()
        sums = []
        with torch.no_grad():
            for batch in loop._loader:
                data = model.data_preprocessor(batch, False)
                model.train(statistics == 'batch')
                loss = model(**data, mode='loss')['loss']
                labels = torch.cat([one.gt_label for one in data['data_samples']])
                right = (model(**data, mode='tensor').argmax(1) == labels).double().mean()
                sums.append(100 * float(right) if criterion == 'accuracy' else float(loss))
    assert len(sums) == 2 and found == pytest.approx(sum(sums) / 2, rel=1e-6)
    kept = {key: value for key, value in state.items() if 'running' in key or 'tracked' in key}
    if statistics == 'running':
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in kept.items())
    same = runner.train_dataloader.dataset if images == 'arch' else None
    assert loop._loader.dataset is not same and len(loop._loader.dataset) == 16


class AtDecision(Hook):
    """Does something after a decision, once it is saved."""

    priority = 'LOWEST'

    def __init__(self, number: int, act) -> None:
        self.number, self.act = number, act

    def after_decision(self, runner, decided: int, row) -> None:
        if decided == self.number:
            self.act(runner)


def ask_to_stop(runner) -> None:
    checkpoint_hook_of(runner, '').stop.number = signal.SIGTERM


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Six decisions, three before each of two epochs."""
    folder = tmp_path_factory.mktemp('whole')
    runner_of(folder).train()
    return folder


def test_what_a_selection_leaves(whole):
    log = rows(whole)
    kinds = [(row['kind'], row['epoch']) for row in log]
    three = [('selection', 0)] * 3
    first = [*three, ('iter', 1), ('iter', 1), ('epoch', 1), ('val', 1)]
    second = [('selection', 1)] * 3 + [('iter', 2), ('iter', 2), ('epoch', 2), ('val', 2)]
    assert kinds == [('start', 0), *first, *second]
    decided = [row for row in log if row['kind'] == 'selection']
    assert [row['decided'] for row in decided] == [1, 2, 3, 4, 5, 6]
    for row in decided:
        worst = min(row['scores'].values())
        assert row['criterion'] == 'accuracy' and len(row['scores']) == 5
        assert row['kept'] == [next(n for n, value in row['scores'].items() if value == worst)]
    kept = {row['edge']: row['kept'][0] for row in decided}
    places = ['0-1', '0-2', '1-2', '0-3', '1-3', '2-3']
    genotype = load_genotype(whole / 'genotype.json')
    assert list(genotype.ops) == [kept[place] for place in places]
    last = [row for row in log if row['kind'] == 'epoch'][-1]
    alive = last['alive']['cell']
    assert all(sum(edge) == 1 for edge in alive)
    assert last['weights']['cell'] == [[float(flag) for flag in edge] for edge in alive]
    text = log_text(whole)
    assert (
        'selection:  6 edges by the accuracy without each candidate, on the images of '
        'val_dataloader; 6 decisions to go, before epochs 1, 2\n'
    ) in text
    assert 'Selection 1 of 6: edge ' in text
    moved = [read_checkpoint(whole / f'epoch_{e}_iter_{2 * e}.pth')['state_dict'] for e in (1, 2)]
    alphas = [state['backbone.arch_parameters.cell'] for state in moved]
    assert not torch.equal(*alphas)  # alpha goes on learning


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['iter_0_decision_1', 'iter_0_decision_3', 'iter_1', 'epoch_1_iter_2', 'iter_2_decision_5'],
)
def test_a_selection_resumes_bit_equal(name, whole, tmp_path):
    if name == 'iter_1':
        options = {**OPTIONS, 'default_hooks.checkpoint.iter_interval': 1}
        digits_runner(tmp_path / 'one', options, config='darts_nb201_digits').train()
        path = tmp_path / 'one' / 'iter_1.pth'
    else:
        path = whole / f'{name}.pth'
    runner_of(tmp_path / 'run', resume=str(path)).train()
    for last in ('iter_2_decision_6.pth', 'epoch_2_iter_4.pth'):
        assert_same_state(tmp_path / 'run' / last, whole / last)
    own, log = rows(tmp_path / 'run')[1:], rows(whole)
    assert own == log[len(log) - len(own) :]
    assert load_genotype(tmp_path / 'run' / 'genotype.json') == load_genotype(
        whole / 'genotype.json'
    )


@pytest.mark.slow
def test_a_signal_within_a_trial(whole, tmp_path):
    """It stops at the next batch, with what was decided before; no trial leaves a trace."""
    stopped = runner_of(tmp_path, hooks=[AtDecision(4, ask_to_stop)])
    with pytest.raises(Interrupted, match='stopped by SIGTERM between two decisions, after 4; sav'):
        stopped.train()
    assert not (tmp_path / 'iter_2_decision_5.pth').exists()
    assert_same_state(tmp_path / 'iter_2_decision_4.pth', whole / 'iter_2_decision_4.pth')
    runner_of(tmp_path, resume=True).train()
    assert_same_state(tmp_path / 'epoch_2_iter_4.pth', whole / 'epoch_2_iter_4.pth')
    assert [r for r in rows(tmp_path)] == rows(whole)


def test_nodes_keep_as_many_edges_as_the_rule_of_the_search_derives(tmp_path):
    options = {
        **OPTIONS,
        'model.backbone': dict(
            _delete_=True, type='rdarts.DARTSSupernet', space=SMALL_SPACE, channels=2, num_cells=3
        ),
        'model.head.in_channels': 24,
        'default_hooks.genotype.discretizer': dict(type='rdarts.TopEdges', k=1),
    }
    runner = digits_runner(tmp_path, options, config='darts_nb201_digits')
    loop = runner.build_train_loop(runner._train_loop)
    assert loop.trier.keep == 1
    assert [one.place for one in loop.plan if one.kind == EDGES and one.cell == 'normal'] != []


@pytest.mark.slow
def test_nodes_of_the_darts_space_keep_two_edges(tmp_path):
    options = {
        **OPTIONS,
        'train_cfg.max_epochs': 1,
        'train_cfg.criterion': 'loss',
        'model.backbone': dict(
            _delete_=True,
            type='rdarts.DARTSSupernet',
            space=SMALL_SPACE,
            channels=2,
            num_cells=3,
            execution='fused',
        ),
        'model.head.in_channels': 24,
        'default_hooks.report': dict(type='rdarts.ReportHook'),
    }
    runner = digits_runner(tmp_path, options, config='darts_nb201_digits')
    runner.train()
    decided = [row for row in rows(tmp_path) if row['kind'] == 'selection']
    assert len(decided) == 2 * (9 + 2)
    assert runner.train_loop.trier.keep == 2
    genotype = load_genotype(tmp_path / 'genotype.json', build_space(SMALL_SPACE))
    for cell in ('normal', 'reduce'):
        own = [row for row in decided if row['cell'] == cell]
        operations = {row['edge']: row['kept'][0] for row in own if 'edge' in row}
        nodes = {row['node']: row['kept'] for row in own if 'node' in row}
        assert sorted(nodes) == [3, 4]
        kept = [*(f'{i}-2' for i in (0, 1)), *nodes[3], *nodes[4]]
        found = [
            (f'{source}-{target}', name)
            for target, edges in enumerate(genotype.nodes[cell], 2)
            for name, source in edges
        ]
        assert sorted(found) == sorted((edge, operations[edge]) for edge in kept)


def test_what_a_selection_refuses(tmp_path):
    with pytest.raises(UserError, match='images of val_dataloader, which is None: a selection ne'):
        digits_runner(
            tmp_path / 'a',
            {**OPTIONS, 'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None},
            config='darts_nb201_digits',
        ).train()
    with pytest.raises(UserError, match="each of 0 to 5 of the cell 'cell' once, but is"):
        runner_of(tmp_path / 'b', order=[0, 0]).train()
    other = runner_of(tmp_path / 'c')
    other._hooks = [one for one in other.hooks if not isinstance(one, CheckpointHook)]
    with pytest.raises(UserError, match='PerturbationSelection needs default_hooks.checkpoint'):
        other.train()


def test_a_run_with_another_order_is_not_resumed(tmp_path, whole):
    path = str(whole / 'iter_0_decision_2.pth')
    first = [row['edge'] for row in rows(whole) if row['kind'] == 'selection'][:2]
    places = ['0-1', '0-2', '1-2', '0-3', '1-3', '2-3']
    order = [place for place in range(6) if places[place] not in first]
    order += [place for place in range(6) if place not in order]
    with pytest.raises(UserError, match='first 2 decisions of the run were of other edges'):
        runner_of(tmp_path / 'run', resume=path, order=order).train()


def test_a_checkpoint_of_another_loop_is_refused(tmp_path, whole):
    options = {**OPTIONS, 'train_cfg.type': 'rdarts.SearchTrainLoop', 'train_cfg.max_epochs': 1}
    digits_runner(tmp_path / 'plain', options, config='darts_nb201_digits').train()
    path = tmp_path / 'plain' / 'epoch_1_iter_2.pth'
    with pytest.raises(UserError, match="checkpoint's entry selection "):
        runner_of(tmp_path / 'run', resume=str(path)).train()
