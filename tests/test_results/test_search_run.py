"""Reading a search's log, and finding searches."""

from __future__ import annotations

import json

import pytest
from synthetic import write_search
from test_visualization.logs import change_epoch, keep, still_running

from rdarts.errors import UserError
from rdarts.genotypes import dumps, load_genotype
from rdarts.results.log import read_search_log
from rdarts.results.search_run import begun_runs, find_runs

OTHER = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


def test_rows_by_kind_and_a_torn_last_line(tmp_path):
    folder = write_search(tmp_path, epochs=3)
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write('{"schema": 1, "ki')
    assert [row['epoch'] for row in read_search_log(folder, 'epoch')] == [1, 2, 3]
    assert len(read_search_log(folder)) == 1 + 3 * 4


def go_back(folder, to: int, left: int) -> None:
    """Write a row of a roll back, and what stood after it once more."""
    mark = dict(schema=1, kind='roll_back', epoch=to, iter=0, left_epoch=left)
    standing = [row for row in read_search_log(folder) if row['kind'] != 'roll_back']
    again = [row for row in standing if row['epoch'] > to]
    with open(folder / 'search_log.jsonl', 'a') as file:
        for row in (mark, *again):
            file.write(json.dumps(row) + '\n')


def test_what_a_search_has_gone_back_on_is_read_only_when_asked_for(tmp_path):
    folder = write_search(tmp_path, epochs=4)
    before = read_search_log(folder)
    go_back(folder, 2, 4)
    go_back(folder, 1, 4)
    found = read_search_log(folder)
    assert [row for row in found if row['kind'] != 'roll_back'] == before
    assert [row['epoch'] for row in read_search_log(folder, 'epoch')] == [1, 2, 3, 4]
    assert [row['epoch'] for row in read_search_log(folder, 'roll_back')] == [2, 1]
    whole = read_search_log(folder, 'epoch', left=True)
    assert [row['epoch'] for row in whole] == [1, 2, 3, 4, 3, 4, 2, 3, 4]
    (run,) = find_runs([folder])
    assert run.roll_backs() == [(4, 2), (4, 1)]
    assert [row['epoch'] for row in run.epochs] == [1, 2, 3, 4]


def test_the_row_of_a_roll_back_that_says_nothing_is_passed_over(tmp_path):
    folder = write_search(tmp_path, epochs=2)
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write('{"kind": "roll_back", "epoch": 2}\n')
    (run,) = find_runs([folder])
    assert run.roll_backs() == [] and len(run.epochs) == 2


# What is wrong with a log, and the line that says so. None: there is no file; a folder: so named.
DAMAGED_LOGS = [
    (None, 'no search_log.jsonl in'),
    ('folder', 'search_log.jsonl: Is a directory'),
    (b'\xff\xfe', 'search_log.jsonl: not a text file'),
    (b'no json\n{}\n', 'line 1: no JSON'),
    (b'[' * 100_000 + b'\n{}\n', 'line 1: no JSON'),
    *(
        (line, 'line 1: no row of a search log')
        for line in (b'3', b'{}', b'{"kind": "epoch"}', b'{"kind": 1, "epoch": 2}', b'null')
    ),
]


@pytest.mark.parametrize(('content', 'message'), DAMAGED_LOGS, ids=lambda value: repr(value)[:24])
def test_a_damaged_log(tmp_path, content, message):
    path = tmp_path / 'search_log.jsonl'
    if content == 'folder':
        path.mkdir()
    elif content is not None:
        path.write_bytes(content + b'\n')
    with pytest.raises(UserError, match=message) as error:
        read_search_log(tmp_path)
    assert '\n' not in str(error.value)


