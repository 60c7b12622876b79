"""From the settings of a command to its measured parts and its report."""

import dataclasses
import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.runner import files
from experiments.runner.environment import check_goes_on, environment
from experiments.runner.experiment import Experiment, Numbers, Run
from experiments.runner.options import as_typed, why
from experiments.runner.settings import NOT_IDENTITY, PROGRAMS, Settings, check_seed, default_name
from jaxcreativity import _folder
from jaxcreativity.training import digest


def run(experiment: Experiment, settings: Settings) -> Numbers:
    """Measure and report; returns what metrics.json holds.

    A part that fails has its reason in the summary; the others are measured and reported.

    Raises:
        ValueError: for bad settings or data, a folder that holds a run of other settings, packages or data, or
            something else, and a folder that another process is running in or that cannot be written to.
        RuntimeError: at the end, if some parts failed.
        OSError: if writing fails; says what is kept.
        KeyboardInterrupt: if it is interrupted; says what is kept.
    """
    if settings.report_only:
        return _report_again(experiment, settings)
    check_seed(settings)
    with as_typed(settings):
        resolved, prepared = experiment.prepare(settings)
    resolved = dataclasses.replace(resolved, name=_folder_name(experiment, resolved))
    folder = Path(resolved.output) / resolved.name
    chosen = tuple(experiment.parts) if experiment.chosen is None else experiment.chosen(resolved)
    entry = environment() | {"data": digest(experiment.data(prepared))}
    files.check_folder(folder, _identity(resolved))
    with _says_what_is_kept(folder), _folder.alone(folder, "choose another --name"):
        check_goes_on(folder, entry)
        files.claim(folder, _identity(resolved))
        with _gives_back(folder):
            files.append_json(folder / "environment.json", entry | {"seconds": 0.0, "computed": []})
            opened = Run(folder, resolved, time.perf_counter())
            opened.say(f"{folder}/")
            metrics = _all_parts(experiment, opened, chosen, prepared)
            opened._log()
            opened.say(f"{time.perf_counter() - opened.started:.0f} s in all; written to {folder}/")
    if opened.unfinished:
        failures = "; ".join(f"{name} failed: {reason}" for name, reason in opened.unfinished.items())
        raise RuntimeError(f"{failures}. All else is in {folder}/, and the same command tries these again")
    return metrics


@contextmanager
def _says_what_is_kept(folder: Path) -> Iterator[None]:
    """What ends a run from outside says what is left of it."""
    kept = f"what was finished is kept in {folder}/, and the same command goes on from there"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept) from None
    except OSError as error:
        if not (folder / "config.json").exists():
            raise ValueError(f"cannot write to {folder} ({error.strerror}); choose another --output") from error
        raise error if "kept" in str(error) else OSError(f"{error}; {kept}") from error


@contextmanager
def _gives_back(folder: Path) -> Iterator[None]:
    """A run that failed before it had computed anything leaves its folder to other settings."""
    try:
        yield
    except Exception:
        files.release(folder)
        raise


def _all_parts(experiment, opened, chosen, prepared, failed=None) -> Numbers:
    """Measure (or read) and report part after part; the summary is whole after each of them.

    Args:
        experiment: what is run.
        opened: its run.
        chosen: names of parts.
        prepared: what they measure with.
        failed: reasons why parts have not been measured, for a report alone.
    """
    metrics, sections, first = {}, [], None
    for name in chosen:
        try:
            numbers, section = _one_part(experiment.parts[name], name, opened, prepared, failed or {})
        except OSError:
            raise
        except Exception as error:
            first = first or error
            if not isinstance(error, (ValueError, ArithmeticError, RuntimeError)):
                traceback.print_exc()
            reason = why(error, opened.settings)
            numbers, section = {"failed": {name: reason}}, f"## {name.capitalize()}\n\nFailed: {reason}.\n"
            if failed is None:
                opened.unfinished[name] = reason
        metrics = _joined(metrics, numbers)
        sections.append(section)
        if metrics.keys() == {"failed"}:
            continue  # there is nothing yet that the summary could be headed by
        files.write_json(opened.folder / "metrics.json", metrics)
        head = experiment.head(opened, metrics)
        files.write_text(opened.folder / "summary.md", "\n".join([head, *sections]))
        opened.say("\n" + "\n".join(([head] if len(sections) == 1 else []) + sections[-1:]))
    if metrics.keys() == {"failed"}:
        raise first
    return metrics


def _one_part(part, name, opened, prepared, failed) -> tuple[Numbers, str]:
    """Numbers of one part and its section of the summary."""
    path = opened.folder / "parts" / name
    if name in failed and not files.is_stored(path):
        raise RuntimeError(failed[name])
    numbers, arrays = opened._once(path, name, lambda: part.measure(opened, prepared))
    with opened.doing(f"drawing {name}"):
        return numbers, part.report(opened, numbers, arrays)


def _report_again(experiment: Experiment, settings: Settings) -> Numbers:
    folder = Path(settings.output) / _folder_name(experiment, settings)
    stored = files.read_config(folder)
    names = {field.name for field in dataclasses.fields(experiment.settings)}
    stored = {name: _as_tuple(value) for name, value in stored.items() if name in names}
    kept = {name: getattr(settings, name) for name in NOT_IDENTITY}
    opened = Run(folder, experiment.settings(**(stored | kept)), time.perf_counter())
    chosen = tuple(experiment.parts) if experiment.chosen is None else experiment.chosen(opened.settings)
    failed = files.read_failures(folder)
    missing = [name for name in chosen if name not in failed and not files.is_stored(folder / "parts" / name)]
    if missing:
        raise ValueError(f"{folder} has not measured {', '.join(missing)} yet; run it without --report-only first")
    with _folder.alone(folder, "draw it when that one has ended"):
        metrics = _all_parts(experiment, opened, chosen, None, failed)
    opened.say(f"written to {folder}/")
    return metrics


def _folder_name(experiment: Experiment, settings: Settings) -> str:
    default = experiment.folder_name or (lambda s: default_name(experiment.name, s))
    name = default(settings) if settings.name is None else settings.name
    if not name or Path(name).name != name or name in (".", "..", PROGRAMS):
        raise ValueError(f"--name must be the name of a folder, without a path; got {name!r} (--output says where)")
    return name


def _identity(settings: Settings) -> Numbers:
    fields = dataclasses.asdict(settings)
    return json.loads(json.dumps({name: value for name, value in fields.items() if name not in NOT_IDENTITY}))


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _joined(first: Any, second: Any) -> Any:
    """Numbers of two parts in one: dictionaries key by key, different lists end to end; else the second stands."""
    if isinstance(first, dict) and isinstance(second, dict):
        both = {name: _joined(first[name], second[name]) for name in first.keys() & second.keys()}
        return {name: both.get(name, value) for name, value in (first | second).items()}
    if first != second and isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    return second
