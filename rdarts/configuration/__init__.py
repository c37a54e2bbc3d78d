"""Configs: the values of ``--cfg-options``, and what every key of a config may hold."""
