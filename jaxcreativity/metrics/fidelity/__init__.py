"""Realism: how near a set of samples is to a set of real images."""
