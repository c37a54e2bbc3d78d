"""Heads. What needs mmpretrain (``auxiliary_cls_head.py``) is imported by the registry alone."""

from rdarts.models.heads.auxiliary_head import AuxiliaryHead

__all__ = ['AuxiliaryHead']
