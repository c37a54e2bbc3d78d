"""Write a retrained network as ONNX, torch.export or safetensors, with all that its use needs."""

from __future__ import annotations

import argparse
import sys

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
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
    parser.add_argument('--genotype', metavar='GENOTYPE', help='see tools/train.py')
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.configuration.options import parse_options
from rdarts.deploy import export
from rdarts.deploy.inference import printable
from rdarts.deploy.trained import Trained, find_run, load_trained
from rdarts.utils.commands import command


def main() -> int:
    args = parse_args()
    export.check_outputs(args.out)
    config, checkpoint = find_run(args.source, args.checkpoint)
    trained = load_trained(config, checkpoint, args.genotype, parse_options(args.cfg_options))
    print(summary(trained), flush=True)
    written = export.export_net(trained.net, trained.description, args.out)
    names = [printable(file.path) for file in written]
    width = max(map(len, names))
    for file, name in zip(written, names, strict=True):
        if file.difference is None:
            check = 'not checked: pip install onnxruntime'
        else:
            check = f'read back: scores within {file.difference:.1e} of the network'
        print(f'{name:<{width}}  {file.size / 1e6:6.2f} MB  {check}')
    trust = ' --trust' if written[0].path.suffix == '.pt2' else ''
    print(f'next:   {command("infer.py", written[0].path)} IMAGES{trust}')
    return 0


def summary(trained: Trained) -> str:
    net, description = trained.net, trained.description
    parameters = sum(parameter.numel() for parameter in net.parameters())
    height, width = description.input.size
    count, names = len(description.classes), ', '.join(description.classes[:3])
    return (
        f'net:    {type(net.backbone).__name__}, {parameters:,} parameters, '
        f'{printable(trained.checkpoint)}\n'
        f'input:  images [N, 3, {height}, {width}], {description.input.channel_order}\n'
        f'output: logits [N, {count}]: {names}{", ..." if count > 3 else ""}'
    )


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
