"""One run of an experiment: its command line, folder, lock, cached parts and stages, environment log, and report.

An experiment is a list of parts. A part *measures*, which takes long and gives numbers and arrays, and *reports*, which
draws figures and writes a section from these alone, in seconds. What was measured is stored, so a killed run goes on
where it was, and `--report-only` draws everything anew. A run's folder holds

    config.json          the resolved settings; a run with others is refused
    environment.json     one entry for each start: commit, versions, device, data, seconds, what was computed; a run
                         that other versions or data have computed is refused
    parts/, stages/      numbers (.json) and arrays (.npz) of finished parts, and of stages within a part
    metrics.json         the numbers of all parts
    summary.md, *.png    the report
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from experiments.runner import files, progress
from experiments.runner.environment import origin
from experiments.runner.options import why
from experiments.runner.settings import Settings
from jaxcreativity import _folder, plotting

Numbers: TypeAlias = dict[str, Any]
Arrays: TypeAlias = dict[str, np.ndarray]
Measured: TypeAlias = tuple[Numbers, Arrays]


@dataclasses.dataclass(frozen=True)
class Part:
    """One question of an experiment.

    Args:
        measure: `(run, prepared) -> (numbers, arrays)`: plain numbers for JSON, which are joined in metrics.json with
            those of the other parts (dictionaries key by key, lists end to end), and the few arrays that figures show.
        report: `(run, numbers, arrays) -> section of the summary`, in Markdown; saves figures by `run.save`.
    """

    measure: Callable[["Run", Any], Measured]
    report: Callable[["Run", Numbers, Arrays], str]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A question, and how it is answered.

    Args:
        name: its word on the command line, first word of a run's folder.
        settings: dataclass, a `Settings` with more fields.
        prepare: settings -> resolved settings (none left open, what follows from the data included) and whatever the
            parts need to measure. Checks everything that can be wrong: nothing has been written yet.
        parts: name -> part, in the order of the summary.
        head: `(run, metrics) -> beginning of the summary`.
        data: what `prepare` gave for the parts -> the arrays that it loaded, by which a run knows its data again.
        chosen: resolved settings -> names of the parts to run; all by default.
        folder_name: settings -> what the run's folder is called unless `--name` says; `default_name` by default.
            Asked for resolved settings, and for those of the command line with `--report-only`.
    """

    name: str
    settings: type[Settings]
    prepare: Callable[[Any], tuple[Any, Any]]
    parts: dict[str, Part]
    head: Callable[["Run", Numbers], str]
    data: Callable[[Any], Any]
    chosen: Callable[[Any], tuple[str, ...]] | None = None
    folder_name: Callable[[Any], str] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """An open run: what parts measure and report with."""

    folder: Path
    settings: Any
    started: float
    unfinished: dict[str, str] = dataclasses.field(default_factory=dict)
    """What could not be measured or reported this time, and why; the same command tries it again."""

    def say(self, text: str) -> None:
        """Print a line, unless progress is off, above any bar that is shown."""
        if self.settings.progress:
            progress.write(text)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say what takes long: when it begins, every few seconds while it lasts, and how long it took."""
        with progress.doing(what, show=self.settings.progress):
            yield

    def stage(self, name: str, compute: Callable[[], Measured]) -> Measured:
        """Numbers and arrays of one result: read if they have been computed, else computed and stored.

        Args:
            name: of the stage in this run: letters, digits, `-`, `_`, `/`.
            compute: what computes them.
        """
        return self._once(self.folder / "stages" / name, name, compute)

    def attempt(self, name: str, compute: Callable[[], Measured]) -> Measured:
        """As `stage`, but what fails has `{"failed": why}` for its numbers: all else is measured and reported.

        That a computation has no result is stored as its result; an error of the machine, which may have none the next
        time, is not.

        Args:
            name: of the stage.
            compute: what computes it.
        """

        def guarded() -> Measured:
            try:
                return compute()
            except (FloatingPointError, ValueError) as error:
                return {"failed": why(error, self.settings)}, {}

        try:
            return self.stage(name, guarded)
        except (RuntimeError, MemoryError) as error:
            self.unfinished[name] = why(error, self.settings)
            return {"failed": self.unfinished[name]}, {}

    @property
    def origin(self) -> str:
        """On which device and at which commit the run's numbers were computed, for the head of its summary."""
        return origin(json.loads((self.folder / "environment.json").read_text()))

    def save(self, figure: Figure, name: str) -> None:
        """Write a figure of the report."""
        with _folder.explained(self.folder):
            plotting.save(figure, self.folder / name)

    def _once(self, path: Path, label: str, compute: Callable[[], Measured]) -> Measured:
        if files.is_stored(path):
            return files.read_measured(path)
        began, before = time.perf_counter(), len(self.unfinished)
        measured = compute()
        if len(self.unfinished) > before:
            return measured
        files.write_measured(path, *measured)
        self._log(f"{label} ({time.perf_counter() - began:.0f} s)")
        return files.read_measured(path)

    def _log(self, computed: str | None = None) -> None:
        """Bring this start's entry of the environment log up to date."""
        path = self.folder / "environment.json"
        *before, entry = json.loads(path.read_text())
        entry["seconds"] = round(time.perf_counter() - self.started, 1)
        if computed:
            entry["computed"].append(computed)
        files.write_json(path, [*before, entry])
