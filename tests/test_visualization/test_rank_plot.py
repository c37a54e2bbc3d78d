"""The picture of critical differences."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from rdarts.errors import UserError
from rdarts.visualization.rank_plot import LONGEST, plot_ranks


def test_names_ranks_and_bars_are_in_the_picture(tmp_path):
    names = ['first & <best>', 'second', 'x' * 50]
    paths = [tmp_path / 'ranks.svg', tmp_path / 'ranks.png']
    means = [1.25, 1.75, 3.0]
    plot_ranks(names, means, 0.9, [(0, 1)], 'a title', paths)
    text = paths[0].read_text()
    shown = re.findall(r'<text[^>]*>([^<]*)</text>', text)
    for part in (
        'first &amp; &lt;best&gt;  1.25',
        'second  1.75',
        'a title',
        '  critical difference 0.90',
    ):
        assert part in shown
    assert f'3.00  {"x" * (LONGEST - 1)}…' in shown
    assert text.count('#0072b2') == 1  # a bar
    assert Image.open(paths[1]).size[0] == 960
    plot_ranks(names, means, 0.9, [(0, 1)], 'a title', [tmp_path / 'again.svg'])
    assert (tmp_path / 'again.svg').read_bytes() == paths[0].read_bytes()


def test_a_long_title_has_lines_and_a_name_that_is_no_utf_8_is_drawn(tmp_path):
    title = ' '.join(f'word{i}' for i in range(40))
    paths = [tmp_path / 'ranks.svg', tmp_path / 'ranks.png']
    plot_ranks(['b\udcff', 'a'], [1.0, 2.0], None, [], title, paths)
    shown = re.findall(r'<text[^>]*>([^<]*)</text>', paths[0].read_text())
    lines = [line for line in shown if line.startswith('word')]
    assert ' '.join(lines) == title and len(lines) == 3 and max(map(len, lines)) <= 100
    assert r'b\xff  1.00' in shown
    plot_ranks(['b', 'a'], [1.0, 2.0], None, [], 'a title', [tmp_path / 'low.png'])
    heights = [Image.open(path).size[1] for path in (paths[1], tmp_path / 'low.png')]
    assert heights[0] > heights[1]


def test_forty_methods_and_a_folder_that_is_not_there(tmp_path):
    names = [f'method {i}' for i in range(40)]
    means = [1 + i for i in range(40)]
    path = tmp_path / 'ranks.svg'
    plot_ranks(names, means, 5.0, [(i, i + 5) for i in range(35)], 'many', [path])
    text = path.read_text()
    assert all(f'{name}<' in text or f'{name}  ' in text for name in names)
    with pytest.raises(UserError, match='cannot write'):
        plot_ranks(names, means, None, [], 'none', [tmp_path / 'gone' / 'ranks.svg'])
