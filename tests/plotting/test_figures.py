"""Figures: what is drawn where, that labels name it, that files are whole, and that no global state is touched."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from jaxcreativity import plotting

N, D = 3, 6


def images(channels=1, n=N, seed=0, height=4, width=5):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, size=(n, height, width, channels))


def covariance(seed=0, scale=1.0):
    root = np.random.default_rng(seed).normal(size=(D, 2 * D))
    return scale * root @ root.T


def texts(figure):
    return [text.get_text() for text in figure.texts]


def centre_colours(figure, row, n=N):
    """The RGB values at the middle of each image of a row."""
    strip = figure.axes[row].get_images()[0].get_array()
    columns = (np.arange(n) + 0.5) * strip.shape[1] / n
    return np.asarray(strip)[strip.shape[0] // 2, columns.astype(int)]


def test_grid_has_a_row_per_denoiser_and_a_column_per_seed():
    figure = plotting.sample_grid(
        {"data": images(), "full": {"theory": images(seed=1), "trained": images(seed=2)}, "MLP": {"trained": images()}},
        title="What is generated",
        seeds=[7, 8, 11],
        notes={"full": "r = 0.99"},
    )
    assert [axes.get_label() for axes in figure.axes] == ["data", "full: theory", "full: trained", "MLP: trained"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["7", "8", "11"]
    for expected in ("data", "full", "theory", "trained", "MLP", "seed", "What is generated", "r = 0.99"):
        assert expected in texts(figure)
    assert any("3 seeds" in text and "[−1, 1]" in text and "black" in text for text in texts(figure))
    # Rows of a group stand closer together than groups, in the order given.
    tops = [axes.get_position().y1 for axes in figure.axes]
    bottoms = [axes.get_position().y0 for axes in figure.axes]
    gaps = np.subtract(bottoms[:-1], tops[1:])
    assert gaps[1] == pytest.approx(0, abs=1e-9)
    assert min(gaps[0], gaps[2]) > 0.01


def test_a_member_has_the_same_colour_in_every_group():
    figure = plotting.sample_grid({"full": {"theory": images(), "trained": images()}, "MLP": {"trained": images()}})
    colours = [text.get_color() for text in figure.texts if text.get_text() in ("theory", "trained")]
    assert colours == [plotting.COLOURS[0], plotting.COLOURS[1], plotting.COLOURS[1]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(5, 3), (40, 33)])
def test_grid_shows_pixels_clipped_to_grey_or_rgb(channels, height, width):
    x = np.broadcast_to(np.asarray([-3.0, 0.5, 2.0]).reshape(N, 1, 1, 1), (N, height, width, channels)).copy()
    x[..., -1] = np.asarray([-0.5, 0.5, 5.0]).reshape(N, 1, 1)
    shown = centre_colours(plotting.sample_grid({"x": x}), 0)
    first = {1: [0.25] * 3, 3: [0.0, 0.0, 0.25]}[channels]
    np.testing.assert_allclose(shown, [first, [0.75] * 3, [1.0] * 3])


def test_columns_are_seeds_in_order():
    x = np.linspace(-1, 1, N).reshape(N, 1, 1, 1) * np.ones((N, 8, 8, 1))
    figure = plotting.sample_grid({"x": x})
    np.testing.assert_allclose(centre_colours(figure, 0)[:, 0], [0, 0.5, 1])
    # The seed stands above the middle of its image.
    strip = figure.axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(figure.axes[0].get_xticks(), (np.arange(N) + 0.5) * strip.shape[1] / N - 0.5)


@pytest.mark.parametrize("length", [1, 30, 60])
def test_labels_stay_inside_the_figure(length):
    name = ("a denoiser with a name " * 3)[:length]
    rows = {name: {("theory in closed form " * 2)[:length]: images(n=1)}}
    figure = plotting.sample_grid(
        rows, title="a title longer than that " * 4, notes={name: "r = 0.99 " * (length // 10)}
    )
    renderer = figure._get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text


def test_spectra_have_a_panel_per_group_with_the_data_in_each():
    data = covariance()
    curves = {"data": data}
    curves |= {name: {"theory": covariance(i), "trained": covariance(i + 9)} for i, name in enumerate("abcd")}
    counts = {"data": 1797, "trained": 1000, "b: trained": 50}
    figure = plotting.spectra(curves, title="Spectra", counts=counts)
    assert [axes.get_title() for axes in figure.axes] == list("abcd")
    assert figure.get_suptitle() == "Spectra"
    for axes, name in zip(figure.axes, "abcd", strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        trained = "trained (50 samples)" if name == "b" else "trained (1 000 samples)"
        assert labels == ["data (1 797 samples)", "theory", trained]
        for line, matrix in zip(axes.lines, (data, *curves[name].values()), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, D + 1))
            np.testing.assert_allclose(line.get_ydata(), np.linalg.svd(matrix, compute_uv=False), rtol=1e-9)
        assert [line.get_linestyle() for line in axes.lines[1:]] == ["-", "None"]
    assert "squared pixel value" in figure.axes[0].get_ylabel()
    assert "mode" in figure.axes[-1].get_xlabel()
    left = {axes.get_subplotspec().colspan.start: axes.get_ylabel() for axes in figure.axes}
    assert left[0]
    assert not left[1]


def test_spectra_without_groups_share_one_panel_and_take_eigenvalues():
    figure = plotting.spectra({"data": np.asarray([1.0, 4.0, 2.0]), "theory": covariance()}, unit="mV^2")
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4, 2, 1])
    assert len({line.get_color() for line in axes.lines}) == 2
    assert "mV^2" in axes.get_ylabel()
    assert axes.get_xlabel()


@pytest.mark.parametrize("relative", [False, True])
def test_spectra_along_the_modes_of_the_data(relative):
    data, other = covariance(0), covariance(1)
    figure = plotting.spectra({"data": data, "g": {"theory": other}}, modes_of="data", relative=relative)
    values, vectors = np.linalg.eigh(data)
    expected = np.diag(vectors.T @ other @ vectors)[::-1]
    lines = figure.axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), np.ones(D) if relative else values[::-1], rtol=1e-9)
    np.testing.assert_allclose(lines[1].get_ydata(), expected / values[::-1] if relative else expected, rtol=1e-9)
    assert "eigenvalue of data" in figure.axes[0].get_xlabel()
    assert ("/ variance of data" in figure.axes[0].get_ylabel()) == relative


def test_modes_without_variance_are_left_out_and_counted():
    values, vectors = np.linalg.eigh(covariance())
    low_rank = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    figure = plotting.spectra({"data": covariance(), "rank 2": low_rank}, counts={"rank 2": 9})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["data", f"rank 2 (9 samples, 2 of {D} modes)"]
    # Two points are no line.
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "None"]
    gain = plotting.spectra({"data": low_rank, "g": {"theory": covariance()}}, modes_of="data", relative=True)
    assert all(np.isfinite(line.get_ydata()).all() and line.get_xdata().size == 2 for line in gain.axes[0].lines)


def test_a_curve_without_any_variance_says_so():
    figure = plotting.spectra({"data": covariance(), "constant": np.zeros((D, D))})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["data"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["constant: no variance"]


@pytest.mark.parametrize("columns", [3, 12, 24])
def test_text_of_a_grid_is_legible_at_page_width(columns):
    figure = plotting.sample_grid({"data": images(n=columns, width=4)}, title="title")
    sizes = [text.get_fontsize() for text in (*figure.texts, *figure.axes[0].get_xticklabels())]
    assert min(sizes) * plotting.PAGE_WIDTH / max(plotting.PAGE_WIDTH, figure.get_figwidth()) >= (
        6 if columns < 20 else 4
    )


@pytest.mark.parametrize("name", ["deep/er/grid.png", "grid.PDF", "grid.svg"])
def test_save_writes_one_whole_file(tmp_path, name):
    path = plotting.save(plotting.sample_grid({"x": images()}), tmp_path / name)
    assert path == tmp_path / name
    assert path.stat().st_size > 1000
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == [path.name]
    if path.suffix == ".png":
        assert np.ptp(imread(path)[..., :3]) > 0.5


def test_save_leaves_the_old_file_where_writing_fails(tmp_path, monkeypatch):
    figure, path = plotting.sample_grid({"x": images()}), tmp_path / "grid.png"
    plotting.save(figure, path)
    before = path.read_bytes()

    def fail(file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plotting.save(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_same_input_gives_the_same_picture(tmp_path):
    files = [plotting.save(plotting.sample_grid({"x": images()}), tmp_path / f"{i}.png") for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_pyplot_is_not_imported_and_settings_are_not_changed():
    before = dict(matplotlib.rcParams)
    plotting.spectra({"data": covariance()})
    plotting.sample_grid({"x": images()})
    assert dict(matplotlib.rcParams) == before
    code = "import sys, jaxcreativity.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


COVARIANCE = covariance()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.sample_grid({}), "rows is empty"),
        (lambda: plotting.sample_grid({"a": {}}), "groups without members: a"),
        (lambda: plotting.sample_grid({"a": images(2)}), "a must have 1 channel"),
        (lambda: plotting.sample_grid({"a": {"b": images()[0]}}), "a: b must have shape"),
        (lambda: plotting.sample_grid({"a": images() * np.nan}), "a has NaN"),
        (lambda: plotting.sample_grid({"a": images().astype(np.uint8)}), "a must be floating point"),
        (lambda: plotting.sample_grid({"a": images(), "b": images(n=2)}), r"same number of images.*\[3, 2\]"),
        (lambda: plotting.sample_grid({"a": images()}, seeds=[1]), "name each of the 3 columns, got 1"),
        (lambda: plotting.sample_grid({"a": images()}, notes={"c": "x"}), "notes must belong to a; got c"),
        (lambda: plotting.spectra({}), "curves is empty"),
        (lambda: plotting.spectra({"a": COVARIANCE[:2]}), "a must be a covariance"),
        (lambda: plotting.spectra({"a": 0 * COVARIANCE}), "no curve has any variance"),
        (lambda: plotting.spectra({"a": np.zeros(0)}), "a must be a covariance"),
        (lambda: plotting.spectra({"a": COVARIANCE + np.inf}), "a must be floating point and finite"),
        (lambda: plotting.spectra({"a": np.eye(3, dtype=int)}), "a must be floating point and finite"),
        (lambda: plotting.spectra({"a": np.triu(COVARIANCE)}), "a must be a symmetric covariance"),
        (lambda: plotting.spectra({"a": COVARIANCE}, counts={"b": 3}), "counts must belong to curves, got b"),
        (lambda: plotting.spectra({"a": COVARIANCE}, modes_of="b"), "modes_of must name an ungrouped curve"),
        (lambda: plotting.spectra({"a": np.ones(3)}, modes_of="a"), "modes_of must name an ungrouped curve"),
        (lambda: plotting.spectra({"a": COVARIANCE, "b": np.ones(D)}, modes_of="a"), r"got \(6,\) for b"),
        (lambda: plotting.spectra({"a": COVARIANCE}, relative=True), "relative needs modes_of"),
        (lambda: plotting.save(plotting.spectra({"a": COVARIANCE}), "x.docx"), "path must end in one of"),
        (lambda: plotting.save(plotting.spectra({"a": COVARIANCE}), "x"), "path must end in one of"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_notebook_shows_a_figure_without_pyplot():
    figure, _ = plotting.panels(1, 1)
    for shown in (figure, plotting.sample_grid({"a": np.zeros((2, 4, 4, 1))})):
        assert shown._repr_png_().startswith(b"\x89PNG")
