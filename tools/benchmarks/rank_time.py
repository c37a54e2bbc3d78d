"""A search step of several ranks on this machine's CPU, beside processes that do not speak.

The ranks average gradients over gloo, as in a search that `tools/dist_train.sh` starts. They, as
many processes that do not speak, and one alone take turns of --steps steps; all have their batch
of --batch-size images. It exits with 1 where speaking costs more than it may; it means something
on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import arguments

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=5, warmup=3)
    parser.add_argument('--ranks', type=int, default=2, help='processes (default: 2)')
    parser.add_argument('--rounds', type=int, default=10, help='of all cases (default: 10)')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--speak', action='store_true', help=argparse.SUPPRESS)
    parser.set_defaults(executions=['fused'])
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)

from rdarts.measure.rank_time import Ranks, measure, print_table, summarise, take_turns
from rdarts.measure.settings import StepSettings


def join(model: Any) -> Any:
    """Join the group, and wrap a model as a search of several ranks does."""
    from mmengine.config import Config
    from mmengine.registry import MODEL_WRAPPERS

    from rdarts.engine.runner import expect_unused, leaves_out

    cfg = Config()
    cli.set_launcher(cfg, 'pytorch')
    options = dict(cfg.model_wrapper_cfg)
    if leaves_out([model.backbone.relaxation]):
        options = expect_unused(options)
    return MODEL_WRAPPERS.build(dict(options, module=model))


def main() -> int:
    args = vars(parse_args())
    as_json, child, speak = args.pop('json'), args.pop('child'), args.pop('speak')
    ranks, rounds = args.pop('ranks'), args.pop('rounds')
    settings = StepSettings(**args, device='cpu')
    if child:
        take_turns(settings, join if speak else None)
        cli.leave_group()
        return 0
    plan = Ranks(settings, [sys.executable, __file__, '--child'], ranks, rounds)
    result = summarise(measure(plan))
    if as_json:
        print(json.dumps(result, allow_nan=False))
    else:
        print_table(result)
    return 1 if result['exceeded'] else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
