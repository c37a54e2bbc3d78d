"""What the report shows of methods beside alpha: weights of edges, numbers, what was dropped."""

from __future__ import annotations

import math

import pytest
from synthetic import write_search
from test_visualization.logs import change_epoch, change_log, drop
from test_visualization.page import HOSTILE, data_of

from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.visualization.report import write_report


def test_the_data_of_weights_of_edges(tmp_path):
    folder = write_search(tmp_path / 'run', 'pc_darts_darts_c10', epochs=3)
    change_epoch(folder, 1, edge_weights={})  # as if an earlier version had begun
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    rows = read_search_log(folder, 'epoch')
    assert run['weighted'] and [cell['name'] for cell in run['cells']] == ['normal', 'reduce']
    for cell in run['cells']:
        expected = [row['edge_weights'].get(cell['name']) for row in rows]
        assert cell['edge_weights'] == [None, *map(pytest.approx, rounded(expected[1:]))]
        assert cell['dropped'] is None
    # a line and a label of each kept edge know whose weight they show
    page = run['drawings'][-1]
    for items, places in ((page['lines'], 4), (page['labels'], 7)):
        found = [tuple(item[places]) for item in items if len(item) > places]
        names = {cell['name']: cell['edges'] for cell in run['cells']}
        assert len(found) == 16 and all(edge in names[cell] for cell, edge in found)


def rounded(weights):
    return [[round(weight, 4) for weight in edges] for edges in weights]


