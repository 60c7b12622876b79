"""Flax modules, and `bind`, which turns a module and its parameters into a denoiser.

| module                               | the function class                                     | its closed form                                  |
|--------------------------------------|--------------------------------------------------------|--------------------------------------------------|
| `DenseLinear`                        | affine, any matrix, one per noise level                | `theory.linear`, `"full"`                        |
| `PixelwiseLinear`                    | affine, a diagonal matrix                              | `theory.linear`, `"pixelwise"`                   |
| `LowRankLinear`                      | affine, a matrix of rank r                             | `theory.linear`, `"low_rank"`                    |
| `ConvLinear`                         | one circular convolution; with a kernel of k x k       | `theory.linear`, `"stationary"`; `"local"`       |
| `PolynomialReadout`                  | polynomial of degree p of a pixel, image or patch      | `theory.polynomial`, the same `basis`            |
| `MLP`                                | any function; with quadratic units a polynomial        | `theory.empirical`                               |
| `Autoencoder`                        | through r code numbers; a linear encoder with depth 0  | `theory.bottleneck.ProjectedDenoiser`            |
| `Prototypes`, `ShallowMLP` (softmax) | mixtures of K learned outputs                          | `theory.bottleneck.PrototypeDenoiser`            |
| `MinimalResNet`                      | local; with circular padding equivariant               | `theory.patches.LocalDenoiser`                   |
| `UNet`                               | what its fields say, from affine to unrestricted       | `theory.patches`; `theory.linear` (identity)     |

All are called on one example, `module(y_scaled, sigma)`; `NetworkDenoiser`, which `bind` and `training.fit` return, is
a denoiser.
"""

from jaxcreativity.networks.autoencoder import Autoencoder, Prototypes, ShallowMLP
from jaxcreativity.networks.binding import NetworkDenoiser, bind
from jaxcreativity.networks.checking import check_module
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
    "check_module",
]
