"""Frozen dataclasses that are JAX pytrees and may check their arguments.

`flax.struct.dataclass` rebuilds an object through `__init__` whenever JAX unflattens it: with tracers, gradients,
`None`s or axis numbers in place of arrays. A constructor that checks its arguments would reject those. Here
`__post_init__` runs when a user builds the object and never when JAX rebuilds it.
"""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**kwargs: Any) -> Any:
    """A dataclass field that is part of the pytree's structure, not a leaf: hashable, fixed under `jit`."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(field_specifiers=(static,), frozen_default=True)
def dataclass(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree; fields made by `static()` are structure, the others leaves."""
    # Compared and hashed by identity: arrays have no truth value to compare, and `jax.jit(denoiser)` hashes.
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    names = [(f.name, bool(f.metadata.get("static"))) for f in dataclasses.fields(cls)]
    leaf_names = tuple(name for name, is_static in names if not is_static)
    static_names = tuple(name for name, is_static in names if is_static)

    def flatten_with_keys(node):
        children = [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in leaf_names]
        return children, tuple(getattr(node, name) for name in static_names)

    def flatten(node):
        return [getattr(node, n) for n in leaf_names], tuple(getattr(node, n) for n in static_names)

    def unflatten(static_values, leaves):
        node = object.__new__(cls)
        for name, value in zip(leaf_names + static_names, (*leaves, *static_values), strict=True):
            object.__setattr__(node, name, value)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
