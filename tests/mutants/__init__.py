"""Mutation pass over the package's core: `python -m tests.mutants`."""
