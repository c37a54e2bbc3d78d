"""rdarts: differentiable architecture search with r-DARTS.

Importing this package imports no torch; :mod:`rdarts.registry` holds the
registries, and every component is imported when it is first built.
"""

__version__ = '0.1.0'
