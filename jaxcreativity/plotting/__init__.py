"""Figures: samples of several denoisers side by side, and spectra of their covariances."""

from jaxcreativity.plotting._all import COLOURS, plain_log, sample_grid, save, spectra

__all__ = ["COLOURS", "plain_log", "sample_grid", "save", "spectra"]
