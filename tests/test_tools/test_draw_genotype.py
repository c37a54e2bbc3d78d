"""tools/analysis/draw_genotype.py: where it writes, and its errors."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from rdarts.cli import run_guarded
from rdarts.genotypes import LayerwiseGenotype, dumps, load_genotype

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'draw_genotype.py'
CELL = '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'


@pytest.fixture
def draw(tmp_path, monkeypatch, capsys):
    """Run the tool in a folder of its own; gives its exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(TOOL))['main']

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        code = run_guarded(main)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_a_work_directory(draw, tmp_path):
    folder = tmp_path / 'search.1'
    folder.mkdir()
    (folder / 'genotype.json').write_text(dumps(load_genotype(CELL)))
    expected = [str(folder / 'genotype.svg'), str(folder / 'genotype.png')]
    assert draw(folder) == (0, expected, '')
    assert (folder / 'genotype.svg').read_bytes().startswith(b'<?xml')
    assert (folder / 'genotype.png').read_bytes().startswith(b'\x89PNG')


def test_a_file_an_official_string_and_a_name_of_ones_own(draw, tmp_path):
    (tmp_path / 'layerwise.json').write_text(
        dumps(LayerwiseGenotype('own', ('mine', 'skip_connect')))
    )
    assert draw('layerwise.json') == (0, ['layerwise.svg', 'layerwise.png'], '')
    assert '>mine<' in (tmp_path / 'layerwise.svg').read_text()
    assert draw(CELL) == (0, ['genotype.svg', 'genotype.png'], '')
    assert draw(CELL, '--out', 'x.pdf') == (0, ['x.pdf'], '')
    assert (tmp_path / 'x.pdf').read_bytes().startswith(b'%PDF-')


def test_errors_are_one_line(draw, tmp_path):
    for args, message in (
        ([tmp_path], f'error: {tmp_path} holds no genotype.json: give the work dir'),
        (['missing.json'], 'error: cannot read the genotype missing.json: No such file'),
        ([CELL, '--out', 'x.gif'], 'error: x.gif: a picture ends in'),
        (['|nor_conv_3x3~0|'], 'error: genotype: it has 1 edge, but the cell'),
        (['Genotype(__import__)'], "error: genotype 'Genotype(__import__)': expected"),
    ):
        code, out, err = draw(*args)
        assert (code, out) == (2, [])
        assert err.startswith(message) and err.count('\n') == 1
    assert not list(tmp_path.iterdir())
