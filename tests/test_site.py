"""The site builds without a warning, and has a page of each method and space."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml

from rdarts.configuration.composition import FIRST, overlays

ROOT = Path(__file__).resolve().parent.parent
SPACES = ('darts', 'nas_bench_201', 'mobilenet_like', 'nasnet', 's1', 's2', 's3', 's4')


def described() -> dict[str, dict[str, str]]:
    return yaml.safe_load((ROOT / 'docs/site/methods.yml').read_text(encoding='utf-8'))


def test_each_method_has_an_idea_of_three_sentences_and_an_equation():
    methods = described()
    assert set(methods) == {FIRST, *overlays(ROOT / 'configs' / 'search', 'methods')}
    for name, entry in methods.items():
        assert set(entry) == {'idea', 'equation'}, name
        sentences = re.findall(r'[.](?: |$)', entry['idea'])
        assert len(sentences) <= 3, f'{name}: {len(sentences)} sentences'


class Page(HTMLParser):
    """What a page fetches when it is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == 'link' and found.get('rel') == 'canonical':
            return
        if tag in ('script', 'img', 'link', 'iframe'):
            self.fetched += [found[key] for key in ('src', 'href') if found.get(key)]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_reads_without_a_network(tmp_path):
    pytest.importorskip('material', reason='the site is built with what make test installs')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in described():
        text = (tmp_path / 'methods' / f'{name}.html').read_text(encoding='utf-8')
        assert '<math ' in text and '\\text' not in text.split('<h2')[0], name
    for name in SPACES:
        text = (tmp_path / 'spaces' / f'{name}.html').read_text(encoding='utf-8')
        assert f'{name}.svg' in text and (tmp_path / 'spaces' / f'{name}.svg').exists()
    regularizers = tmp_path / 'reference' / 'rdarts.architect.regularizers.html'
    text = regularizers.read_text(encoding='utf-8')
    name = 'rdarts.architect.regularizers.batch_entropy_decay.BatchEntropyDecay'
    assert f'id="{name}"' in text and ':class:' not in text and '.. math::' not in text
    for path in tmp_path.rglob('*.html'):
        text = path.read_text(encoding='utf-8')
        prose = re.sub(r'<code>.*?</code>', '', text)
        assert '&lt;!-- ' not in prose and '<!-- run: ' not in prose, path.name
        for url in Page(text).fetched:
            assert not url.startswith(('http:', 'https:', '//')), f'{path.name}: {url}'


@pytest.mark.slow
def test_the_tutorial_runs_as_a_script(tmp_path):
    pytest.importorskip('IPython', reason='the tutorial shows pictures by IPython')
    script = ROOT / 'docs' / 'en' / 'tutorial.py'
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    accuracy = float(re.search(r'^([\d.]+) % of the test images$', done.stdout, re.MULTILINE)[1])
    assert accuracy > 80
    assert len(re.findall(r'^\d [\d.]+ % 1\.\d{4} nats$', done.stdout, re.MULTILINE)) == 3
    folder = tmp_path / 'work_dirs' / 'tutorial'
    assert (folder / 'report.html').stat().st_size > 10_000
    assert torch.export.load(folder / 'net.pt2').module()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
