"""Architects, relaxations, regularisers and discretisations."""

from rdarts.architect.hook import ArchitectHook, BERArchitectHook

__all__ = ['ArchitectHook', 'BERArchitectHook']
