"""Classify images by an exported network, or by a retrained one."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit code: 0, or 1 where an image was not classified, or 2 for another mistake.',
    )
    parser.add_argument(
        'net',
        help='a file of tools/export.py, the work directory of a retraining, or a Python config',
    )
    parser.add_argument('images', nargs='+', help='image files, and folders of them')
    parser.add_argument('--top', type=int, default=5, help='classes of an image (default: 5)')
    parser.add_argument('--batch-size', type=int, default=32, help='images at once (default: 32)')
    parser.add_argument('--out', metavar='FILE.csv', help='write the table as CSV')
    parser.add_argument(
        '--trust', action='store_true', help='read a .pt2 file, which could run code'
    )
    parser.add_argument('--checkpoint', help='of a config or work directory (default: the newest)')
    parser.add_argument('--genotype', metavar='GENOTYPE', help='of a config: see tools/train.py')
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import cv2

from rdarts.configuration.options import parse_options
from rdarts.deploy.inference import (
    READERS,
    Prediction,
    Predictor,
    classify,
    find_images,
    load_exported,
    printable,
)
from rdarts.deploy.trained import find_run, load_trained
from rdarts.errors import UserError
from rdarts.utils.files import check_output, write_atomically

COLUMNS = ('image', 'rank', 'class', 'name', 'probability')


def load(args: argparse.Namespace) -> Predictor:
    if Path(args.net).suffix in READERS and not Path(args.net).is_dir():
        return load_exported(args.net, args.trust)
    config, checkpoint = find_run(args.net, args.checkpoint)
    options = parse_options(args.cfg_options)
    return load_trained(config, checkpoint, args.genotype, options).predictor


def main() -> int:
    args = parse_args()
    for name in ('top', 'batch_size'):
        if getattr(args, name) < 1:
            option = f'--{name.replace("_", "-")}'
            raise UserError(f'{option} must be 1 or more, but is {getattr(args, name)}')
    if args.out and Path(args.out).suffix.lower() != '.csv':
        raise UserError(f'--out {args.out}: the table is written as CSV: give a name in .csv')
    images = find_images(args.images)
    if args.out:
        check_output(args.out)
    silence_opencv()  # images that it cannot read are named below
    predictor = load(args)
    names = predictor.description.classes
    width = max(len(printable(path)) for path in images)
    print(f'{"image":<{width}}  probability  class')
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(COLUMNS)
    failed = 0
    for found in classify(predictor, images, args.top, args.batch_size):
        if found.error is not None:
            failed += 1
            print(printable(found.error), file=sys.stderr, flush=True)
            continue
        for row in rows(found, names):
            table.writerow(row)
            label = row[0] if row[1] == 1 else ''
            print(f'{label:<{width}}  {100 * row[4]:9.2f} %  {row[3]}', flush=True)
    if args.out:
        write_atomically(Path(args.out), buffer.getvalue().encode())
    return 1 if failed else 0


def silence_opencv() -> None:
    if hasattr(cv2, 'setLogLevel'):
        cv2.setLogLevel(0)
    else:  # OpenCV 5
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def rows(found: Prediction, names: tuple[str, ...]) -> list[tuple[str, int, int, str, float]]:
    pairs = zip(found.classes, found.probabilities, strict=True)
    return [
        (printable(found.path), rank, index, names[index], probability)
        for rank, (index, probability) in enumerate(pairs, 1)
    ]


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
