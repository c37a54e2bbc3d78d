"""Measure what every candidate of every layer of a chain costs, for ExpectedCost.

Each candidate runs alone, at the shape that its layer sees, in evaluation mode. The table goes into
a search by --cfg-options "model.backbone.space=dict(type='mobilenet_like', costs='FILE')".
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from torch import Tensor, nn

from rdarts.engine import launch
from rdarts.engine.checkpoint import write_atomically
from rdarts.engine.dry_run import count_macs
from rdarts.errors import UserError
from rdarts.models.operations import PlainLayers, build_operation
from rdarts.registry import MODELS

WARMUP = 3


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a search in a chain, such as the MobileNet-like')
    parser.add_argument('--out', default='costs.json', help='(default: %(default)s)')
    parser.add_argument(
        '--what',
        choices=('latency', 'macs'),
        default='latency',
        help='ms on this machine, or millions of multiply-adds (default: latency)',
    )
    parser.add_argument(
        '--shape', nargs=3, type=int, default=[3, 224, 224], metavar=('C', 'H', 'W'),
        help='of one image (default: 3 224 224)',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=int, default=1, help='of the latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=20, help='of the latency (default: 20)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if min(*args.shape, args.batch_size, args.repeats) < 1:
        raise UserError('--shape, --batch-size and --repeats must be 1 or more')
    cfg = launch.load_config(args.config, args.cfg_options)
    torch.manual_seed(0)
    supernet = MODELS.build(cfg.model.backbone).eval()
    space = supernet.space
    if not space.stages:
        raise UserError(f"a cost table is made of a chain, but '{space.name}' is none")
    if supernet.stem[0][0].in_channels != args.shape[0]:
        raise UserError(
            f'--shape has {args.shape[0]} channels, but the network reads '
            f'{supernet.stem[0][0].in_channels}'
        )
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    # the layers' shapes come of one pass; each candidate is then built anew, as a network has it
    shapes = layer_shapes(supernet, torch.zeros(1, *args.shape))
    costs: list[dict[str, float]] = []
    cache: dict[tuple, float] = {}
    for layer, (in_shape, out_channels) in zip(supernet.layers, shapes, strict=True):
        entry = {}
        for name in layer.candidates[0]:
            key = (name, in_shape, out_channels, layer.stride)
            if key not in cache:
                module = build_operation(
                    name, PlainLayers(), in_shape[0], out_channels, layer.stride
                ).eval()
                images = torch.randn(args.batch_size, *in_shape)
                cache[key] = measure(module.to(device), images.to(device), args)
            entry[name] = cache[key]
        costs.append(entry)
    data: dict[str, Any] = dict(
        space=space.name,
        unit='ms' if args.what == 'latency' else 'millions of multiply-adds',
        shape=args.shape,
        costs=dict(chain=costs),
    )
    if args.what == 'latency':
        kind = torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'
        data.update(batch_size=args.batch_size, device=kind, threads=torch.get_num_threads())
    try:
        write_atomically(Path(args.out), (json.dumps(data, indent=1) + '\n').encode())
    except OSError as error:
        raise UserError(f'cannot write {args.out}: {error.strerror}') from None
    print(f'{"layer":>5}  {"input":<14}' + '  '.join(f'{name:>12}' for name in costs[-2]))
    for number, (entry, (in_shape, _)) in enumerate(zip(costs, shapes, strict=True)):
        shape = ' x '.join(map(str, in_shape))
        row = '  '.join(f'{value:12.3f}' for value in entry.values())
        print(f'{number:>5}  {shape:<14}{row}')
    print(f'{args.out}: {data["unit"]}')


def layer_shapes(supernet: nn.Module, image: Tensor) -> list[tuple[tuple[int, ...], int]]:
    """What every layer reads, (C, H, W), and the channels of what it gives."""
    found: list[tuple[tuple[int, ...], int]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append((tuple(inputs[0].shape[1:]), output.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in supernet.layers]
    with torch.no_grad():
        supernet(image)
    for handle in handles:
        handle.remove()
    return found


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


if __name__ == '__main__':
    sys.exit(launch.run_guarded(main))
