"""Measure what every candidate of every layer costs, for ExpectedCost.

Each candidate runs alone, at the shape that its layer sees, in evaluation mode and in the memory
format of a derived network. How a search takes the table: docs/en/configs.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a layerwise search, such as the MobileNet-like')
    parser.add_argument('--out', default='costs.json', help='(default: %(default)s)')
    parser.add_argument(
        '--what',
        choices=('latency', 'macs'),
        default='latency',
        help='ms on this machine, or millions of multiply-adds (default: latency)',
    )
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help="of one image (default: what the config's train pipeline gives)",
    )
    parser.add_argument('--batch-size', type=int, default=1, help='of the latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=20, help='of the latency (default: 20)')
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import torch
from mmengine.config import Config
from torch import Tensor, nn

from rdarts.apis.dry_run import count_macs
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.deploy.export import check_output
from rdarts.errors import UserError
from rdarts.models import MobileNetLikeSupernet
from rdarts.models.operations import PlainLayers, build_operation
from rdarts.registry import MODELS
from rdarts.utils.files import write_atomically

WARMUP = 3


def main() -> None:
    args = parse_args()
    if min(*(args.shape or ()), args.batch_size, args.repeats) < 1:
        raise UserError('--shape, --batch-size and --repeats must be 1 or more')
    out = check_output(args.out)
    cfg = load_config(args.config, parse_options(args.cfg_options))
    supernet = build_supernet(cfg, args.config)
    channels = supernet.stem[0][0].in_channels
    shape = args.shape or [channels, *image_size(cfg)]
    if shape[0] != channels:
        raise UserError(f'--shape has {shape[0]} channels, but the network reads {channels}')
    layers = layer_shapes(supernet, shape)
    costs = layer_costs(supernet, layers, args)
    data: dict[str, Any] = dict(
        space=supernet.space.name,
        unit='ms' if args.what == 'latency' else 'millions of multiply-adds',
        stem=supernet.stem_type,
        first_channels=layers[0][0][0],
        shape=shape,
        costs=dict(layerwise=costs),
    )
    if args.what == 'latency':
        kind = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
        data.update(batch_size=args.batch_size, device=kind, threads=torch.get_num_threads())
    try:
        write_atomically(out, (json.dumps(data, indent=1) + '\n').encode())
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error.strerror}') from None
    print_table(supernet.space.candidates, layers, costs)
    print(f'{out}: {data["unit"]}')


def build_supernet(cfg: Config, name: str) -> MobileNetLikeSupernet:
    """The supernet of a config.

    Raises:
        UserError: The config searches no layers.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    kind = backbone.get('type')
    built = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(built, type) and issubclass(built, MobileNetLikeSupernet)):
        raise UserError(
            f'{name}: a cost table is made of a MobileNetLikeSupernet, as '
            f'configs/search/rdarts_mobilenet_like_imagenet.py has it, but the backbone is {kind}'
        )
    torch.manual_seed(0)
    return MODELS.build(backbone).eval()


def image_size(cfg: Config) -> tuple[int, int]:
    """Height and width that the last crop of a config's train pipeline gives.

    Raises:
        UserError: There is none.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    for step in reversed(dataset.get('pipeline') or ()):
        size = step.get('crop_size', step.get('scale'))
        if isinstance(size, int):
            return size, size
    raise UserError("the config's train pipeline gives no size of an image: give --shape C H W")


def layer_shapes(
    supernet: MobileNetLikeSupernet, shape: Sequence[int]
) -> list[tuple[tuple[int, ...], int]]:
    """What every layer reads, (C, H, W), and the channels of what it gives."""
    found: list[tuple[tuple[int, ...], int]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append((tuple(inputs[0].shape[1:]), output.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in supernet.layers]
    with torch.no_grad():
        supernet(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return found


def layer_costs(
    supernet: MobileNetLikeSupernet,
    layers: Sequence[tuple[tuple[int, ...], int]],
    args: argparse.Namespace,
) -> list[dict[str, float]]:
    """The cost of each candidate of each layer; candidates are built anew, as a network has them.

    Layers that are alike are measured once.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    known: dict[tuple, float] = {}
    costs = []
    for layer, (in_shape, channels) in zip(supernet.layers, layers, strict=True):
        entry = {}
        for name in layer.candidates[0]:
            key = (name, in_shape, channels, layer.stride)
            if key not in known:
                module = build_operation(name, PlainLayers(), in_shape[0], channels, layer.stride)
                images = torch.randn(args.batch_size, *in_shape, device=device)
                if device.type == 'cpu':  # as a derived network
                    images = images.contiguous(memory_format=torch.channels_last)
                known[key] = measure(module.eval().to(device), images, args)
            entry[name] = known[key]
        costs.append(entry)
    return costs


def measure(module: nn.Module, images: Tensor, args: argparse.Namespace) -> float:
    """Milliseconds, the median, or millions of multiply-adds of one image."""
    if args.what == 'macs':
        return count_macs(module, images[0]) / 1e6
    times = []
    with torch.no_grad():
        for step in range(args.repeats + WARMUP):
            begin = time.perf_counter()
            module(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            if step >= WARMUP:
                times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def print_table(
    candidates: Sequence[str],
    layers: Sequence[tuple[tuple[int, ...], int]],
    costs: Sequence[dict[str, float]],
) -> None:
    """One row a layer, one column a candidate."""
    print(f'{"layer":>5}  {"input":<14}' + '  '.join(f'{name:>12}' for name in candidates))
    for number, (entry, (in_shape, _)) in enumerate(zip(costs, layers, strict=True)):
        cells = [f'{entry[name]:12.3f}' if name in entry else f'{"-":>12}' for name in candidates]
        print(f'{number:>5}  {" x ".join(map(str, in_shape)):<14}' + '  '.join(cells))


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
