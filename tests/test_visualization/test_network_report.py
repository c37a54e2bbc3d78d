"""The page of a trained network: its data, and the page itself in Chromium."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from test_visualization.page import HOSTILE, data_of

from rdarts.genotypes import load_genotype
from rdarts.search_spaces import build_space
from rdarts.visualization.network_report import SIDE, write_network_report

CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'


def write(path, classes=('cat', HOSTILE, 'owl'), side=8):
    count = len(classes)
    confusion = np.diag([5] * count)
    confusion[0, 1], confusion[2, 0] = 3, 1
    image = np.zeros((side, 2 * side, 3), np.uint8)
    image[:, side:, 0] = 200  # red
    error = dict(path='cat/1.png', truth='cat', said=HOSTILE, probability='90 %', of_truth='4 %')
    write_network_report(
        path,
        load_genotype(CELL, 'nas_bench_201'),
        build_space('nas_bench_201'),
        classes,
        confusion.tolist(),
        [(image, error)],
        title='photos',
        subtitle='3 classes',
        verdict='The network found is best.',
        shape='16 channels',
        networks=dict(
            header=['network', 'accuracy, %'],
            rows=[
                dict(cells=['found', '79.2'], best=True),
                dict(cells=[HOSTILE, '70'], best=False),
            ],
            note='a note',
        ),
        errors_note='the surest',
        preprocessing=[['steps', 'resize']],
        commands=[['Search', "python tools/train.py 'a b'"]],
        facts=[['Plan', ['one', 'two']]],
    )
    return data_of(path)


def test_its_data(tmp_path):
    data = write(tmp_path / 'report.html')
    assert data['confusion']['counts'] == [[5, 3, 0], [0, 5, 0], [1, 0, 5]]
    assert data['confused'] == [['cat', HOSTILE, 3], ['owl', 'cat', 1]]
    assert data['drawing']['genotype'] == CELL
    text = (tmp_path / 'report.html').read_text()
    assert HOSTILE not in text and '://' not in text.replace('http://www.w3.org/2000/svg', '')
    many = write(tmp_path / 'many.html', [str(i) for i in range(60)])
    assert many['confusion'] is None and many['confused'] == [['0', '1', 3], ['2', '0', 1]]


@pytest.mark.parametrize(('side', 'kind'), [(8, 'png'), (300, 'jpeg')])
def test_pictures_of_errors_are_in_the_page(tmp_path, side, kind):
    (error,) = write(tmp_path / 'report.html', side=side)['errors']
    head, _, text = error['picture'].partition(',')
    assert head == f'data:image/{kind};base64'
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    assert width == 2 * height and SIDE // 2 < width <= SIDE
    blue, green, red = picture[height // 2, 3 * width // 4]
    assert red > 180 and max(blue, green) < 20


def test_the_page_in_a_browser(tmp_path, open_page):
    write(tmp_path / 'report.html')
    page = open_page(tmp_path / 'report.html')
    assert page.title() == 'photos: network report'
    assert page.locator('#verdict').inner_text() == 'The network found is best.'
    assert page.locator('tr.best th').inner_text() == 'found'
    assert page.locator('#drawing svg').get_attribute('aria-label') == f'photos: {CELL}'
    assert page.locator('#confusion td').count() == 9
    assert page.locator('#confused').inner_text().startswith('Most often confused: cat taken for')
    picture = page.locator('#errors img')
    assert picture.count() == 1 and picture.evaluate('one => one.naturalWidth') > 60
    assert page.locator('#commands pre').inner_text() == "python tools/train.py 'a b'"
    assert page.evaluate('window.hit') is None
