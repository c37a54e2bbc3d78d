"""Write a retrained network as ONNX, torch.export or safetensors, with all that its use needs."""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument('source', help='the work directory of a retraining, or a Python config')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='a checkpoint file, or a work directory for its newest (default: the newest of the '
        'work directory)',
    )
    parser.add_argument(
        '--out',
        nargs='+',
        required=True,
        metavar='FILE',
        help='what to write: files that end in .onnx, .pt2 or .safetensors',
    )
    parser.add_argument(
        '--genotype', metavar='GENOTYPE', help='see tools/train.py', completer=completers.genotypes
    )
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.configuration.options import parse_options
from rdarts.deploy import export
from rdarts.deploy.trained import find_run, load_trained


def main() -> None:
    args = parse_args()
    export.check_outputs(args.out)
    config, checkpoint = find_run(args.source, args.checkpoint)
    trained = load_trained(config, checkpoint, args.genotype, parse_options(args.cfg_options))
    export.export_trained(trained, args.out)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
