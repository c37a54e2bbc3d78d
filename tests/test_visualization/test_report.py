"""The report: its data, its size, and the page itself in Chromium."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
from synthetic import write_search

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.visualization import report
from rdarts.visualization.report import write_report
from rdarts.visualization.search_log import find_runs, read_search_log

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)
NASTY = '</script><img src=x onerror="document.title=1"><!--'


def data_of(path):
    text = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text('utf-8'), re.S
    )
    return json.loads(text[1])


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
    (line, *_) = charts['Entropy of an edge']['lines']
    assert line['points'] == [[r['epoch'], round(r['mean_entropy'], 4)] for r in rows]
    assert charts['Losses']['lines'][1]['points'][0] == [1, pytest.approx(2.25)]
    assert 'model = dict' in run['config'] and run['seconds'] == 52.0
    assert f'--genotype {folder}' in run['commands'][1]


def test_a_running_search_says_how_to_go_on(tmp_path):
    folder = write_search(tmp_path / "it's here", epochs=2)
    (folder / 'genotype.json').unlink()
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert not run['ended'] and run['max_epochs'] == 5
    quoted = "'" + str(folder).replace("'", "'\"'\"'") + "'"
    expected = f'python tools/train.py {quoted}/config.py --work-dir {quoted} --resume'
    assert run['commands'] == [expected]
    ended = dataclasses.replace(find_runs([folder])[0], known_end=True)
    write_report([ended], tmp_path / 'report.html')
    assert data_of(tmp_path / 'report.html')['runs'][0]['ended']


@pytest.mark.data
def test_the_table_gives_accuracies_and_optima(tmp_path, data_root):
    folder = write_search(tmp_path / 'run', epochs=2)
    table = NASBench201(data_root / 'nasbench201')
    write_report(find_runs([folder]), tmp_path / 'report.html', table)
    charts = {chart['title']: chart for chart in data_of(tmp_path / 'report.html')['charts']}
    chart = charts['The cell in the table, CIFAR-10']
    cell = table.query(read_search_log(folder, 'epoch')[1]['genotype'])
    assert chart['lines'][0]['points'][1] == [2, pytest.approx(cell.accuracy('cifar10'), abs=1e-4)]
    assert chart['mark'] == pytest.approx(94.37, abs=0.005)


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


def test_nothing_is_fetched_and_nothing_ends_the_script(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=1)
    (folder / 'config.py').write_text(
        (folder / 'config.py').read_text() + f'\ncomment = {NASTY!r}\n'
    )
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


@pytest.fixture(scope='module')
def browser():
    if CHROMIUM is None:
        pytest.skip('Chromium is not installed (apt-get install chromium)')
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    with sync_api.sync_playwright() as playwright:
        # as root, Chromium does not start with its sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a report; at the end, nothing may have been said on the console or asked for."""
    said, asked, pages = [], [], []

    def open_(path):
        page = browser.new_page(viewport=dict(width=1400, height=900))
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.on('request', lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_
    files = {page.url for page in pages}
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if url not in files and not url.startswith('data:')] == []


def shown(page):
    """What the page shows of the first run: epoch, genotype, drawing, weights."""
    return (
        page.text_content('#shown'),
        page.text_content('pre.genotype'),
        page.inner_html('.drawing'),
        page.inner_html('.weights'),
    )


@pytest.mark.parametrize('config', ['rdarts_nb201_c10', 'rdarts_darts_c10'])
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
    operations = re.findall(r"'(\w+)',|\|(\w+)~", rows[0]['genotype'])
    names = sorted(a or b for a, b in operations if (a or b) != 'none')
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
    assert any(name.startswith('rdarts, seed 1: all operations –') for name in names)


def test_what_a_run_says_is_text(tmp_path, open_page):
    """Names from elsewhere are shown, never run."""
    folder = write_search(tmp_path / 'a<b>&"c"', epochs=1)
    (folder / 'config.py').write_text(
        (folder / 'config.py').read_text() + f'\ncomment = {NASTY!r}\n'
    )
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.text_content('#title') == 'a<b>&"c", seed 0'
    assert page.title().startswith('a<b>&"c", seed 0')
    assert NASTY in page.text_content('pre.config')
    assert page.query_selector('img') is None


@pytest.mark.parametrize(
    'change',
    [
        dict(loss=float('nan')), dict(loss='x'), dict(loss=10**400), dict(time=None),
        dict(arch_cosine_total=[1]), dict(BatchEntropyDecay=None),
        dict(BatchEntropyDecay=dict(lambda_='x')),
    ],
)  # fmt: skip
def test_odd_iterations_are_left_out(tmp_path, change):
    folder = write_search(tmp_path / 'run', epochs=2)
    rows = [json.loads(line) for line in (folder / 'search_log.jsonl').read_text().splitlines()]
    for row in rows:
        if row['kind'] == 'iter' and row['epoch'] == 1:
            row.update(change)
    rows[0].update(seed=float('inf'), versions=[1])
    for row in rows:
        if row['kind'] == 'val':
            row['accuracy/top1'] = [1]
        if row['kind'] == 'epoch':
            row['benchmark'] = 5
    (folder / 'search_log.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['epochs'] == [1, 2] and run['seed'] is None and run['versions'] == {}


@pytest.mark.parametrize('config', ['model = 5', 'model = [1]', 'model = dict(backbone=[1])'])
def test_configs_of_no_search(tmp_path, config):
    folder = write_search(tmp_path / 'run', epochs=1)
    (folder / 'config.py').write_text(config + '\n')
    with pytest.raises(UserError) as error:
        find_runs([folder])
    assert '\n' not in str(error.value)


def test_the_config_for_retraining_is_that_of_space_and_data(tmp_path):
    for config, expected in (
        ('rdarts_nb201_c100', 'nb201_c100'), ('rdarts_nb201_in16', 'nb201_in16'),
        ('rdarts_s3_c10', 'darts_c10_16x8'), ('rdarts_darts_c100', 'darts_c100'),
    ):  # fmt: skip
        folder = write_search(tmp_path / config, config, epochs=1)
        write_report(find_runs([folder]), tmp_path / 'report.html')
        command = data_of(tmp_path / 'report.html')['runs'][0]['commands'][-1]
        assert f'configs/retrain/{expected}.py --genotype {folder}' in command


def test_more_runs_than_a_page_holds(tmp_path, monkeypatch):
    runs = find_runs([write_search(tmp_path / 'run', epochs=2)])
    monkeypatch.setattr(report, 'MAX_BYTES', 20_000)
    with pytest.raises(UserError, match='1 runs are too many for one report: name fewer'):
        write_report(runs, tmp_path / 'report.html')
