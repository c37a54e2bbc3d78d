"""The report: its data, its size, and the page itself in Chromium."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import shutil

import pytest
from mmengine.config import Config
from synthetic import ROOT, write_search
from test_visualization.logs import (
    change_config,
    change_epoch,
    change_log,
    change_space,
    keep,
    still_running,
)
from test_visualization.page import HOSTILE, NASTY, data_of

from rdarts.benchmarks import NASBench201
from rdarts.configuration.retraining import OWN
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, dumps
from rdarts.registry import OPERATIONS
from rdarts.results.log import read_search_log
from rdarts.results.margins import smallest_margin
from rdarts.results.search_run import dataset_name, find_runs
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import to_data
from rdarts.utils.commands import command
from rdarts.visualization import report
from rdarts.visualization.report import write_report
from rdarts.visualization.style import LINES


@pytest.mark.parametrize(
    ('config', 'edges'), [('rdarts_nb201_c10', [6]), ('rdarts_s1_c10', [14, 14])]
)
def test_the_data_are_those_of_the_log(tmp_path, config, edges):
    folder = write_search(tmp_path / 'run', config, seed=3, epochs=5)
    path = tmp_path / 'report.html'
    write_report(find_runs([folder]), path)
    data = data_of(path)
    (run,) = data['runs']
    rows = read_search_log(folder, 'epoch')
    assert run['epochs'] == [1, 2, 3, 4, 5] and run['seed'] == 3 and run['ended']
    assert (run['name'], run['dataset'], run['left_out']) == ('run, seed 3', 'CIFAR10', 0)
    shown = [run['drawings'][i]['genotype'] for i in run['drawing']]
    assert shown == [row['genotype'] for row in rows]
    assert len(run['drawings']) == len(set(shown))
    assert [len(cell['edges']) for cell in run['cells']] == edges
    space = find_runs([folder])[0].space
    for cell in run['cells']:
        for (group, index), columns, weights in zip(
            space.slots(cell['name']), cell['columns'], cell['weights'][-1], strict=True
        ):
            assert weights == pytest.approx(rows[-1]['weights'][group][index], abs=5.1e-5)
            names = next(g.candidates for g in space.groups if g.name == group)
            assert [cell['operations'][c] for c in columns] == list(names)
    charts = {chart['title']: chart for chart in data['charts']}
    if edges == [6]:  # of five candidates each
        last = f'{rows[-1]["mean_entropy"]:.4f} of {math.log(5):.4f} nats'
        assert run['facts'][-1]['entropy'] == last
    (line,) = charts['Entropy of an edge, all operations']['lines']
    assert line['points'] == [[r['epoch'], round(r['mean_entropy'], 4)] for r in rows]
    assert [line['name'] for line in charts['Regularisers']['lines']] == ['ber']
    assert charts['Regularisers']['lines'][0]['points'][0] == [1, 1.0]
    assert charts['Losses']['lines'][1]['points'][0] == [1, pytest.approx(2.25)]
    assert 'model = dict' in run['config'] and run['seconds'] == 52.0
    assert run['execution'] == 'fused'
    *_, option, shown = shlex.split(run['commands'][1])  # a path from here, where that is near
    assert option == '--genotype' and os.path.abspath(shown) == str(folder)


def test_a_running_search_says_how_to_go_on(tmp_path):
    folder = write_search(tmp_path / "it's here", epochs=2)
    still_running(folder)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert not run['ended'] and run['max_epochs'] == 5
    expected = command('train.py', folder / 'config.py', '--work-dir', folder, '--resume')
    assert run['commands'] == [expected]
    keep(folder, 2)
    for end in (False, True):
        run = dataclasses.replace(find_runs([folder])[0], known_end=end)
        write_report([run], tmp_path / 'report.html')
        assert data_of(tmp_path / 'report.html')['runs'][0]['ended'] == end


def test_a_search_that_kept_an_earlier_cell(tmp_path, monkeypatch):
    folder = write_search(tmp_path / 'run', seed=1, epochs=4)
    path = tmp_path / 'report.html'
    texts = [row['genotype'] for row in read_search_log(folder, 'epoch')]
    write_report(find_runs([folder]), path)
    assert data_of(path)['runs'][0]['kept'] is None
    keep(folder, 2)
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=2))
    write_report(find_runs([folder]), path)
    (run,) = data_of(path)['runs']
    assert run['kept'] == dict(epoch=2, genotype=texts[1]) and run['stopped'] == 'collapse'
    # the slider never leaves it out
    monkeypatch.setattr(report, 'MAX_BYTES', path.stat().st_size - 200)
    write_report(find_runs([folder]), path)
    (run,) = data_of(path)['runs']
    assert run['epochs'] == [1, 2, 4] and run['left_out'] == 1


def test_a_kept_cell_that_is_the_last_one_too(tmp_path):
    folder = write_search(tmp_path / 'run')
    texts = [row['genotype'] for row in read_search_log(folder, 'epoch')]
    assert texts[1] == texts[3]
    keep(folder, 2)
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=2))
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['kept'] is None and run['stopped'] == 'collapse'


def test_a_search_that_went_back(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=3)
    row = dict(schema=1, kind='roll_back', epoch=1, iter=0, left_epoch=3)
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write(json.dumps(row) + '\n')
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['roll_backs'] == [[3, 1]] and run['epochs'] == [1]


@pytest.mark.data
def test_the_table_gives_accuracies_and_optima(tmp_path, data_root):
    folder = write_search(tmp_path / 'run', epochs=2)
    table = NASBench201(data_root / 'nasbench201')
    write_report(find_runs([folder]), tmp_path / 'report.html', table)
    facts = data_of(tmp_path / 'report.html')['runs'][0]['facts'][1]
    charts = {chart['title']: chart for chart in data_of(tmp_path / 'report.html')['charts']}
    chart = charts['The cell in the table, CIFAR-10']
    cell = table.query(read_search_log(folder, 'epoch')[1]['genotype'])
    assert chart['lines'][0]['points'][1] == [2, pytest.approx(cell.accuracy('cifar10'), abs=1e-4)]
    assert chart['mark'] == pytest.approx(94.37, abs=0.005)
    assert facts['index'] == cell.index
    assert facts['accuracy']['CIFAR-10'] == cell.accuracy('cifar10')


def test_a_long_search_stays_small(tmp_path, monkeypatch):
    folder = write_search(tmp_path / 'run', 'rdarts_darts_c10', epochs=30)
    path = tmp_path / 'report.html'
    write_report(find_runs([folder]), path)
    whole = path.stat().st_size
    assert whole < 1_000_000
    monkeypatch.setattr(report, 'MAX_BYTES', whole // 2)
    write_report(find_runs([folder]), path)
    (run,) = data_of(path)['runs']
    assert path.stat().st_size <= whole // 2
    assert run['epochs'][0] == 1 and run['epochs'][-1] == 30
    assert run['left_out'] == 30 - len(run['epochs']) > 10
    assert len(data_of(path)['charts'][0]['lines'][0]['points']) == 30


def test_a_very_long_search(tmp_path, monkeypatch):
    """Slider and lines have some hundred points, however long it was; at each stop a value."""
    folder = write_search(tmp_path / 'run', epochs=2)
    shutil.rmtree(folder / 'genotypes')
    start, *_, epoch, val = (folder / 'search_log.jsonl').read_text().splitlines()
    begun, told = json.loads(epoch), json.loads(val)
    rows = [start]
    for number in range(1, 2501):
        begun.update(epoch=number, mean_entropy=1 / number)
        told.update(epoch=number)
        rows += [json.dumps(begun), json.dumps(told)] if number % 3 else [json.dumps(begun)]
    (folder / 'search_log.jsonl').write_text('\n'.join(rows) + '\n')
    path = tmp_path / 'report.html'
    write_report(find_runs([folder]), path)
    data = data_of(path)
    (run,) = data['runs']
    assert path.stat().st_size < report.MAX_BYTES
    assert run['epochs'][0] == 1 and run['epochs'][-1] == 2500
    assert len(run['epochs']) + run['left_out'] == 2500 and 800 < len(run['epochs']) <= 1002
    charts = {chart['title']: chart for chart in data['charts']}
    entropy = charts['Entropy of an edge, all operations']
    (line,) = entropy['lines']
    assert entropy['every'] == 9  # 2,500 points in 300
    shown = [at for at, _ in line['points']]
    assert shown == sorted(shown) and set(run['epochs']) <= set(shown)
    assert len(shown) <= len(run['epochs']) + 300
    assert dict(line['points'])[2500] == pytest.approx(1 / 2500)
    (validated,) = charts["Supernet on alpha's half"]['lines']
    shown = {at for at, _ in validated['points']}
    assert shown >= {at for at in run['epochs'] if at % 3} and all(at % 3 for at in shown)


def test_nothing_is_fetched_and_nothing_ends_the_script(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=1)
    change_config(folder, f'comment = {NASTY!r}')
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = (tmp_path / 'report.html').read_text()
    assert NASTY not in page and page.count('</script>') == 2
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page
    assert NASTY in data_of(tmp_path / 'report.html')['runs'][0]['config']


def test_what_cannot_be_written(tmp_path):
    runs = find_runs([write_search(tmp_path / 'run', epochs=1)])
    with pytest.raises(UserError, match='cannot write .*: No such file'):
        write_report(runs, tmp_path / 'missing' / 'report.html')
    empty = find_runs([write_search(tmp_path / 'empty', epochs=0)])
    with pytest.raises(UserError, match='no epoch has ended yet'):
        write_report(empty, tmp_path / 'report.html')
    assert not (tmp_path / 'report.html').exists()


# The page


def shown(page):
    """What the page shows of the first run: epoch, genotype, drawing, weights."""
    return (
        page.text_content('#shown'),
        page.text_content('pre.genotype'),
        page.inner_html('.drawing'),
        page.inner_html('.weights'),
    )


@pytest.mark.parametrize(
    'config', ['rdarts_nb201_c10', 'rdarts_darts_c10', 'rdarts_mobilenet_like_c10']
)
def test_the_slider_redraws(tmp_path, open_page, config):
    folder = write_search(tmp_path / 'run', config, epochs=6)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    rows = read_search_log(folder, 'epoch')
    last = shown(page)
    assert last[0] == '6 of 6' and last[1] == rows[-1]['genotype']
    page.focus('#epoch')
    page.keyboard.press('Home')
    first = shown(page)
    assert first[0] == '1 of 6' and first[1] == rows[0]['genotype']
    assert rows[0]['genotype'] != rows[-1]['genotype']
    assert first[2] != last[2] and first[3] != last[3]
    # every operation of the genotype but `none` is written into its picture
    operations = find_runs([folder])[0].genotype_of(rows[0]).operations()
    names = sorted(name for name in operations if name != 'none')
    texts = page.eval_on_selector_all('.drawing svg text', 'all => all.map(t => t.textContent)')
    assert sorted(text for text in texts if text in set(names)) == names
    # the numbers of the charts are those of the epoch
    values = page.eval_on_selector_all('.key b', 'all => all.map(b => b.textContent)')
    assert str(round(rows[0]['mean_entropy'], 4)) in values
    cursor = page.get_attribute('.cursor', 'd')
    page.keyboard.press('ArrowRight')
    assert page.text_content('#shown') == '2 of 6'
    assert page.get_attribute('.cursor', 'd') != cursor
    page.keyboard.press('End')
    assert shown(page) == last


def test_buttons_and_keys_work_without_a_mouse(tmp_path, open_page):
    write_report(find_runs([write_search(tmp_path / 'run', epochs=4)]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    page.keyboard.press('ArrowLeft')  # nothing has the focus
    assert page.text_content('#shown') == '3 of 4'
    for name, expected in (('first', '1 of 4'), ('after', '2 of 4'), ('before', '1 of 4')):
        page.focus(f'#{name}')
        page.keyboard.press('Enter')
        assert page.text_content('#shown') == expected
    page.focus('#before')
    page.keyboard.press('Enter')
    assert page.text_content('#shown') == '1 of 4'
    page.focus('summary')
    page.keyboard.press('Enter')
    assert page.is_visible('pre.config')
    reached = set()
    page.focus('#first')
    for _ in range(20):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('document.activeElement.id || document.activeElement.className'))
    assert {'before', 'epoch', 'after', 'last', 'copy', 'scroll'} <= reached


def test_the_genotype_can_be_copied(tmp_path, browser):
    folder = write_search(tmp_path / 'run', epochs=2)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = browser.new_page()
    page.goto((tmp_path / 'report.html').as_uri())
    replace = '() => Object.defineProperty(navigator, "clipboard", {value: %s}) && null'
    # a page from a file may lack the clipboard: then the text is selected
    page.evaluate(replace % 'undefined')
    page.click('.copy')
    page.wait_for_function("document.querySelector('.copy').textContent.startsWith('Selected')")
    assert page.evaluate('getSelection().toString()') == read_search_log(folder)[-2]['genotype']
    page.reload()
    page.evaluate(replace % '{writeText: async text => { window.got = text; }}')
    page.click('.copy')
    page.wait_for_function('window.got')
    assert page.evaluate('window.got') == read_search_log(folder)[-2]['genotype']
    page.close()


def test_several_searches_side_by_side(tmp_path, open_page):
    for seed, epochs in ((0, 5), (1, 3)):
        write_search(tmp_path / 'rdarts' / f'seed_{seed}', seed=seed, epochs=epochs)
    write_report(find_runs([tmp_path / 'rdarts']), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    boxes = [section.bounding_box() for section in page.query_selector_all('#runs .run')]
    assert len(boxes) == 2 and boxes[0]['y'] == boxes[1]['y']
    assert boxes[0]['x'] + boxes[0]['width'] <= boxes[1]['x']
    genotypes = page.eval_on_selector_all('pre.genotype', 'all => all.map(p => p.textContent)')
    # the shorter one stays at its last epoch
    expected = [read_search_log(run.folder, 'epoch')[-1]['genotype'] for run in
                find_runs([tmp_path / 'rdarts'])]  # fmt: skip
    assert genotypes == expected
    assert page.text_content('#shown') == '5 of 5'
    names = page.eval_on_selector_all('.key li', 'all => all.map(li => li.textContent)')
    assert any(name.startswith('rdarts, seed 1: parameter-free –') for name in names)


def test_ties_and_near_uniform_weights_are_said(tmp_path, open_page):
    """What looks the same on the page is not called the largest."""
    folder = write_search(tmp_path / 'run', epochs=2)

    def even(row):
        if (row['kind'], row['epoch']) == ('epoch', 1):
            row['weights']['cell'] = [
                [0.2, 0.2001, 0.2003, 0.2, 0.1996],  # three that tie, to the digits shown
                [0.2, 0.2001, 0.201, 0.199, 0.1999],
                *[[0.2] * 5] * 4,
            ]

    change_log(folder, even)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    facts = data_of(tmp_path / 'report.html')['runs'][0]['facts']
    assert facts[0]['uniform'] == 'near-uniform weights (each within 0.5 % of the mean of its edge)'
    assert facts[1]['uniform'] is None
    page = open_page(tmp_path / 'report.html')
    assert 'near-uniform' not in page.text_content('.facts')
    assert page.locator('td.most').count() == 6 and page.locator('.ties').count() == 0
    page.focus('#epoch')
    page.keyboard.press('Home')
    assert facts[0]['uniform'] in page.text_content('.facts')
    assert page.text_content('td.most') == '0.201' and page.locator('td.most').count() == 1
    assert page.locator('td.tied').count() == 5 + 4 * 5
    assert page.text_content('.ties').startswith('On 5 of 6 edges several weights tie')


def test_layers_are_drawn_layer_by_layer(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', 'rdarts_mobilenet_like_c10', epochs=3)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    pills = 'all => all.filter(t => /^(mbconv|skip)/.test(t.textContent)).map(t => t.textContent)'
    pictures = []
    for row in reversed(read_search_log(folder, 'epoch')):
        layers = row['genotype'].split(' - ')
        assert page.text_content('pre.genotype') == row['genotype'] and len(layers) == 21
        assert page.eval_on_selector_all('.drawing svg text', pills) == layers
        assert len(page.query_selector_all('.weights tbody tr')) == 21
        pictures.append(page.inner_html('.drawing'))
        page.focus('#epoch')
        page.keyboard.press('ArrowLeft')
    assert len(set(pictures)) == 3
    # within the panel, and in rows
    box, panel = (page.query_selector(name).bounding_box() for name in ('.drawing svg', '.run'))
    assert box['width'] <= panel['width'] and box['height'] > 150


def test_the_cell_that_was_kept_is_named(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', seed=1, epochs=4)
    texts = [row['genotype'] for row in read_search_log(folder, 'epoch')]
    keep(folder, 2)
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=2))
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.text_content('p.status') == 'ended after epoch 4 (stopped: collapse)'
    assert 'another cell than its last: that of epoch 2' in page.text_content('.found')
    assert page.text_content('pre.kept') == texts[1] != page.text_content('pre.genotype')
    assert 'the cell that was kept' not in page.text_content('.facts')
    page.focus('#first')
    page.keyboard.press('Enter')
    page.keyboard.press('ArrowRight')
    assert page.text_content('pre.genotype') == texts[1]
    assert 'the cell that was kept' in page.text_content('.facts')
    still_running(folder)
    write_report(find_runs([folder]), tmp_path / 'running.html')
    page = open_page(tmp_path / 'running.html')
    expected = 'still running: epoch 4 of 5 has ended; reload to see more'
    assert page.text_content('p.status') == expected and page.query_selector('.found') is None


@pytest.mark.data
def test_the_optimum_is_readable(tmp_path, open_page, data_root):
    """Its name lies above its line, which nothing exceeds, within the picture, with a rim."""
    folder = write_search(tmp_path / 'run', epochs=5)
    table = NASBench201(data_root / 'nasbench201')
    write_report(find_runs([folder]), tmp_path / 'report.html', table)
    page = open_page(tmp_path / 'report.html')
    found = page.eval_on_selector_all(
        '.mark',
        """all => all.map(text => {
            const box = text.getBBox(), svg = text.parentNode;
            const lines = [...svg.querySelectorAll('path[stroke-width="2"]')];
            return {
                text: text.textContent, order: getComputedStyle(text).paintOrder,
                top: box.y, bottom: box.y + box.height, last: text === svg.lastElementChild,
                lines: lines.map(line => line.getBBox().y),
            };
        })""",
    )
    assert [mark['text'] for mark in found] == ['optimum 94.37', 'optimum 73.51', 'optimum 47.31']
    for mark in found:
        assert mark['last'] and mark['order'].startswith('stroke')
        assert 0 <= mark['top'] and len(mark['lines']) == 1
        assert mark['bottom'] <= mark['lines'][0]


@pytest.mark.slow
def test_lines_of_many_runs_differ(tmp_path, open_page):
    folders = [write_search(tmp_path / f'{i}', seed=i, epochs=2) for i in range(len(LINES) + 2)]
    write_report(find_runs(folders), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    samples = page.eval_on_selector_all(
        'figure:first-child .key svg', 'all => all.map(svg => svg.innerHTML)'
    )
    assert len(set(samples)) == len(samples) == len(LINES) + 2
    assert not any('undefined' in sample for sample in samples)
    # the dashes are those of the pictures, in pixels
    assert 'stroke-dasharray="7.4 3.2"' in samples[1] and 'dasharray="none"' in samples[0]


HOSTILE_OPERATIONS = [f'{i}{NASTY}' for i in range(5)]


def hostile_search(folder):
    """A search whose every text is markup; its space is a table in the config."""
    write_search(folder, epochs=2)
    cell = dict(num_inputs=1, num_nodes=4, output='last', candidates=HOSTILE_OPERATIONS)
    space = dict(type='CellSpace', name=f'space{NASTY}', cells=dict(cell=cell))
    change_space(folder, to_data(build_space(space)))
    change_config(
        folder,
        f'train_dataloader["dataset"]["dataset"]["type"] = {"data" + HOSTILE!r}\n'
        f'comment = {"config" + NASTY!r}\n',
    )
    for epoch in (1, 2):
        nodes = tuple(
            tuple((HOSTILE_OPERATIONS[(i + j + epoch) % 5], i) for i in range(j))
            for j in range(1, 4)
        )
        genotype = CellGenotype(space['name'], {'cell': nodes}, {'cell': (3,)})
        (folder / 'genotypes' / f'epoch_{epoch}.json').write_text(dumps(genotype))
        change_epoch(folder, epoch, genotype=genotype.to_string())
    keep(folder, 1)
    change_epoch(folder, 2, stopped=dict(by=f'hook{NASTY}', kept_epoch=1), execution=NASTY)

    def name_versions(row):
        if row['kind'] == 'start':
            row['versions'] = {f'module{NASTY}': f'version{NASTY}', 'torch': NASTY}
            row['machine'] = dict(cpu=f'cpu{NASTY}', instructions=NASTY)

    change_log(folder, name_versions)


def test_whatever_a_run_says_is_text(tmp_path, open_page, monkeypatch):
    """Names from elsewhere are shown, never run."""
    known = OPERATIONS.module_dict
    for name in HOSTILE_OPERATIONS:
        monkeypatch.setitem(known, name, known['skip_connect'])
    names = [f'{name}&"{HOSTILE}' for name in 'ab']
    for name in names:
        hostile_search(tmp_path / name)
    still_running(tmp_path / names[1])
    runs = find_runs([tmp_path / name for name in names])
    write_report(runs, tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    page.focus('#first')
    page.keyboard.press('Enter')
    for summary in page.query_selector_all('summary'):
        summary.click()
    text = page.text_content('main') + page.text_content('header')
    for shown, count in (
        (names[0], 5),  # panel, charts' keys, how it was made, folder, commands
        (f'space{NASTY}', 3),
        (f'data{HOSTILE}', 3),
        (f'module{NASTY} version{NASTY}', 2),
        (f'(stopped: hook{NASTY})', 1),
        (f'config{NASTY}', 2),
        (f'1{NASTY}', 6),  # genotype, drawing, weights
    ):
        assert text.count(shown) >= count, (shown, text.count(shown))
    genotypes = [run.genotype_of(run.epochs[0]).to_string() for run in runs]
    assert page.text_content('pre.kept') == genotypes[0]
    assert [pre.text_content() for pre in page.query_selector_all('pre.genotype')] == genotypes
    labels = page.eval_on_selector_all('[aria-label]', 'all => all.map(e => e.ariaLabel)')
    assert f'{names[0]}, seed 0: {genotypes[0]}' in labels
    assert page.title().startswith(f'{names[0]}, seed 0, {names[1]}')
    assert page.query_selector('img') is None and page.evaluate('window.hit === undefined')
    assert len(page.query_selector_all('script')) == 2


def test_one_hostile_run_has_the_title(tmp_path, open_page):
    folder = write_search(tmp_path / f'a{HOSTILE}', epochs=1)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.text_content('#title') == f'a{HOSTILE}, seed 0'
    assert page.query_selector('img') is None and page.evaluate('window.hit === undefined')


@pytest.mark.parametrize(
    'change',
    [
        dict(loss=float('nan')), dict(loss='x'), dict(loss=10**400), dict(time=None),
        dict(arch_cosine_total=[1]), dict(regularizers=None),
        dict(regularizers=dict(ber=dict(lambda_='x'))),
    ],
)  # fmt: skip
def test_odd_iterations_are_left_out(tmp_path, change):
    folder = write_search(tmp_path / 'run', epochs=2)
    rows = [json.loads(line) for line in (folder / 'search_log.jsonl').read_text().splitlines()]
    for row in rows:
        if row['kind'] == 'iter' and row['epoch'] == 1:
            row.update(change)
    rows[0].update(seed=float('inf'), versions=[1], machine=3)
    for row in rows:
        if row['kind'] == 'val':
            row['accuracy/top1'] = [1]
        if row['kind'] == 'epoch':
            row.update(benchmark=5, execution=5)
    (folder / 'search_log.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['epochs'] == [1, 2] and run['seed'] is None and run['versions'] == {}
    assert run['execution'] is None and run['machine'] is None


def test_it_says_on_what_it_was_computed_and_how_narrowly(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', epochs=2)
    (folder / 'genotype.json').write_bytes((folder / 'genotypes' / 'epoch_2.json').read_bytes())

    def name_machine(row):
        if row['kind'] == 'start':
            row['machine'] = dict(cpu='Some CPU', instructions='AVX2', gpu='Some GPU')
            row['versions'] = dict(torch='2.14.1')

    change_log(folder, name_machine)
    (run,) = find_runs([folder])
    write_report([run], tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    head = page.text_content('#subtitle')
    assert head.endswith('; computed by Some CPU, AVX2, Some GPU, torch 2.14.1')
    said = page.text_content('#sources')
    assert 'machineSome CPU, AVX2, Some GPU' in said
    assert f'smallest margin{smallest_margin(run):.1e}, by which' in said
    (folder / 'genotype.json').unlink()  # it goes on
    write_report(find_runs([folder]), tmp_path / 'open.html')
    assert data_of(tmp_path / 'open.html')['runs'][0]['margin'] is None


@pytest.mark.parametrize('config', ['model = 5', 'train_cfg = [1]', 'train_dataloader = 3'])
def test_configs_of_another_form_are_shown_all_the_same(tmp_path, config):
    folder = write_search(tmp_path / 'run', epochs=1)
    change_config(folder, config)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert config in run['config']


def test_the_config_for_retraining_is_that_of_space_and_data(tmp_path):
    for config, expected in (
        ('rdarts_nb201_c100', 'nb201_c100'), ('rdarts_nb201_in16', 'nb201_in16'),
        ('rdarts_s3_c10', 'darts_c10_16x8'), ('rdarts_darts_c100', 'darts_c100'),
    ):  # fmt: skip
        folder = write_search(tmp_path / config, config, epochs=1)
        write_report(find_runs([folder]), tmp_path / 'report.html')
        command = data_of(tmp_path / 'report.html')['runs'][0]['commands'][-1]
        *_, script, option, shown = shlex.split(command)
        assert script.endswith(f'configs/retrain/{expected}.py') and option == '--genotype'
        assert os.path.abspath(shown) == str(folder)


SPACES = ('nas_bench_201', 'darts', 's1', 's2', 's3', 's4', 'mobilenet_like')
SHIPPED = {
    (space, data): name for space in SPACES for data, name in build_space(space).retraining.items()
}
NO_RETRAINING = {('mobilenet_like', 'CIFAR10')}  # the network of that space is ImageNet's


@pytest.mark.slow
def test_every_search_config_has_one_for_retraining():
    for name in SHIPPED.values():
        assert (ROOT / 'configs' / 'retrain' / f'{name}.py').is_file(), name
    supported = set()
    for path in sorted((ROOT / 'configs' / 'search').glob('*.py')):
        cfg = Config.fromfile(path)
        supported.add((build_space(cfg.model.backbone.space).name, dataset_name(cfg)))
    assert supported - set(SHIPPED) == NO_RETRAINING
    more = {(space, OWN) for space in SPACES}
    large = {(space, 'ImageNetFolder') for space in SPACES if space.startswith('s')}
    assert set(SHIPPED) - supported == more | large


@pytest.mark.parametrize('pair', sorted(SHIPPED))
def test_the_config_for_retraining_is_of_that_space_and_data(pair):
    cfg = Config.fromfile(ROOT / 'configs' / 'retrain' / f'{SHIPPED[pair]}.py')
    assert dataset_name(cfg) == pair[1]


def test_own_images_are_trained_on_by_the_config_beside_the_log(tmp_path):
    folder = write_search(tmp_path / "it's here", epochs=1)
    own = 'dict(dataset=dict(type="rdarts.ImageFolder"))'
    change_config(folder, f'train_dataloader = {own}')
    commands = []
    for _ in range(2):
        write_report(find_runs([folder]), tmp_path / 'report.html')
        commands.append(data_of(tmp_path / 'report.html')['runs'][0]['commands'])
        (folder / 'retrain.py').touch()
    assert len(commands[0]) == 1 and commands[1][:1] == commands[0]
    assert commands[1][1] == command('train.py', folder / 'retrain.py')


def test_more_runs_than_a_page_holds(tmp_path, monkeypatch):
    runs = find_runs([write_search(tmp_path / 'run', epochs=2)])
    monkeypatch.setattr(report, 'MAX_BYTES', 20_000)
    with pytest.raises(UserError, match='1 runs are too many for one report: name fewer'):
        write_report(runs, tmp_path / 'report.html')