def test_epochs_that_have_not_ended_have_no_mean(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write(json.dumps(dict(kind='iter', epoch=3, iter=5, loss=9.0)) + '\n')
    assert set(find_runs([folder])[0].means('loss')) == {1, 2}


# Runs


def test_runs_are_named_by_method_and_seed(tmp_path):
    for seed in (0, 2, 10):
        write_search(tmp_path / 'all' / 'rdarts' / f'seed_{seed}', seed=seed, epochs=2)
    write_search(tmp_path / 'all' / 'plain', seed=4, epochs=1, lambda_=0.0)
    runs = find_runs([tmp_path / 'all'])
    assert [(run.method, run.seed) for run in runs] == [
        ('plain', 4), ('rdarts', 0), ('rdarts', 2), ('rdarts', 10)
    ]  # fmt: skip
    assert [set(run.lambdas) for run in runs] == [{0.0}, {0.75}, {0.75}, {0.75}]
    assert {run.dataset for run in runs} == {'CIFAR10'} and runs[0].space.name == 'nas_bench_201'
    assert runs[0].ended
    assert find_runs([tmp_path / 'all' / 'rdarts'])[1].folder.name == 'seed_2'
    # two methods of one name are told apart by the folders they are in
    write_search(tmp_path / 'other' / 'rdarts' / 'seed_0', epochs=1)
    both = find_runs([tmp_path / 'all' / 'rdarts' / 'seed_0', tmp_path / 'other' / 'rdarts'])
    assert [run.method for run in both] == ['all/rdarts', 'other/rdarts']


def test_means_and_validations(tmp_path):
    run = find_runs([write_search(tmp_path / 'run', epochs=2)])[0]
    assert run.means('loss') == pytest.approx({1: 2.15, 2: 1.15})
    assert run.means('arch_cosine_total', 'cell') == pytest.approx({1: 0.93, 2: 0.83})
    assert run.means('no', 'such') == {}
    assert run.validation() == {1: 40.0, 2: 40.0}


def test_folders_that_hold_no_search(tmp_path):
    with pytest.raises(UserError, match=r'no search_log.jsonl in .*: is it the folder of a search'):
        find_runs([tmp_path])
    folder = write_search(tmp_path / 'run', epochs=1)
    with pytest.raises(UserError, match='run is named twice'):
        find_runs([folder, tmp_path])
    other = write_search(tmp_path / 'darts', 'rdarts_darts_c10', epochs=1)
    with pytest.raises(UserError, match=r'different spaces .* searches nas_bench_201, .* darts$'):
        find_runs([folder, other])


def test_a_search_without_a_finished_epoch(tmp_path):
    run = find_runs([write_search(tmp_path / 'run', epochs=0)])[0]
    with pytest.raises(UserError, match='run: no epoch has ended yet'):
        _ = run.epochs


# What was found


def test_what_was_found_is_in_genotype_json(tmp_path):
    """A search that a hook has stopped keeps the genotype of an earlier epoch."""
    folder = write_search(tmp_path / 'run', seed=1)
    rows = read_search_log(folder, 'epoch')
    assert len({row['genotype'] for row in rows}) == len(rows) == 4
    (run,) = find_runs([folder])
    assert (run.found.to_string(), run.found_epoch) == (rows[3]['genotype'], 4)
    keep(folder, 2)
    (run,) = find_runs([folder])
    assert (run.found.to_string(), run.found_epoch) == (rows[1]['genotype'], 2)
    still_running(folder)
    (run,) = find_runs([folder])
    assert (run.found.to_string(), run.found_epoch) == (rows[3]['genotype'], 4)
    (folder / 'genotype.json').write_text(dumps(load_genotype(OTHER)))
    (run,) = find_runs([folder])
    assert (run.found.to_string(), run.found_epoch) == (OTHER, None)


def test_of_several_epochs_with_the_found_genotype_the_log_says_which(tmp_path):
    folder = write_search(tmp_path / 'run')
    texts = [row['genotype'] for row in read_search_log(folder, 'epoch')]
    assert texts[1] == texts[2] == texts[3]
    assert find_runs([folder])[0].found_epoch == 4
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=2))
    assert find_runs([folder])[0].found_epoch == 2
    # what genotype.json holds counts
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=1))
    assert find_runs([folder])[0].found_epoch == 4


def test_a_found_genotype_that_cannot_be_read(tmp_path):
    folder = write_search(tmp_path / 'run')
    for text, message in (
        ('{', 'run, genotype.json: .*genotype.json: genotype: this is no JSON'),
        (
            dumps(load_genotype('DARTS_V2')),
            "run, genotype.json: the genotype is of the space 'darts', but 'nas_bench_201' is",
        ),
    ):
        (folder / 'genotype.json').write_text(text)
        with pytest.raises(UserError, match=message) as error:
            _ = find_runs([folder])[0].found
        assert '\n' not in str(error.value)


def test_the_genotype_of_an_epoch_is_one_of_the_runs_space(tmp_path):
    darts = load_genotype('DARTS_V2')
    folder = write_search(tmp_path / 'run', epochs=2)
    path = folder / 'genotypes' / 'epoch_2.json'

    def genotype():
        (run,) = find_runs([folder])
        return run.genotype_of(run.epochs[1])

    assert genotype().space == 'nas_bench_201'
    text = path.read_text()
    path.write_text(dumps(darts))
    with pytest.raises(UserError, match="epoch 2: the genotype is of the space 'darts', but 'nas"):
        genotype()
    path.unlink()
    change_epoch(folder, 2, genotype=darts.to_string())
    with pytest.raises(UserError, match='epoch 2: genotype: it is of kind .cell., but those of'):
        genotype()
    change_epoch(folder, 2, genotype='DARTS_V2')  # a name is no genotype
    with pytest.raises(UserError, match='epoch 2: genotype: this is no JSON'):
        genotype()
    path.write_text(text)
    change_epoch(folder, 2, genotype=OTHER)
    with pytest.raises(UserError, match='the log has another genotype than epoch_2.json'):
        genotype()


def test_searches_in_their_first_epoch_are_left_out(tmp_path, capsys):
    for name, epochs in (('a', 0), ('b', 2), ('c', 0)):
        write_search(tmp_path / name, epochs=epochs)
    runs = find_runs([tmp_path])
    assert [run.method for run in begun_runs(runs)] == ['b']
    assert capsys.readouterr().err == ''.join(
        f'left out: {tmp_path / name}: no epoch has ended yet\n' for name in ('a', 'c')
    )
    with pytest.raises(UserError, match='/a, .*/c: no epoch has ended yet'):
        begun_runs([runs[0], runs[2]])
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('count', [199, 200, 401])
def test_a_log_is_parsed_in_pieces(tmp_path, count):
    """Keys of the rows of a piece are the same objects, which a long log needs less memory for."""
    path = tmp_path / 'search_log.jsonl'
    lines = [json.dumps(dict(kind='iter', epoch=n, own_key=n)) for n in range(1, count + 1)]
    path.write_text('\n'.join([*lines, '{"kind": "it']))
    rows = read_search_log(tmp_path)
    assert [row['own_key'] for row in rows] == list(range(1, count + 1))
    if count > 200:
        assert len({id(key) for row in rows[:200] for key in row}) == 3
    # what is JSON only together with its neighbours is none
    lines[count // 2] = '{"kind": "iter", "epoch": 1},{"kind": "iter", "epoch": 2}'
    path.write_text('\n'.join(lines))
    with pytest.raises(UserError, match=f'line {count // 2 + 1}: no JSON'):
        read_search_log(tmp_path)
