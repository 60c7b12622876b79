import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import _pytree


@_pytree.dataclass
class Ball:
    """A class with a leaf, a nested leaf, structure, and a constructor that checks and converts."""

    radius: object
    parts: tuple = ()
    name: str = _pytree.static(default="ball")

    def __post_init__(self):
        object.__setattr__(self, "radius", jnp.asarray(self.radius))
        if not bool(self.radius > 0):
            raise ValueError(f"radius must be positive, got {self.radius}")


def test_constructor_runs_for_the_user_and_never_for_jax():
    with pytest.raises(ValueError, match="radius must be positive"):
        Ball(-1.0)
    with pytest.raises(ValueError, match="radius must be positive"):
        dataclasses.replace(Ball(1.0), radius=-1.0)
    negated = jax.tree.map(jnp.negative, Ball(1.0))
    assert negated.radius == -1
    assert jax.tree.map(lambda _: None, Ball(1.0)).radius is None
    assert jax.tree.unflatten(jax.tree.structure(Ball(1.0)), ["anything"]).radius == "anything"


def test_static_fields_are_structure():
    ball = Ball(1.0, (jnp.zeros(2), jnp.ones(3)), "red")
    leaves, treedef = jax.tree.flatten(ball)
    assert len(leaves) == 3
    assert treedef == jax.tree.structure(Ball(2.0, (jnp.ones(2), jnp.ones(3)), "red"))
    assert treedef != jax.tree.structure(Ball(1.0, (jnp.zeros(2), jnp.ones(3)), "blue"))
    assert jax.tree.unflatten(treedef, leaves).name == "red"


def test_key_paths_name_the_fields():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Ball(1.0, (2.0,)))]
    assert paths == [".radius", ".parts[0]"]
    # The two ways of flattening, with and without paths, agree.
    assert [leaf for _, leaf in jax.tree_util.tree_leaves_with_path(Ball(1.0, (2.0,)))] == jax.tree.leaves(
        Ball(1.0, (2.0,))
    )


def test_transformations():
    area = lambda ball: jnp.pi * ball.radius**2  # noqa: E731
    assert jax.jit(area)(Ball(2.0)) == pytest.approx(4 * np.pi)
    gradient = jax.grad(area)(Ball(2.0))
    assert isinstance(gradient, Ball)
    assert gradient.radius == pytest.approx(4 * np.pi)
    # Axis numbers stand in the place of arrays, and a stack of balls is a ball.
    balls = jax.vmap(lambda r: jax.tree.map(lambda _: r, Ball(1.0)))(jnp.asarray([-1.0, 2.0]))
    axes = jax.tree.map(lambda _: 0, Ball(1.0))
    np.testing.assert_allclose(jax.vmap(area, in_axes=(axes,))(balls), [np.pi, 4 * np.pi])


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Ball(1.0).radius = 2.0
