"""Closed forms: what each class of denoisers computes, and what it generates. One room per class.

| room         | the denoiser is                                        | it generates                                          |
|--------------|--------------------------------------------------------|-------------------------------------------------------|
| `empirical`  | unconstrained: the exact posterior mean                | copies of the training images                         |
| `linear`     | affine in the noisy image, with a structure            | a Gaussian                                            |
| `polynomial` | a polynomial of degree p                               | laws that the moments up to order 2p decide           |
| `bottleneck` | behind few numbers, or made of few units               | the regression manifold; averages of training images  |
| `patches`    | local, and maybe the same everywhere (patch machines)  | mosaics of training patches                           |

Every class is a denoiser (`jaxcreativity.denoiser`) and a pytree of arrays: gradients flow into the data behind it.
"""

from jaxcreativity.theory import bottleneck, empirical, linear, patches, polynomial

__all__ = ["bottleneck", "empirical", "linear", "patches", "polynomial"]
