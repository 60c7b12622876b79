"""The denoising loss, defined once: what `fit` descends, and what `denoising_loss` reports of any denoiser.

With images x, noises and noise levels drawn for one step (`steps.draw`), `fit` descends

    mean over levels, images and entries of  weighting(sigma) |F(c_in y, sigma) - F*|^2  +  weight_penalty |kernels|^2

where `y = x + sigma noise`, F is the network's output and F* the target for its prediction type (`networks.binding`).
With weighting 1, predicting x weights the error of D equally at all levels, noise by `1 / sigma^2`, v by `1 / c_out^2`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _pytree
from jaxcreativity.denoiser import Example, NoiseLevel, Prediction
from jaxcreativity.networks.binding import preconditioning

Weighting = Callable[[Float[Array, ""]], Float[Array, ""]]


def squared_error(
    predict: Callable[[Example, NoiseLevel], Example],
    x: Float[Array, "*shape"],
    noise: Float[Array, "*shape"],
    sigma: NoiseLevel,
    target: Callable[[Example], Example] | None = None,
) -> Float[Array, ""]:
    """Denoising loss of one image and noise: `|predict(y, sigma) - target|^2`, mean over entries, y = x + sigma noise.

    Args:
        predict: `(y, sigma) -> prediction`, of the shape of y; a denoiser, if the target is x.
        x: clean image.
        noise: unit Gaussian noise.
        sigma: noise level.
        target: `y -> what is to be predicted`; x if not given.
    """
    y = x + sigma * noise
    return jnp.mean(jnp.square(predict(y, sigma) - (x if target is None else target(y))))


@_pytree.dataclass
class Objective:
    """The denoising loss of one module; all of it is static, so it can be an argument of `jit`.

    Attributes:
        module: Linen module `module(y_scaled, sigma) -> output`.
        prediction: what the module outputs, `"x"`, `"noise"` or `"v"`.
        sigma_data: root mean square of the data's entries.
        weighting: `sigma -> weight` of the squared error of the output, or `None` for 1.
        weight_penalty: coefficient of the summed squares of all parameters whose name ends in `kernel`.
        scale_input: whether the module sees `c_in y`, or `y` itself.
    """

    module: nn.Module = _pytree.static()
    prediction: Prediction = _pytree.static()
    sigma_data: float = _pytree.static()
    weighting: Weighting | None = _pytree.static(default=None)
    weight_penalty: float = _pytree.static(default=0.0)
    scale_input: bool = _pytree.static(default=True)

    def __call__(
        self,
        params: Any,
        x: Float[Array, "levels batch *shape"],
        noise: Float[Array, "levels batch *shape"],
        sigmas: Float[Array, " levels"],
    ) -> Float[Array, ""]:
        """The loss of this file's docstring on given images and noises.

        Args:
            params: the module's parameters.
            x: clean images, some for each noise level.
            noise: unit Gaussian noise of each.
            sigmas: positive noise levels.
        """

        def example_loss(x, noise, sigma):
            c_skip, c_out, c_in = preconditioning(self.prediction, sigma, self.sigma_data, self.scale_input)
            output = lambda y, sigma: self.module.apply({"params": params}, c_in * y, sigma)  # noqa: E731
            # For the noise this is (x - y) / -sigma = noise, and so on.
            return squared_error(output, x, noise, sigma, target=lambda y: (x - c_skip * y) / c_out)

        def level_loss(x, noise, sigma):
            weight = 1.0 if self.weighting is None else self.weighting(sigma)
            return weight * jnp.mean(jax.vmap(example_loss, in_axes=(0, 0, None))(x, noise, sigma))

        return jnp.mean(jax.vmap(level_loss)(x, noise, sigmas)) + self._penalty(params)

    def _penalty(self, params):
        if not self.weight_penalty:
            return 0.0
        leaves = jax.tree_util.tree_leaves_with_path(params)
        kernels = [leaf for path, leaf in leaves if str(path[-1].key).endswith("kernel")]
        return self.weight_penalty * sum(jnp.sum(jnp.square(kernel)) for kernel in kernels)
