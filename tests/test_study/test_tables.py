"""Tables as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, percent

TABLE = Table('x', 'A title', ['method', 'a (%)'], [['r_darts', '94.37 ± 0.01'], ['x|y', '1']])


def test_forms_of_a_table():
    assert TABLE.as_text().splitlines() == [
        'A title',
        '',
        'method          a (%)',
        '---------------------',
        'r_darts  94.37 ± 0.01',
        'x|y                 1',
    ]
    assert TABLE.as_markdown().splitlines() == [
        'A title',
        '',
        '| method | a (%) |',
        '| --- | ---: |',
        '| r_darts | 94.37 ± 0.01 |',
        '| x\\|y | 1 |',
    ]
    assert TABLE.as_csv() == 'method,a (%),"a (%), deviation"\nr_darts,94.37,0.01\nx|y,1,\n'
    latex = TABLE.as_latex()
    assert r'r\_darts & 94.37 $\pm$ 0.01 \\' in latex and r'a (\%) \\' in latex
    assert latex.startswith('\\begin{table}\n\\caption{A title}\n\\begin{tabular}{lr}\n\\toprule')
    assert latex.endswith('\\bottomrule\n\\end{tabular}\n\\end{table}\n')
    # fonts in LaTeX's default encoding have other characters there
    signs = Table('x', 'odd', ['> 500', '<'], []).as_latex()
    assert r'\textgreater{} 500 & \textless{} \\' in signs
    odd = Table('x', 'odd', [r'\a{b}~c^d'], []).as_latex()
    assert r'\textbackslash{}a\{b\}\textasciitilde{}c\textasciicircum{}d' in odd


def test_mean_and_deviation_are_one_cell():
    assert percent(Summary.of([93.0, 94.0])) == '93.50 ± 0.71' and percent(None) == '-'
    assert percent(Summary.of([4.0])) == '4.00'
