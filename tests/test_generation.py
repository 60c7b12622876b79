"""Many examples, batch after batch, against `sample` of each: for every batch size and every kind of denoiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import Piecewise, generate, generation, networks, sample, schedules, trajectory
from jaxcreativity.distributions import Laplace
from jaxcreativity.theory.empirical import EmpiricalDenoiser

N = 7
RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((5, 3))
EMPIRICAL = EmpiricalDenoiser(POINTS)
SIGMAS = np.array([3.0, 1.2, 0.5, 0.0])
Z = RNG.standard_normal((N, 3))
KEY = jax.random.key(3)
WEIGHTS = RNG.standard_normal((N, 3))

# Two orders of the same sums, of numbers near 1 in float64.
ROUNDING = 1e-13


def one_by_one(denoiser, z=Z, sigmas=SIGMAS, **options):
    """`sample` of each noise, with the keys that `generate` promises."""
    key = options.pop("key", None)
    one = jax.jit(lambda z, key: sample(denoiser, z, sigmas, key=key, **options))
    return np.stack([one(z[i], None if key is None else jax.random.fold_in(key, i)) for i in range(len(z))])


def shrink(y, sigma):
    """A plain function: the denoiser of a standard Gaussian."""
    return y / (1 + sigma**2)


# --- batches -----------------------------------------------------------------------------------------------------


OPTIONS = {
    "ddim": {},
    "half ancestral": {"eta": 0.5, "key": KEY},
    "ancestral": {"eta": 1.0, "key": KEY},
    "heun": {"method": "heun"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_sample_of_each_for_every_batch_size(options):
    expected = one_by_one(EMPIRICAL, **options)
    for batch_size in (None, 1, 2, 3, 4, 6, 7, 100):
        got = generate(EMPIRICAL, Z, SIGMAS, batch_size=batch_size, **options)
        np.testing.assert_allclose(got, expected, atol=ROUNDING)


@pytest.mark.parametrize("options", [{}, {"eta": 0.7, "key": KEY}], ids=["ddim", "ancestral"])
def test_trajectories_are_those_of_each(options):
    got = generation.trajectories(EMPIRICAL, Z, SIGMAS, batch_size=3, **options)
    assert got.shape == (N, 4, 3)
    np.testing.assert_allclose(got[:, 0], SIGMAS[0] * Z)
    np.testing.assert_allclose(got[:, -1], generate(EMPIRICAL, Z, SIGMAS, **options), atol=ROUNDING)
    key = {} if not options else {"eta": 0.7, "key": jax.random.fold_in(KEY, 5)}
    np.testing.assert_allclose(got[5], trajectory(EMPIRICAL, Z[5], SIGMAS, **key), atol=ROUNDING)


def test_a_key_without_noise_makes_no_difference():
    np.testing.assert_array_equal(generate(EMPIRICAL, Z, SIGMAS, key=KEY), generate(EMPIRICAL, Z, SIGMAS))


def test_default_batches_are_bounded():
    """At most 2^18 numbers at once, in batches of nearly equal size."""
    sizes = []

    def denoiser(y, sigma):
        jax.debug.callback(lambda y: sizes.append(y.shape), y)
        return 0 * y

    z = np.zeros((5, 2**17 - 1), np.float32)
    generate(denoiser, z, np.array([1.0, 0.0]))
    jax.effects_barrier()
    assert len(sizes) == 6  # three batches of two, the last of which does one example again


@pytest.mark.parametrize(
    ("shape", "batches"), [((3, 2**18 + 1), 3), ((7, 2**16), 2), ((2**18, 1), 1), ((2**18 + 1,), 2)], ids=str
)
def test_number_of_default_batches(shape, batches, capsys):
    """2^18 numbers at once, but one example at least; examples may be single numbers."""
    z = np.zeros(shape, np.float32)
    assert generate(shrink, z, np.array([1.0, 0.0]), progress=True).shape == shape
    assert f"{batches}/{batches}" in capsys.readouterr().err


def test_images_and_one_example():
    z = RNG.standard_normal((1, 2, 3, 1))
    np.testing.assert_allclose(generate(shrink, z, SIGMAS)[0], sample(shrink, z[0], SIGMAS), atol=ROUNDING)


def test_a_diverged_example_is_infinite_and_alone():
    z = np.array([[0.1], [50.0], [0.2]])
    got = np.asarray(generate(lambda y, sigma: -(y**3), z, schedules.grid(schedules.karras(0.1, 9.0), 9), batch_size=2))
    assert np.isinf(got[1]).all()
    assert np.isfinite(got[[0, 2]]).all()


# --- kinds of denoisers -----------------------------------------------------------------------------------------


class Scaler:
    """An object whose method is a denoiser."""

    def __init__(self, factor):
        self.factor = factor

    def denoise(self, y, sigma):
        return self.factor * shrink(y, sigma)


def bound_network():
    module = networks.MLP(width=4, depth=1)
    params = module.init(jax.random.key(0), jnp.zeros(3), jnp.ones(()))["params"]
    return networks.bind(module, params)


def equinox_module():
    equinox = pytest.importorskip("equinox", reason="needs equinox, which is not installed")

    class Denoiser(equinox.Module):
        mlp: equinox.nn.MLP
        scale: float

        def __call__(self, y, sigma):
            return self.scale * self.mlp(y / jnp.sqrt(1 + sigma**2))

    # Its activation is a leaf that is a function, and `scale` one that is a number.
    return Denoiser(equinox.nn.MLP(3, 3, 4, 1, key=jax.random.key(1)), 0.7)


KINDS = {
    "function": lambda: shrink,
    "compiled function": lambda: jax.jit(shrink),
    "lambda": lambda: lambda y, sigma: 0.3 * y,
    "lambda around a closed form": lambda: lambda y, sigma: EMPIRICAL(y, sigma) + 0.1 * y,
    "partial": lambda: functools.partial(lambda scale, y, sigma: scale * y, 0.4),
    "JAX partial": lambda: jax.tree_util.Partial(lambda scale, y, sigma: scale * y, 0.4),
    "bound method": lambda: Scaler(0.6).denoise,
    "closed form": lambda: EMPIRICAL,
    "known law": lambda: Laplace(0.5).denoiser(),
    "network": bound_network,
    "equinox": equinox_module,
    "joined functions": lambda: Piecewise([1.0], [shrink, EMPIRICAL]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_takes_every_kind_of_denoiser(kind):
    denoiser = KINDS[kind]()
    z = Z[:, :1] if kind == "known law" else Z
    got = generate(denoiser, z, SIGMAS, batch_size=3)
    np.testing.assert_allclose(got, one_by_one(denoiser, z), atol=ROUNDING)


def test_a_function_is_read_anew_at_every_call():
    """The same object, which closes over something else."""
    factor, scaler = 0.5, Scaler(0.5)
    closing = lambda y, sigma: factor * y  # noqa: E731
    before = [generate(f, Z, SIGMAS) for f in (closing, scaler.denoise)]
    factor, scaler.factor = 0.25, 0.25
    after = [generate(f, Z, SIGMAS) for f in (closing, scaler.denoise)]
    np.testing.assert_allclose(before[0], one_by_one(lambda y, sigma: 0.5 * y), atol=ROUNDING)
    np.testing.assert_allclose(after[0], one_by_one(lambda y, sigma: 0.25 * y), atol=ROUNDING)
    for values, shrunk in ((before, 0.5), (after, 0.25)):
        np.testing.assert_allclose(values[1], one_by_one(lambda y, s, f=shrunk: f * shrink(y, s)), atol=ROUNDING)


def test_numbers_that_differ_in_the_last_digit_are_told_apart():
    a, b = 0.1, np.nextafter(0.1, 1.0)
    x, y = (generate(lambda y, sigma, f=f: f * y, np.full((1, 1), 1.0), np.array([1.0, 0.0])) for f in (a, b))
    assert (float(x[0, 0]), float(y[0, 0])) == (a, b)
    # Nor are a whole number, a truth value and a float one, though they are equal.
    kinds = [jax.tree_util.Partial(lambda p, y, sigma: y + (p / 2 if p is True else p // 2), p) for p in (1, 1.0, True)]
    assert [float(generate(f, np.zeros((1, 1)), np.array([1.0, 0.0]))[0, 0]) for f in kinds] == [0.0, 0.0, 0.5]


# --- programs ---------------------------------------------------------------------------------------------------


def programs(*calls):
    """How many programs each call compiles."""
    counts = []
    for call in calls:
        before = generation._batch._cache_size()
        call()
        counts.append(generation._batch._cache_size() - before)
    return counts


def test_compiled_once_for_each_make():
    z = RNG.standard_normal((6, 3, 1))  # a shape that no other test has
    other = EmpiricalDenoiser(RNG.standard_normal((5, 3, 1)))
    larger = EmpiricalDenoiser(RNG.standard_normal((6, 3, 1)))
    first = EmpiricalDenoiser(POINTS[..., None])
    counts = programs(
        lambda: generate(first, z, SIGMAS, batch_size=2),
        lambda: generate(other, z, SIGMAS, batch_size=2),
        lambda: generate(other, 2 * z, 2 * SIGMAS, batch_size=2),
        lambda: generate(larger, z, SIGMAS, batch_size=2),
        lambda: generate(first, z, SIGMAS, batch_size=2, eta=0.3, key=KEY),
        lambda: generate(other, z, SIGMAS, batch_size=2, eta=0.6, key=jax.random.key(8)),
    )
    assert counts == [1, 0, 0, 1, 1, 0]


def test_functions_that_compute_the_same_share_a_program():
    """Arrays that they close over are arguments; what is no array is part of the program."""
    z = RNG.standard_normal((6, 3, 2))
    make = lambda array, number: lambda y, sigma: number * y + array  # noqa: E731
    ones, twos = np.ones((3, 2)), np.full((3, 2), 2.0)
    call = lambda *args: lambda: generate(make(*args), z, SIGMAS)  # noqa: E731
    assert programs(call(ones, 0.5), call(ones, 0.5), call(twos, 0.5), call(twos, 0.25)) == [1, 0, 0, 1]
    np.testing.assert_allclose(generate(make(twos, 0.5), z, SIGMAS), one_by_one(make(twos, 0.5), z), atol=ROUNDING)


def test_equinox_modules_of_one_make_share_a_program():
    module, z = equinox_module(), RNG.standard_normal((5, 3))
    doubled = jax.tree.map(lambda leaf: 2 * leaf if isinstance(leaf, jax.Array) else leaf, module)
    counts = programs(lambda: generate(module, z, SIGMAS), lambda: generate(doubled, z, SIGMAS))
    assert counts == [1, 0]


# --- inside other transformations --------------------------------------------------------------------------------


def plain(denoiser, z=Z, sigmas=SIGMAS):
    return jax.vmap(sample, (None, 0, None))(denoiser, z, sigmas)


def test_gradient_into_data_noise_and_levels():
    loss = lambda run: lambda x, z, s: jnp.sum(WEIGHTS * run(EmpiricalDenoiser(x), z, s))  # noqa: E731
    batched = functools.partial(generate, batch_size=3)
    got, expected = (jax.jit(jax.grad(loss(run), (0, 1, 2)))(POINTS, Z, SIGMAS) for run in (batched, plain))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
    # Not compiled from outside.
    np.testing.assert_allclose(jax.grad(loss(batched))(POINTS, Z, SIGMAS), expected[0], atol=1e-11)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_gradient_into_a_number_that_a_lambda_closes_over(wrap):
    loss = lambda run: lambda a: jnp.sum(WEIGHTS * run(lambda y, sigma: a * shrink(y, sigma), Z, SIGMAS))  # noqa: E731
    got = wrap(jax.grad(loss(functools.partial(generate, batch_size=3))))
    for a in (0.5, 0.9):
        np.testing.assert_allclose(got(a), jax.grad(loss(plain))(a), atol=1e-12)


def test_vmap_and_jit_of_other_code():
    stacked = jnp.stack([jnp.asarray(Z), 2 * jnp.asarray(Z)])
    factors = jnp.asarray([0.2, 0.8])
    run = lambda z, a: generate(lambda y, sigma: a * shrink(y, sigma), z, SIGMAS, batch_size=4)  # noqa: E731
    got = jax.jit(jax.vmap(run))(stacked, factors)
    for i in range(2):
        np.testing.assert_allclose(got[i], run(stacked[i], float(factors[i])), atol=ROUNDING)
    traced_eta = jax.jit(lambda eta: generate(EMPIRICAL, Z, SIGMAS, eta=eta, key=KEY))
    for eta in (0.0, 0.5):
        np.testing.assert_allclose(traced_eta(eta), generate(EMPIRICAL, Z, SIGMAS, eta=eta, key=KEY), atol=ROUNDING)


# --- dtypes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x64", [True, False])
def test_dtype_is_that_of_the_noise_with_float64_on_and_off(x64):
    with jax.enable_x64(x64):
        for dtype in (np.float32, np.float64) if x64 else (np.float32,):
            denoiser = EmpiricalDenoiser(POINTS.astype(dtype))
            for f in (denoiser, shrink, lambda y, sigma: 0.5 * y + POINTS[0]):
                for options in ({}, {"eta": 0.5, "key": jax.random.key(0)}):
                    got = generate(f, Z.astype(dtype), SIGMAS, batch_size=3, **options)
                    assert got.dtype == dtype
                    assert np.isfinite(got).all()
            got = generate(denoiser, Z.astype(dtype), SIGMAS)
            np.testing.assert_allclose(got, one_by_one(EMPIRICAL), atol=1e-6 if dtype == np.float32 else ROUNDING)


def test_half_precision():
    got = generate(shrink, Z.astype(np.float16), SIGMAS)
    assert got.dtype == jnp.float16
    np.testing.assert_allclose(got, generate(shrink, Z, SIGMAS), atol=0.01)
    with pytest.raises(ValueError, match="levels that the dtype of z, float16, takes for infinite or for 0"):
        generate(shrink, Z.astype(np.float16), np.array([1e5, 1.0, 0.0]))
    with pytest.raises(ValueError, match="levels that the dtype of z, float16, takes for infinite or for 0"):
        generate(shrink, Z.astype(np.float16), np.array([1.0, 1e-9, 0.0]))


# --- progress and bad input ---------------------------------------------------------------------------------------


def test_bar_on_request(capsys):
    silent = generate(EMPIRICAL, Z, SIGMAS, batch_size=3)
    assert capsys.readouterr() == ("", "")
    shown = generate(EMPIRICAL, Z, SIGMAS, batch_size=3, progress=True)
    np.testing.assert_array_equal(shown, silent)
    bar = capsys.readouterr().err
    assert "compiling, sampling" in bar
    assert "3/3" in bar


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [generate, generation.trajectories])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"denoiser": 3}, "denoiser must be callable as denoiser.y, sigma., got int"),
        ({"denoiser": lambda y, sigma: y[:2]}, r"one array of the shape of y, \(3,\), got \(2,\)"),
        ({"denoiser": lambda y, sigma: (y, y)}, r"one array of the shape of y, \(3,\), got tuple"),
        ({"denoiser": EmpiricalDenoiser(np.ones((2, 4)))}, r"y must have shape \(4,\), got \(3,\)"),
        ({"z": 1.0}, r"z must be an array of one noise or more, \(n, \*shape\), got float"),
        ({"z": [[1.0, 2.0, 3.0]]}, r"z must be an array of one noise or more, \(n, \*shape\), got list"),
        ({"z": np.ones(())}, r"z must be an array of one noise or more, \(n, \*shape\), got \(\)"),
        ({"z": np.ones((0, 3))}, r"z must be an array of one noise or more, \(n, \*shape\), got \(0, 3\)"),
        ({"z": np.ones((2, 3), int)}, "z must be floating point"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.0}, "batch_size must be an integer of at least 1, got 2.0"),
        ({"sigmas": SIGMAS[::-1]}, "strictly decreasing and end at 0"),
        ({"sigmas": np.array([2, 1, 0])}, "sigmas must be floating point"),
        ({"eta": 1.5, "key": KEY}, r"eta must lie in \[0, 1\], got 1.5"),
        ({"eta": 0.5}, "pass key=jax.random.key"),
        ({"method": "euler"}, "method must be one of 'ddim', 'heun', got 'euler'"),
        ({"method": "heun", "eta": 0.5, "key": KEY}, "method 'heun' is deterministic"),
    ],
)
def test_bad_input(function, change, message):
    arguments = {"denoiser": EMPIRICAL, "z": Z, "sigmas": SIGMAS, **change}
    with pytest.raises(ValueError, match=message):
        function(**arguments)
