"""What the report shows of a search in phases: whose each epoch is, and which branch went on."""

from __future__ import annotations

import json

import pytest
from synthetic import write_search
from test_visualization.logs import change_config, still_running
from test_visualization.page import HOSTILE, data_of

from rdarts.results import search_run
from rdarts.results.digest import run_of
from rdarts.results.log import read_search_log
from rdarts.results.row import number
from rdarts.results.search_run import find_runs
from rdarts.visualization import report
from rdarts.visualization.report import write_report

KEEP = dict(type='rdarts.KeepTopOps', keep=3)
DEEPER = dict(model=dict(backbone=dict(cells_per_stage=7)))
SPLIT = (dict(epochs=3), dict(epochs=2, branches=3, start=KEEP, **DEEPER))
THEN = (*SPLIT, dict(epochs=3, continue_from_last=['weights', 'alpha']))


def report_of(folder, path, **kwargs):
    write_search(folder, **kwargs)
    write_report(find_runs([folder]), path)
    return data_of(path)


def test_the_data_of_phases(tmp_path):
    data = report_of(tmp_path / 'run', tmp_path / 'r.html', phases=THEN, chosen={1: 1})
    (run,) = data['runs']
    assert run['epochs'] == [*range(1, 13)] and run['last'] == 12 and run['max_epochs'] == 12
    keys = ('name', 'first', 'last', 'chosen')
    assert [tuple(part[key] for key in keys) for part in run['parts']] == [
        ('phase 1', 1, 3, None),
        ('phase 2, branch 1', 4, 5, False),
        ('phase 2, branch 2', 6, 7, True),
        ('phase 2, branch 3', 8, 9, False),
        ('phase 3', 10, 12, None),
    ]
    assert [part['words'] for part in run['parts']] == [
        [],
        ['KeepTopOps(keep=3)', 'all starts anew', 'model.backbone.cells_per_stage 5 → 7'],
        [],
        [],
        ['weights, alpha from the phase before', 'model.backbone.cells_per_stage 7 → 5'],
    ]


class AllRows:
    """In place of a digest: all rows of a log as they are."""

    def __init__(self, folder):
        rows = read_search_log(folder)
        self.rows = [row for row in rows if row['kind'] != 'iter']
        self.iterations = [row for row in rows if row['kind'] == 'iter']

    def means(self, *keys):
        found = {}
        for row in self.iterations:
            if (value := number(row, *keys)) is not None:
                found.setdefault(row['epoch'], []).append(value)
        return {epoch: sum(values) / len(values) for epoch, values in found.items()}

    def names(self, key):
        return list(dict.fromkeys(name for row in self.iterations for name in row.get(key, ())))

    def largest(self, name):
        return [(run_of(row), row[name]) for row in self.iterations if name in row]

    def seconds(self):
        told = [(run_of(row), row.get('time', 0.0)) for row in self.rows + self.iterations]
        return {run: max(time for of, time in told if of == run) for run, _ in told}

    @property
    def factors(self):
        found = [row['regularizers']['ber']['lambda_'] for row in self.iterations]
        return [now for before, now in zip([None, *found], found, strict=False) if now != before]


def test_the_page_is_that_of_all_rows(tmp_path, monkeypatch):
    folder = write_search(tmp_path / 'run', phases=THEN, chosen={1: 1})
    path = folder / 'search_log.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    first = next(i for i, row in enumerate(rows) if row['epoch'] == 12)
    left = [dict(row) for row in rows[first:] if row['epoch'] == 12 and row['kind'] != 'phase']
    for row in left:
        if row['kind'] == 'iter':
            row.update(loss=50.0, time=1e6, regularizers=dict(ber=dict(lambda_=9.0, value=3.0)))
        elif row['kind'] == 'epoch':
            row.update(mean_entropy=0.001, skip_connections=77)
    back = dict(schema=1, kind='roll_back', phase=2, epoch=11, iter=22, left_epoch=12)
    rows[first:first] = [*left, back]
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    pages = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(search_run, 'Digest', AllRows)
        write_report(find_runs([folder]), tmp_path / 'r.html')
        pages.append((tmp_path / 'r.html').read_text())
    assert pages[0] == pages[1]
    (run,) = data_of(tmp_path / 'r.html')['runs']
    assert run['epochs'] == [*range(1, 13)]
    assert '1000000' not in pages[0]


def test_the_data_of_a_search_without_phases(tmp_path):
    (run,) = report_of(tmp_path / 'run', tmp_path / 'r.html', epochs=2)['runs']
    assert run['parts'] == [] and run['last'] == 2


