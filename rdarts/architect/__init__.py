"""Architects, relaxations, regularisers and discretisations."""
