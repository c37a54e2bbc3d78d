"""A search as an animated SVG: which epochs it shows, when, and how large it is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from synthetic import write_search

from rdarts.errors import UserError
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.visualization import search_animation
from rdarts.visualization.search_animation import draw_epochs, write_animation

SVG = '{http://www.w3.org/2000/svg}'


def frames(path):
    """The texts of each frame, and when it is seen, in percent."""
    root = ElementTree.parse(path).getroot()
    style = root.find(f'{SVG}style').text
    groups = [group for group in root.findall(f'{SVG}g') if group.get('id')]
    texts = [[item.text for item in group.iter(f'{SVG}text')] for group in groups]
    steps = re.findall(r'@keyframes f\d+\{(.*?)\}\}', style)
    seen = [re.findall(r'([\d.]+)%\{opacity:1', step) for step in steps]
    return texts, [float(times[0]) for times in seen]


@pytest.mark.parametrize('config', ['rdarts_nb201_c10', 'rdarts_s1_c10'])
def test_every_epoch_with_its_operations_and_their_weights(tmp_path, config):
    folder = write_search(tmp_path / 'run', config, seed=3, epochs=5)
    path = draw_epochs(str(folder))
    assert path == folder / 'epochs.svg' and path.stat().st_size < 200_000
    texts, begins = frames(path)
    rows = read_search_log(folder, 'epoch')
    assert len(texts) == 5
    assert begins == pytest.approx([0, 100 / 7, 200 / 7, 300 / 7, 400 / 7], abs=1e-3)
    (run,) = find_runs([folder])
    for row, found in zip(rows, texts, strict=True):
        entropy = f'mean entropy {row["mean_entropy"]:.3f} nats'
        assert found[0].startswith(f'epoch {row["epoch"]} of ') and found[0].endswith(entropy)
        shown = [text.split() for text in found[1:] if re.fullmatch(r'\w+_\w+ \d\.\d\d', text)]
        graphs = run.genotype_of(row).graphs(run.space)
        kept = [edge for graph in graphs for edge in graph.edges if edge[2] != 'none']
        assert sorted(name for name, _ in shown) == sorted(edge[2] for edge in kept)
        weights = {f'{w:.2f}' for group in row['weights'].values() for edge in group for w in edge}
        assert {weight for _, weight in shown} <= weights


def test_a_long_search_leaves_out_epochs_evenly_and_ends_with_the_last(tmp_path, monkeypatch):
    folder = write_search(tmp_path / 'run', epochs=9)
    (run,) = find_runs([folder])
    assert write_animation(run, tmp_path / 'all.svg') == 9
    monkeypatch.setattr(search_animation, 'MAX_BYTES', (tmp_path / 'all.svg').stat().st_size // 2)
    count = write_animation(run, tmp_path / 'some.svg')
    assert 1 < count <= 5
    texts, _ = frames(tmp_path / 'some.svg')
    epochs = [int(found[0].split()[1]) for found in texts]
    assert epochs[-1] == 9 and len({b - a for a, b in pairwise(epochs)}) == 1
    monkeypatch.setattr(search_animation, 'MAX_BYTES', 100)
    with pytest.raises(UserError, match='too large for an animation'):
        write_animation(run, tmp_path / 'none.svg')


def test_errors(tmp_path):
    folder = write_search(tmp_path / 'all' / 'run', epochs=1)
    with pytest.raises(UserError, match=r'x\.png: the epochs of a search are drawn as \.svg'):
        draw_epochs(str(folder), tmp_path / 'x.png')
    write_search(tmp_path / 'all' / 'other', epochs=1)
    with pytest.raises(UserError, match='holds 2 searches: name the folder of one'):
        draw_epochs(str(tmp_path / 'all'), tmp_path / 'x.svg')
    with pytest.raises(UserError, match='cannot write'):
        draw_epochs(str(folder), tmp_path / 'gone' / 'x.svg')
