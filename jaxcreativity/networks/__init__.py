"""Flax modules, and `bind`, which turns a module and its parameters into a denoiser."""

from jaxcreativity.networks.autoencoder import Autoencoder, Prototypes, ShallowMLP
from jaxcreativity.networks.binding import NetworkDenoiser, bind
from jaxcreativity.networks.linear import ConvLinear, DenseLinear, LowRankLinear, PixelwiseLinear
from jaxcreativity.networks.mlp import MLP
from jaxcreativity.networks.polynomial import PolynomialReadout
from jaxcreativity.networks.resnet import MinimalResNet
from jaxcreativity.networks.unet import UNet

__all__ = [
    "MLP",
    "Autoencoder",
    "ConvLinear",
    "DenseLinear",
    "LowRankLinear",
    "MinimalResNet",
    "NetworkDenoiser",
    "PixelwiseLinear",
    "PolynomialReadout",
    "Prototypes",
    "ShallowMLP",
    "UNet",
    "bind",
]
