"""Mixed precision and launchers."""

from __future__ import annotations

from helpers import digits_config

from rdarts.configuration.load import set_amp
from rdarts.engine.launch import set_launcher


def test_set_amp_and_launcher(tmp_path):
    cfg = digits_config(tmp_path)
    set_amp(cfg, 'bf16')
    assert cfg.optim_wrapper.type == 'rdarts.BFloat16OptimWrapper'
    set_launcher(cfg, 'none')
    assert cfg.launcher == 'none'
    assert cfg.get('model_wrapper_cfg') is None
