"""Searches that ask: strategies propose genotypes, evaluators answer what they reach."""
