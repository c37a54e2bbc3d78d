"""Images classified by a network: the table, what is printed, and images that cannot be read."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rdarts.deploy import classification
from rdarts.deploy.classification import COLUMNS, print_classes
from rdarts.deploy.inference import Predictor
from rdarts.errors import UserError


def test_every_opencv_is_silenced(monkeypatch):
    """4.12 has no cv2.utils.logging, 5 no cv2.setLogLevel."""
    found = []
    old = SimpleNamespace(setLogLevel=found.append, utils=SimpleNamespace())
    levels = SimpleNamespace(LOG_LEVEL_SILENT='silent', setLogLevel=found.append)
    for version in (old, SimpleNamespace(utils=SimpleNamespace(logging=levels))):
        monkeypatch.setattr(classification, 'cv2', version)
        classification.silence_opencv()
    assert found == [0, 'silent']


def brightest() -> Predictor:
    """Three classes, whose scores are the means of the three channels."""

    def prepare(image: np.ndarray) -> np.ndarray:
        return image.transpose(2, 0, 1).astype(np.float32) / 255

    def scores(images: np.ndarray) -> np.ndarray:
        return images.mean((2, 3))

    return Predictor(scores, SimpleNamespace(classes=('r', 'g', 'b'), input=prepare))


def test_the_table_and_an_image_that_cannot_be_read(tmp_path, capsys):
    image, broken, out = (tmp_path / name for name in ('red.png', 'broken.png', 'table.csv'))
    Image.new('RGB', (4, 4), (255, 102, 0)).save(image)
    broken.write_bytes(b'no image')
    assert print_classes([image, broken], brightest, top=2, out=out) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[0].split() == ['image', 'probability', 'class']
    assert [line.split()[-1] for line in said.out.splitlines()[1:]] == ['r', 'g']
    assert len(said.err.splitlines()) == 1 and str(broken) in said.err
    with open(out, encoding='utf-8', newline='') as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [row[:4] for row in rows] == [[str(image), '1', '0', 'r'], [str(image), '2', '1', 'g']]
    exponentials = np.exp([1, 0.4, 0])
    found = [float(row[4]) for row in rows]
    assert found == pytest.approx(exponentials[:2] / exponentials.sum(), abs=1e-6)


def test_images_are_found_before_the_network_is_read(tmp_path):
    def load() -> Predictor:
        raise AssertionError

    with pytest.raises(UserError, match='image not found'):
        print_classes([tmp_path / 'gone.png'], load)
