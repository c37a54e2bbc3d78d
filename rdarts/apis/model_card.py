"""The card of a network on the Hugging Face Hub: what it is, and what was measured of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from rdarts.configuration.as_data import type_name
from rdarts.deploy.description import Description
from rdarts.genotypes import from_dict


def model_card(name: str, description: Description, measured: Mapping[str, Any]) -> str:
    """The text of a model card.

    Args:
        name (str): Of the network.
        description (Description): What it is.
        measured (dict): What :func:`rdarts.apis.hub.measure` gives; what is not there is left out.
    """
    genotype = from_dict(description.network['genotype'])
    height, width = description.input.size
    network = type_name(description.network)
    rows = [('space', genotype.space), ('classes', f'{len(description.classes):,}')]
    rows.append(('image', f'{height} x {width} pixels, {description.input.channel_order}'))
    accuracy, epoch = measured.get('accuracy'), measured.get('epoch')
    if accuracy is not None:
        rows.append(('accuracy on the test images', f'{accuracy:.2f} %, after epoch {epoch}'))
    for key, unit in (('parameters', ''), ('macs', ' an image')):
        if key in measured:
            label = 'multiply-adds' if key == 'macs' else key
            rows.append((label, f'{measured[key]:,}{unit}'))
    if 'data' in measured:
        count = measured.get('training_images')
        rows.append(('data', measured['data'] + (f', {count:,} training images' if count else '')))
    table = '\n'.join(f'| {label} | {value} |' for label, value in rows)
    parts = [
        f'# {name}',
        f'A {network} of rdarts, made of the genotype below.',
        f'| | |\n| --- | --- |\n{table}',
        f'## Genotype\n\n```\n{genotype.to_string()}\n```',
        '## Use\n\n```python\nfrom rdarts.apis.hub import HubNet\n\n'
        "net = HubNet.from_pretrained('OWNER/NAME')  # or a folder\n```",
    ]
    if 'config' in measured:
        config = f'configs/retrain/{measured["config"]}.py'
        cell = shlex.quote(genotype.to_string())
        train = f'python tools/train.py {config} --genotype {cell}'
        parts.append(f'## Training\n\n```\n{train}\n```')
    if 'settings' in measured:
        batch = measured.get('batch_size')
        shown = measured['settings'] + (f'batch_size = {batch}\n' if batch else '')
        parts.append(f'What it was trained with:\n\n```python\n{shown}```')
    return f'---\n{_card_data(name, measured).to_yaml()}\n---\n\n' + '\n\n'.join(parts) + '\n'


def _card_data(name: str, measured: Mapping[str, Any]) -> ModelCardData:
    results = None
    if 'accuracy' in measured and 'data' in measured:
        results = [
            EvalResult(
                task_type='image-classification',
                dataset_type=measured['data'].lower(),
                dataset_name=measured['data'],
                dataset_split='test',
                metric_type='accuracy',
                metric_value=round(measured['accuracy'] / 100, 6),
            )
        ]
    return ModelCardData(
        library_name='rdarts',
        pipeline_tag='image-classification',
        tags=['neural-architecture-search'],
        model_name=name if results else None,
        eval_results=results,
    )