def test_ends_of_phases_are_never_left_out(tmp_path, monkeypatch):
    phases = [dict(epochs=10), dict(epochs=10)]
    folder = write_search(tmp_path / 'run', 'rdarts_darts_c10', phases=phases)
    path = tmp_path / 'r.html'
    write_report(find_runs([folder]), path)
    monkeypatch.setattr(report, 'MAX_BYTES', path.stat().st_size * 3 // 4)
    write_report(find_runs([folder]), path)
    (run,) = data_of(path)['runs']
    assert run['left_out'] > 4 and {1, 10, 11, 20} <= set(run['epochs'])


# The page


def test_the_slider_runs_through_the_phases(tmp_path, open_page):
    report_of(tmp_path / 'run', tmp_path / 'r.html', phases=THEN, chosen={1: 1})
    page = open_page(tmp_path / 'r.html')
    assert page.text_content('#shown') == '12 of 12, phase 3'
    assert page.locator('.track i.phase').count() == page.locator('.track i.branch').count() == 2
    handle = page.locator('#epoch').bounding_box()
    lefts = [page.locator('.track i').nth(i).bounding_box()['x'] for i in range(4)]
    shares = [(left - handle['x'] - 8) / (handle['width'] - 16) for left in lefts]
    assert shares == pytest.approx([2.5 / 11, 4.5 / 11, 6.5 / 11, 8.5 / 11], abs=0.01)
    items = page.eval_on_selector_all('.parts li', 'all => all.map(item => item.textContent)')
    assert items[0] == 'phase 1: epochs 1 to 3 (phase_0)'
    assert items[1].startswith(
        'phase 2, branch 1: epochs 4 to 5, not chosen (phase_1/branch_0)Keep'
    )
    assert items[2] == 'phase 2, branch 2: epochs 6 to 7, chosen (phase_1/branch_1)'
    assert 'model.backbone.cells_per_stage 5 → 7' in items[1] and 'all starts anew' in items[1]
    page.focus('#epoch')
    for epoch, where in (
        (11, 'phase 3'),
        (10, 'phase 3'),
        (9, 'phase 2, branch 3, a branch that was not chosen'),
        (8, 'phase 2, branch 3, a branch that was not chosen'),
        (7, 'phase 2, branch 2, the branch that was chosen'),
    ):
        page.keyboard.press('ArrowLeft')
        assert page.text_content('#shown') == f'{epoch} of 12, {where}'
        assert page.get_attribute('#epoch', 'aria-valuetext') == f'epoch {epoch}, {where}'
    here = 'epoch 7 (phase 2, branch 2, the branch that was chosen, epoch 2 of it)'
    assert page.text_content('.facts').startswith(here)
    assert page.text_content('[aria-current]') == items[2]


def test_lines_end_where_a_phase_does(tmp_path, open_page):
    report_of(tmp_path / 'run', tmp_path / 'r.html', phases=THEN, chosen={1: 1})
    page = open_page(tmp_path / 'r.html')
    chart = page.locator('figure', has_text='Entropy of an edge, all operations')
    ends = chart.locator('path.end')
    dashes = [ends.nth(i).get_attribute('stroke-dasharray') for i in range(ends.count())]
    assert dashes == ['none', '1 3', '1 3', 'none']
    lines = chart.locator('path[stroke-width="2"][opacity]')
    found = [
        (line.get_attribute('opacity'), line.get_attribute('d').count(','))
        for line in (lines.nth(i) for i in range(lines.count()))
    ]
    assert found == [('1', 3), ('0.35', 2), ('1', 2), ('0.35', 2), ('1', 3)]
    assert 'pale is of branches that were not chosen' in page.text_content('#lines')


def test_the_page_opens_with_what_was_chosen(tmp_path, open_page):
    folder = tmp_path / 'run'
    report_of(folder, tmp_path / 'r.html', seed=1, phases=SPLIT, chosen={1: 0})
    (run,) = find_runs([folder])
    page = open_page(tmp_path / 'r.html')
    assert page.text_content('#shown') == '5 of 9, phase 2, branch 1, the branch that was chosen'
    assert page.text_content('pre.genotype') == run.found.to_string()
    status = (
        'ended after epoch 9; what it found is of epoch 5, the last of the branch that was chosen'
    )
    assert page.text_content('.status') == status
    assert page.locator('.found').count() == 0


def test_a_search_in_its_second_phase(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', phases=SPLIT)
    still_running(folder)
    log = folder / 'search_log.jsonl'
    lines = log.read_text().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if '"epoch", "epoch": 6' in line)
    log.write_text(''.join(lines[: end + 1]))
    write_report(find_runs([folder]), tmp_path / 'r.html')
    page = open_page(tmp_path / 'r.html')
    assert page.text_content('#shown') == '6 of 6, phase 2, branch 2'
    items = page.eval_on_selector_all('.parts li', 'all => all.map(item => item.textContent)')
    assert items[-1] == 'phase 2, branch 2: epoch 6 so far (phase_1/branch_1)'
    assert page.text_content('.status').startswith('still running: epoch 6 of 9 has ended')


def test_searches_with_other_phases_side_by_side(tmp_path, open_page):
    one = write_search(tmp_path / 'one', phases=SPLIT[:1] * 2)
    two = write_search(tmp_path / 'two', epochs=4)
    write_report(find_runs([one, two]), tmp_path / 'r.html')
    page = open_page(tmp_path / 'r.html')
    assert page.text_content('#shown') == '6 of 6'  # the panels say where each is
    facts = page.eval_on_selector_all('.facts', 'all => all.map(p => p.textContent)')
    assert facts[0].startswith('epoch 6 (phase 2, epoch 3 of it);')
    assert facts[1].startswith('epoch 4;')
    assert page.locator('.parts').count() == 1 and page.locator('.track i').count() == 1


def test_what_a_phase_says_is_text(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', phases=SPLIT[:1] * 2)
    change_config(folder, f'phases[1]["start"] = dict(type={HOSTILE!r}, a={HOSTILE!r})')
    write_report(find_runs([folder]), tmp_path / 'r.html')
    page = open_page(tmp_path / 'r.html')
    assert HOSTILE.rsplit('.', 1)[-1] in page.text_content('.parts')
    assert page.query_selector('img') is None and page.evaluate('window.hit === undefined')