def test_the_data_of_a_method_without(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    data = data_of(tmp_path / 'report.html')
    (run,) = data['runs']
    (cell,) = run['cells']
    assert not run['weighted'] and cell['edge_weights'] is None and cell['dropped'] is None
    assert {len(line) for line in run['drawings'][0]['lines']} == {4}
    assert run['numbers'] == [[['λ of ber', 0.75]]] * 2
    # what stays what it is has no chart
    assert not [chart for chart in data['charts'] if 'λ' in chart['title']]


def test_numbers_stand_beside_the_cell_and_those_that_change_in_charts(tmp_path):
    folders = [write_search(tmp_path / n, f'{n}_darts_c10', epochs=3) for n in ('darts', 'gdas')]
    change_epoch(folders[1], 3, regularizers=dict(ber=dict(lambda_=1.25e-5)), mixed_op=dict(b=2))
    write_report(find_runs(folders), tmp_path / 'report.html')
    data = data_of(tmp_path / 'report.html')
    assert data['runs'][0]['numbers'] == [[['λ of ber', 0.75]]] * 3
    assert data['runs'][1]['numbers'] == [
        [['temperature', 10.0], ['λ of ber', 0.75]],
        [['temperature', 9.798], ['λ of ber', 0.75]],
        [['temperature', 9.5959], ['b of the mixed operation', 2.0], ['λ of ber', 1.25e-5]],
    ]
    charts = {chart['title']: chart['lines'] for chart in data['charts']}
    assert [line['run'] for line in charts['λ of ber']] == [0, 1]
    (line,) = charts['temperature']
    assert line['run'] == 1 and line['points'] == [[1, 10.0], [2, 9.798], [3, 9.5959]]
    assert 'b of the mixed operation' not in charts


def test_what_an_architect_says_of_its_steps_has_a_chart(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)

    def say(row):
        if row['kind'] == 'iter':
            row['architect'] = dict(trace=row['iter'])

    change_log(folder, say)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    charts = {chart['title']: chart for chart in data_of(tmp_path / 'report.html')['charts']}
    (line,) = charts['trace, mean of an epoch']['lines']
    assert line['points'] == [[1, 1.5], [2, 3.5]]


def test_the_data_of_what_was_dropped(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=3)
    drop(folder, 2)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['cells'][0]['dropped'] == [None, [[3, 4]] * 6, [[3, 4]] * 6]
    said = [fact.get('dropped') for fact in run['facts']]
    assert said == [None, *['12 of 30 candidates dropped'] * 2]
    # the entropy of an edge is compared with that of as many candidates as it has left
    largest = [float(fact['entropy'].split()[2]) for fact in run['facts']]
    assert largest == pytest.approx([math.log(5), *[math.log(3)] * 2], abs=1e-4)


def test_an_epoch_in_which_all_is_decided(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=1)
    change_epoch(folder, 1, mean_entropy=0.0, alive=dict(cell=[[True, *[False] * 4]] * 6))
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    assert run['facts'][0]['entropy'] == '0, all is decided'


# The page


def widths(page):
    """Of the lines of the first drawing, in the order of the data."""
    return page.eval_on_selector_all(
        '.drawing path[fill=none]', "all => all.map(p => Number(p.getAttribute('stroke-width')))"
    )


def test_weights_of_edges_move_with_the_slider(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', 'pc_darts_darts_c10', epochs=6)
    change_epoch(folder, 2, edge_weights={})
    write_report(find_runs([folder]), tmp_path / 'report.html')
    (run,) = data_of(tmp_path / 'report.html')['runs']
    page = open_page(tmp_path / 'report.html')
    page.focus('#epoch')
    for index in (5, 0):
        page.keyboard.press('End' if index else 'Home')
        drawing = run['drawings'][run['drawing'][index]]
        cells = {cell['name']: cell for cell in run['cells']}
        texts = page.eval_on_selector_all('.drawing text', 'all => all.map(t => t.textContent)')
        look = data_of(tmp_path / 'report.html')['look']['line']
        for line, width in zip(drawing['lines'], widths(page), strict=False):
            expected = 1.0
            if len(line) > 4:
                cell, edge = line[4]
                weights = cells[cell]['edge_weights'][index]
                expected = 0.4 + 1.8 * weights[cells[cell]['edges'].index(edge)]
            assert width == pytest.approx(look * expected)
        for label in (label for label in drawing['labels'] if len(label) > 7):
            cell, edge = label[7]
            weight = cells[cell]['edge_weights'][index][cells[cell]['edges'].index(edge)]
            assert f'{label[3]} {weight:.2f}' in texts
        own = page.eval_on_selector_all('td.own', 'all => all.map(td => td.textContent)')
        weights = [w for cell in run['cells'] for w in cell['edge_weights'][index]]
        assert own == [f'{weight:.3f}' for weight in weights]
    assert 'the widths of the lines' in page.text_content('.drawing')
    # an epoch without them is drawn as those of other methods
    page.keyboard.press('ArrowRight')
    assert len(set(widths(page))) == 1
    own = page.eval_on_selector_all('td.own', 'all => all.map(td => td.textContent)')
    assert set(own) == {''} and len(own) == 28


def test_labels_with_weights_fit_their_boxes(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', 'pc_darts_darts_c10', epochs=2)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    pairs = page.eval_on_selector_all(
        '.drawing rect + text',
        """all => all.map(t => [
            t.textContent, t.getBBox().width, t.previousSibling.getBBox().width,
        ])""",
    )
    labels = [pair for pair in pairs if ' 0.' in pair[0]]
    assert len(labels) == 16 and all(text < box for _, text, box in labels)


def test_what_was_dropped_is_crossed_out(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', epochs=3)
    drop(folder, 2)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.locator('td.dropped').count() == 12
    assert page.text_content('td.dropped') == '×'
    assert page.get_attribute('td.dropped', 'aria-label') == 'dropped'
    assert page.locator('td.most').count() == 6
    assert '12 of 30 candidates dropped' in page.text_content('.facts')
    assert '×: dropped' in page.text_content('.weights')
    page.focus('#epoch')
    page.keyboard.press('Home')
    assert page.locator('td.dropped').count() == 0 and 'dropped' not in page.text_content('.facts')
    assert '×' not in page.text_content('.weights')


def test_nodes_without_an_input_are_drawn_dashed(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', 'fairdarts_darts_c10', epochs=1)  # nothing reaches .85
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.text_content('pre.genotype') == (
        'Genotype(normal=[], normal_concat=range(2, 6), reduce=[], reduce_concat=range(2, 6))'
    )
    dashes = page.eval_on_selector_all(
        '.drawing rect', "all => all.map(r => r.getAttribute('stroke-dasharray'))"
    )
    assert len([dash for dash in dashes if dash != 'none']) == 8
    assert 'zero, as nothing leads there: 2, 3, 4, 5' in page.text_content('.drawing')


def test_numbers_of_the_axis_are_within_the_chart(tmp_path, open_page):
    """However many digits it takes to tell them apart."""
    folder = write_search(tmp_path / 'run', epochs=3)
    for epoch, value in ((1, 0.64375), (2, 0.6438), (3, 0.64384)):
        change_epoch(folder, epoch, mean_entropy=value)
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    lefts = page.eval_on_selector_all(
        'figure text[text-anchor=end]', 'all => all.map(t => t.getBBox().x)'
    )
    assert len(lefts) > 10 and min(lefts) >= 0


def test_names_of_numbers_are_text(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', epochs=2)
    for epoch in (1, 2):
        change_epoch(folder, epoch, relaxation={f'tau{HOSTILE}': epoch}, mixed_op={HOSTILE: 1})
    write_report(find_runs([folder]), tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    facts = page.text_content('.facts')
    assert f'tau{HOSTILE} 2' in facts and f'{HOSTILE} of the mixed operation 1' in facts
    assert f'tau{HOSTILE}' in page.text_content('#charts')
    assert page.query_selector('img') is None and page.evaluate('window.hit === undefined')
