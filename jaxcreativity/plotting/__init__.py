"""Figures. Every function returns a `matplotlib.figure.Figure`, which a notebook shows and `save` writes.

| name                                    | draws                                                                          |
|-----------------------------------------|--------------------------------------------------------------------------------|
| `sample_grid(rows)`                     | images: a row per denoiser, a column per noise                                 |
| `spectra(curves)`                       | variances per mode, of data, predictions and samples                           |
| `panels(rows, columns)`                 | an empty grid of axes, as wide as a page, with legible text                    |
| `curve(axes, x, y)`                     | measured points with intervals, joined if they are three or more               |
| `legend(axes or figure)`                | labels, each once, of what can be seen                                         |
| `plain_log(axes, "x")`                  | a logarithmic axis with plain numbers                                          |
| `save(figure, path)`                    | the file, whole or not at all                                                  |
| `COLOURS`, `PAGE_WIDTH`                 | colours that everybody can tell apart; inches                                  |

`sample_grid` and `spectra` take a mapping from name to content. A mapping inside it is a group, e.g.
`{"full": {"theory": x, "trained": y}}`: its members are drawn next to each other, in a colour per member's name that
is the same in all groups. Figures belong to no window and no global state (no pyplot), so they work on a machine
without display and leave a notebook's own figures alone.
"""

from jaxcreativity.plotting.axes import COLOURS, PAGE_WIDTH, curve, legend, panels, plain_log, save
from jaxcreativity.plotting.images import sample_grid
from jaxcreativity.plotting.spectrum import spectra

__all__ = ["COLOURS", "PAGE_WIDTH", "curve", "legend", "panels", "plain_log", "sample_grid", "save", "spectra"]
