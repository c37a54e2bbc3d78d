"""tools/analysis/score_cells.py: what it prints and writes, and its errors."""

from __future__ import annotations

TOOL = 'analysis/score_cells'
CELL = '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
SMALL = ['--noise', '--channels', '4', '--images', '2']


def test_all_scores_of_a_cell(tool, tmp_path):
    code, lines, err = tool(TOOL, CELL, *SMALL, '--out', 'scores.csv')
    assert (code, err) == (0, '')
    header, row = (tmp_path / 'scores.csv').read_text().splitlines()
    names = header.split(',')
    assert names[:5] == ['setting', 'genotype', 'naswot', 'swap', 'zico']
    assert names[-3:] == ['plain', 'params', 'macs']
    assert row.startswith('nas_bench_201 c10 noise in_channels=3 channels=4 cells_per_stage=1')
    assert lines[1] == 'saved in: scores.csv'
    assert lines[2].startswith("no table 'nas_bench_201' is there to compare with")
    assert lines[4] == 'Scores' and lines[-1].startswith(CELL)


def test_errors_are_one_line(tool):
    for args, message in (
        ([], 'error: give cells, or --random K, and not both'),
        ([CELL, '--scores', 'zicoo'], "error: unknown score 'zicoo': did you mean 'zico'?"),
        ([CELL, '--data', 'c10'], 'error: '),
        (['--random', 2, '--space', 'darts', '--data', 'in16'], 'error: no images'),
    ):
        code, out, err = tool(TOOL, *args)
        assert (code, out) == (2, [])
        assert err.startswith(message) and err.count('\n') == 1, err
