"""Feature spaces: PCA against scikit-learn, the classifier's accuracy and resume, Inception without its weights."""

import importlib.util
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from jaxcreativity import metrics
from jaxcreativity.metrics.features import classification


@pytest.fixture(scope="module")
def labelled():
    """All digits, shuffled: training and test images with labels."""
    raw = load_digits()
    order = np.random.default_rng(0).permutation(len(raw.target))
    x, labels = jnp.asarray(raw.images[order, :, :, None] / 8 - 1, jnp.float32), raw.target[order]
    return x[:1500], labels[:1500], x[1500:], labels[1500:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("classifier")


@pytest.fixture(scope="module")
def fit(labelled, folder):
    """Train a small classifier, or take it from the folder."""

    def train(**changes):
        options = {
            "key": jax.random.key(0), "num_steps": 160, "checkpoint_every": 80, "num_features": 16, "width": 8,
            "batch_size": 64, "learning_rate": 3e-3, "checkpoint_folder": folder, "progress": False,
        } | changes  # fmt: skip
        return metrics.features.classifier(*labelled, **options)

    return train


@pytest.fixture(scope="module")
def trained(fit):
    return fit()


def test_pixels_are_the_entries(digits):
    np.testing.assert_array_equal(metrics.features.pixels()(digits), digits.reshape(64, 64))
    assert metrics.features.name_of(metrics.features.pixels()) == "pixels"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pca_is_scikit_learns(digits, dtype):
    fitted = metrics.features.pca(digits.astype(dtype), 5)
    reference = PCA(5).fit(digits.reshape(64, -1))
    found, expected = fitted(digits.astype(dtype)), reference.transform(digits.reshape(64, -1))
    assert found.dtype == dtype
    # Up to the sign of each axis; eigenvectors in float32 are off by eps over the relative gap, of order 0.01 here.
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-10 if dtype == np.float64 else 1e-3)
    assert fitted.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-5)
    assert metrics.features.name_of(fitted) == "PCA (rank 5, 64.2% of the variance)"


def test_classifier_learns_digits_and_reports_it(trained, labelled):
    # Guessing reaches 0.1, nearest centroids about 0.9.
    assert trained.test_accuracy > 0.9
    assert trained.train_accuracy > 0.95
    assert metrics.features.name_of(trained) == f"classifier (16 features, test accuracy {trained.test_accuracy:.3f})"
    logits, _ = trained.module.apply({"params": trained.params}, labelled[2])
    assert trained.test_accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == labelled[3]))


def test_classifier_features_are_the_layer_before_the_logits_in_units_of_their_spread(trained, labelled):
    found = trained(labelled[0])
    assert found.shape == (1500, 16)
    assert found.dtype == np.float32
    assert np.mean(np.var(found, axis=0)) == pytest.approx(1, rel=1e-4)
    last = trained.params["Dense_1"]
    logits, _ = trained.module.apply({"params": trained.params}, labelled[0])
    found = np.asarray(found * trained.scale)
    np.testing.assert_allclose(
        found @ np.asarray(last["kernel"]) + np.asarray(last["bias"]), logits, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("count", [1, 64, 100])
def test_batches_do_not_change_features(trained, labelled, count, monkeypatch):
    whole = trained(labelled[0][:128])[:count]
    monkeypatch.setattr(classification, "_BATCH", 64)
    np.testing.assert_allclose(trained(labelled[0][:count]), whole, atol=1e-5)


def test_classes_apart_are_apart_in_feature_space(trained, labelled):
    # Another digit is farther than other images of the same digits, also where pixels say the same.
    images, labels = labelled[:2]
    ones, other_ones, sevens = images[labels == 1][:70], images[labels == 1][70:140], images[labels == 7][:70]
    distance = lambda a, b: metrics.kernel_distance(trained(a), trained(b), key=jax.random.key(0))  # noqa: E731
    assert distance(ones, sevens).low > distance(ones, other_ones).high


@pytest.mark.slow
def test_classifier_resumes_to_the_same_parameters(trained, fit, folder):
    shutil.rmtree(folder / "steps" / "160")  # what a kill leaves
    resumed = fit()
    jax.tree.map(np.testing.assert_array_equal, trained.params, resumed.params)
    assert resumed.test_accuracy == trained.test_accuracy
    with pytest.raises(ValueError, match=r"another configuration \(checkpoint_every: 80 there, 40 here"):
        fit(checkpoint_every=40)
    with pytest.raises(ValueError, match=r"another configuration \(key"):
        fit(key=jax.random.key(1))


def test_inception_takes_a_callable(digits):
    mine = metrics.features.inception(lambda images: images[:, ::2, ::4, 0].reshape(len(images), -1))
    assert mine(digits).shape == (64, 8)
    assert "as passed" in metrics.features.name_of(mine)


@pytest.mark.parametrize("weights", [None, "no/such/file.pth"])
def test_inception_without_weights_says_what_to_pass(weights):
    with pytest.raises(ValueError, match=r"need weights, got .*pass the path .* or a callable.*nothing is downloaded"):
        metrics.features.inception(weights)


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="needs torch-fidelity to be absent")
def test_inception_without_its_package_says_what_to_install(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install 'jaxcreativity\[interop\]'"):
        metrics.features.inception(path)


X = np.zeros((6, 4, 4, 1), np.float32) + np.arange(6, dtype=np.float32)[:, None, None, None]
LABELS = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.features.pca(X, 6), "rank must be at most 5 for 6 images"),
        (lambda: metrics.features.pca(X, 0), "rank must be an integer"),
        (lambda: metrics.features.pca(X[:1], 1), "train needs at least 2"),
        (lambda: metrics.features.pca(X, 2)(X[:, :3]), r"images \(4, 4, 1\), got \(3, 4, 1\)"),
        (lambda: metrics.features.pixels()(X[0]), r"images must have shape \(n, height"),
        (lambda: fit_few(labels=None), "labels is None: this data set has no labels; use features.pca"),
        (lambda: fit_few(labels=LABELS[:5]), r"labels must be 6 integers.*got int64 \(5,\)"),
        (lambda: fit_few(labels=LABELS - 1), "integers of at least 0"),
        (lambda: fit_few(labels=LABELS / 2), "got float64"),
        (lambda: fit_few(labels=0 * LABELS), "one class"),
        (lambda: fit_few(test_images=X[:, :3]), "test_images must have images of shape"),
        (lambda: fit_few(num_steps=0), "num_steps must be an integer"),
        (lambda: fit_few(num_features=0), "num_features must be an integer"),
        (lambda: metrics.features.inception(lambda x: x, batch_size=0), "batch_size must be an integer"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def fit_few(**changes):
    arguments = {"images": X, "labels": LABELS, "test_images": X, "test_labels": LABELS, "progress": False} | changes
    return metrics.features.classifier(**arguments, key=jax.random.key(0))


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(ValueError, match=r"trained on images \(8, 8, 1\), got \(4, 4, 1\)"):
        trained(X)
