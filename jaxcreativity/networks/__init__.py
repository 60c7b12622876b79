"""Flax modules, and `bind`, which turns a module and its parameters into a denoiser."""

from jaxcreativity.networks.autoencoder import Autoencoder, Prototypes, ShallowMLP
from jaxcreativity.networks.binding import NetworkDenoiser, bind
from jaxcreativity.networks.linear import ConvLinear, DenseLinear, LowRankLinear, PixelwiseLinear
from jaxcreativity.networks.mlp import MLP
from jaxcreativity.networks.polynomial import PolynomialReadout

__all__ = [
    "MLP",
    "Autoencoder",
    "ConvLinear",
    "DenseLinear",
    "LowRankLinear",
    "NetworkDenoiser",
    "PixelwiseLinear",
    "PolynomialReadout",
    "Prototypes",
    "ShallowMLP",
    "bind",
]
