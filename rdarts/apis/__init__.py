"""For people who use no OpenMMLab runner: networks as plain modules, and a search by one call.

Importing this package is quick: what a function needs of OpenMMLab is imported at its first call.
"""

from rdarts.apis.networks import build_net, build_supernet, list_genotypes
from rdarts.apis.result import SearchResult
from rdarts.apis.search import search

__all__ = ['SearchResult', 'build_net', 'build_supernet', 'list_genotypes', 'search']
