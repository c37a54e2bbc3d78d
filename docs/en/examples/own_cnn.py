"""Three mixed operations in a CNN of your own, searched by r-DARTS on handwritten digits.

python docs/en/examples/own_cnn.py        # from the clone; a few minutes on a CPU
"""

from __future__ import annotations

from pathlib import Path

from mmengine.runner import Runner
from torch import Tensor, nn

from rdarts.configuration.load import load_config
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import prepare_work_dir
from rdarts.genotypes import load_genotype
from rdarts.models import BaseSupernet
from rdarts.registry import MODELS

SPACE = dict(
    type='LayerwiseSpace',
    name='own_cnn',
    layers=[
        ['nor_conv_1x1', 'nor_conv_3x3', 'sep_conv_5x5'],
        ['skip_connect', 'nor_conv_3x3', 'sep_conv_3x3', 'max_pool_3x3'],
        ['none', 'skip_connect', 'sep_conv_3x3'],
    ],
)


@MODELS.register_module()
class OwnCNN(BaseSupernet):
    """A small CNN. `BaseSupernet` holds alpha; the CNN says where its operations are."""

    def __init__(self, channels: int = 16, **kwargs) -> None:
        super().__init__(SPACE, **kwargs)
        first, second, third = [edge.candidates for edge in self.space.cells['layerwise'].edges]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.op1 = self.build_mixed_op(first, channels, 2 * channels, stride=2)
        self.op2 = self.build_mixed_op(second, 2 * channels)
        self.op3 = self.build_mixed_op(third, 2 * channels)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        mixing = self.mixing()['layerwise']
        x = self.op1(self.stem(x), mixing[0])
        x = self.op2(x, mixing[1])
        return (x + self.op3(x, mixing[2]),)


def search(work_dir: str, channels: int = 16, **options) -> Runner:
    """Take a config of the toolbox, put the CNN in, and search.

    Args:
        work_dir (str): Where the run writes.
        channels (int): Width of the CNN. Defaults to 16.
        **options: Further keys of the config.
    """
    cfg = load_config('configs/search/rdarts_nb201_digits.py')  # BERArchitectHook, digits
    cfg.model.backbone = dict(type='rdarts.OwnCNN', channels=channels)
    cfg.model.head.in_channels = 2 * channels
    cfg.default_hooks.architect.lambda_ = 0.5
    cfg.merge_from_dict(options)
    cfg.work_dir = work_dir
    prepare_work_dir(work_dir, keep=False)
    runner = build_runner(cfg)
    runner.train()
    return runner


if __name__ == '__main__':
    search('work_dirs/own_cnn')
    print(load_genotype(Path('work_dirs/own_cnn/genotype.json'), SPACE).to_string())
