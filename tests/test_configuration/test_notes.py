from __future__ import annotations

from mmengine.config import Config

from rdarts.configuration.notes import add_note, note_lines, notes_of


def test_notes_are_the_configs_own():
    cfg = Config(dict(a=1))
    add_note(cfg, 'one')
    assert notes_of(cfg) == ['one'] and notes_of(Config(dict(a=1))) == []
    assert cfg.to_dict() == dict(a=1)


def test_they_fill_few_lines():
    cfg = Config(dict(a=1))
    assert note_lines(cfg) == []
    for note in ('10 classes: model.head', 'model.head.in_channels 64', '3 epochs'):
        add_note(cfg, note)
    assert note_lines(cfg, 40) == [
        ('filled in', '10 classes: model.head'),
        ('', 'model.head.in_channels 64; 3 epochs'),
    ]
    assert note_lines(cfg, 4)[1:] == [('', 'model.head.in_channels 64'), ('', '3 epochs')]
