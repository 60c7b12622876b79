"""From a Flax module to a denoiser: input scaling and output parametrisation.

A module is `module(y_scaled, sigma) -> F` on one example, F of the shape of `y_scaled`. Bound, it is the denoiser

    D(y, sigma) = c_skip y + c_out F(c_in y, sigma),   c_in = 1 / sqrt(sigma^2 + sigma_data^2)

| prediction | F estimates           | c_skip                | c_out                  |
|------------|-----------------------|-----------------------|------------------------|
| `x`        | the clean example     | 0                     | 1                      |
| `noise`    | the unit noise in `y` | 1                     | -sigma                 |
| `v`        | the velocity          | (sigma_data c_in)^2   | -sigma sigma_data c_in |

The velocity is `c_in (sigma_data noise - sigma x / sigma_data)`: v-prediction (Salimans & Ho 2022) at
`sigma_data = 1` and, up to the sign of F, the preconditioning of Karras et al. (2022, table 1) in general. Without
`scale_input`, c_in is 1 in what F sees: with `x` or `noise` that is a network without any preconditioning.
"""

from typing import Any, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel, Prediction


def preconditioning(
    prediction: Prediction, sigma: NoiseLevel, sigma_data: float, scale_input: bool = True
) -> tuple[Any, Any, Any]:
    """`(c_skip, c_out, c_in)` of this module's table at one noise level.

    Args:
        prediction: `"x"`, `"noise"` or `"v"`.
        sigma: noise level, in the units of the data.
        sigma_data: root mean square of the data's entries.
        scale_input: whether the module sees `c_in y`, or `y` itself (then the third is 1).
    """
    total = jnp.square(sigma) + sigma_data**2
    root = jax.lax.rsqrt(total)
    c_in = root if scale_input else 1.0
    if prediction == "x":
        return 0.0, 1.0, c_in
    if prediction == "noise":
        return 1.0, -sigma, c_in
    return sigma_data**2 / total, -sigma * sigma_data * root, c_in


@_pytree.dataclass
class NetworkDenoiser:
    """A Flax module with its parameters, obeying the denoiser contract; made by `bind`.

    Attributes:
        params: of the module; leaves.
        module: Linen module `module(y_scaled, sigma) -> output`, or with a third argument `label`.
        prediction: what the module outputs.
        sigma_data: root mean square of the data's entries.
        label: class of a conditional network; a leaf.
        scale_input: whether the module sees `c_in y`, or `y` itself.
    """

    params: Any
    module: nn.Module = _pytree.static()
    prediction: Prediction = _pytree.static(default="x")
    sigma_data: float = _pytree.static(default=1.0)
    label: Any = None
    scale_input: bool = _pytree.static(default=True)

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if y is not floating point, sigma is negative or NaN, or the module does not return its shape.
        """
        y = _checks.example("y", y)
        sigma = _checks.noise_level(sigma)
        sigma = jnp.asarray(sigma, y.dtype)
        c_skip, c_out, c_in = preconditioning(self.prediction, sigma, self.sigma_data, self.scale_input)
        condition = () if self.label is None else (self.label,)
        output = self.module.apply({"params": self.params}, c_in * y, sigma, *condition)
        if output.shape != y.shape:
            raise ValueError(
                f"module {type(self.module).__name__} must return its input's shape {y.shape}, got {output.shape}"
            )
        return (c_skip * y + c_out * output).astype(y.dtype)


def bind(
    module: nn.Module,
    params: Any,
    *,
    prediction: Prediction = "x",
    sigma_data: float = 1.0,
    label: Any = None,
    scale_input: bool = True,
) -> NetworkDenoiser:
    """Bind a module to its parameters.

    Args:
        module: Linen module `module(y_scaled, sigma) -> output` on one example; its attributes hashable (tuples, not
            lists), since it is part of the denoiser's static structure.
        params: the `"params"` collection of `module.init`.
        prediction: what the module outputs: `"x"`, `"noise"` or `"v"`.
        sigma_data: root mean square of the data's entries, which sets the input scale; positive.
        label: class of a conditional network, `module(y_scaled, sigma, label)`; a leaf, so it can be mapped over.
        scale_input: whether the module sees `c_in y`, or `y` itself.

    Raises:
        ValueError: for an unknown prediction, `sigma_data <= 0`, or an unhashable module.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> module, y = jc.networks.MLP(width=16), jnp.ones((4, 4, 1))
        >>> params = module.init(jax.random.key(0), y, jnp.ones(()))["params"]
        >>> jc.networks.bind(module, params, prediction="noise")(y, 0.5).shape
        (4, 4, 1)
    """
    _checks.choice("prediction", prediction, get_args(Prediction))
    if not sigma_data > 0:
        raise ValueError(f"sigma_data must be positive, got {sigma_data}")
    try:
        hash(module)
    except TypeError as error:
        raise ValueError(f"module must have hashable attributes (tuples, not lists): {error}") from error
    label = None if label is None else jnp.asarray(label)
    return NetworkDenoiser(params, module, prediction, float(sigma_data), label, bool(scale_input))
