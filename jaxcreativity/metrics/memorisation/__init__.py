"""Novelty: how far samples are from the training images, whole, as blends, and in patches."""
