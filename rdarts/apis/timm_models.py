"""Derived networks by timm's names: ``timm.create_model('darts_v2', num_classes=10)``.

Importing this module registers them; ``import rdarts`` has it imported once timm is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
from torch import nn

from rdarts.errors import UserError
from rdarts.genotypes.published import published_names

ANY = 'rdarts_net'
"""The model that is given a genotype."""
__all__: list[str] = []  # timm adds the names


def _entrypoint(name: str, genotype: str | None) -> Callable[..., nn.Module]:
    """A function that timm calls to make a model."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        from rdarts.models.timm_classifier import TimmClassifier

        if genotype is not None:
            kwargs.update(genotype=genotype)
        elif 'genotype' not in kwargs:
            raise UserError(f"{name} needs genotype=: a name, a file or a search's work directory")
        features = dict(feature_cls='getter', out_indices=None)
        return build_model_with_cfg(
            TimmClassifier, name, pretrained, feature_cfg=features, **kwargs
        )

    create.__name__ = create.__qualname__ = name
    create.__module__ = __name__
    create.__doc__ = f'The network of the genotype {genotype or "that is given"}.'
    return create


def _default_cfg() -> dict[str, Any]:
    """How images of ImageNet are prepared; there are no weights."""
    return dict(
        url='',
        num_classes=1000,
        input_size=(3, 224, 224),
        pool_size=(7, 7),
        crop_pct=0.875,
        interpolation='bilinear',
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        first_conv='backbone.stem0.0',
        classifier='head.fc',
    )


NAMES = {name.lower(): name for name in published_names()} | {ANY: None}
default_cfgs = generate_default_cfgs({name: _default_cfg() for name in NAMES})
for _name, _genotype in NAMES.items():
    if not is_model(_name):
        globals()[_name] = register_model(_entrypoint(_name, _genotype))
