"""Parley beside its peers: the same load, the same core, in one run."""
