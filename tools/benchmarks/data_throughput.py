"""Images a second that the two pipelines of small images give, as the float tensor a model gets.

Crop, flip, cutout and normalisation of 50,000 images of noise of 3 x 32 x 32, a whole epoch with
its sampler and collate function, in one process. Figures are medians over epochs; those by CPU
time leave out what other processes took. With a config, its own data: what its loaders and data
preprocessor take of an iteration of it. With --files, JPEGs that are read from class folders, a tar
and a Parquet file.
"""

from __future__ import annotations

import argparse
import json
import sys

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'config', nargs='?', help='a search or a retraining: configs/{search,retrain}/*.py'
    )
    parser.add_argument(
        '--genotype', help='of the network of a retraining: a file, a work directory or a name'
    )
    cli.add_cfg_options(parser, 'set keys of the config, e.g. train_dataloader.num_workers=4')
    parser.add_argument(
        '--iterations', type=int, default=20, help='of the config (default: %(default)s)'
    )
    parser.add_argument(
        '--files',
        type=int,
        metavar='N',
        help='instead: the time of one of N JPEGs in files, which are written to a temporary '
        'folder (150 MB for 1000), and are kept decoded in shared memory (540 MB for 1000)',
    )
    parser.add_argument('--batch-size', type=int, help='of noise (default: 64)')
    parser.add_argument('--images', type=int, help='of noise (default: 50000)')
    parser.add_argument(
        '--epochs', type=int, default=3, help='measured ones (default: %(default)s)'
    )
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    for name in ('iterations', 'batch_size', 'images', 'epochs', 'threads'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more')
    if args.files is not None and (args.files < 2 or args.config):
        raise UserError('--files must be 2 or more, and is without a config')
    if args.files is not None or args.config:
        other = '--files' if args.config is None else 'a config'
        for name in ('batch_size', 'images'):
            if getattr(args, name) is not None:
                raise UserError(f'{other} does not take --{name.replace("_", "-")}: leave it out')
    if args.config is None and (args.cfg_options or args.genotype):
        raise UserError('--cfg-options and --genotype are of a config: name one')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import torch

from rdarts.apis.runs import configure_training
from rdarts.configuration.options import parse_options
from rdarts.measure import image_files
from rdarts.measure.data_throughput import as_data, measure_all, print_share, print_table, share_of


def main() -> None:
    args = vars(parse_args())
    as_json, config, given = args.pop('json'), args.pop('config'), args.pop('cfg_options')
    iterations, genotype = args.pop('iterations'), args.pop('genotype')
    files = args.pop('files')
    if files is not None:
        torch.set_num_threads(args['threads'])
        found = image_files.measure(files, args['epochs'])
        print(json.dumps(found)) if as_json else image_files.print_table(found)
        return
    if config is not None:
        torch.set_num_threads(args['threads'])
        cfg = configure_training(config, parse_options(given), genotype=genotype)
        share = share_of(cfg, iterations)
        print(json.dumps(dict(share, config=config))) if as_json else print_share(share)
        return
    args.update(batch_size=args['batch_size'] or 64, images=args['images'] or 50_000)
    rates = measure_all(**args)
    if as_json:
        print(json.dumps(as_data(rates, args)))
    else:
        print_table(rates, args)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
