"""Builds the documentation site into build/site: `make docs`, or `python -m docs.build`.

README.md, CONTRIBUTING.md, docs/ and results/ are pages as they lie in the repository, so that links and figures
are the same here and there. With them come the API reference, a page for each package, from its docstrings, and
the notebooks, executed.
"""

import hashlib
import importlib
import importlib.metadata
import inspect
import logging
import pkgutil
import re
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGES = PROJECT / "build" / "pages"
CACHE = PROJECT / "build" / "notebooks"
PLAIN_MODULES = ("denoiser", "schedules", "sampling", "generation")


def public_names(module) -> list[str]:
    """The names that a module offers: `__all__`, or what it defines (the face: what it imports) without underscore."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    found = inspect.getmembers(module, lambda value: inspect.isfunction(value) or inspect.isclass(value))
    return [name for name, value in found if name[0] != "_" and value.__module__.startswith(module.__name__)]


def public_modules() -> list:
    """The face, the modules of the contract, and every package that has a table of contents, by name."""
    import jaxcreativity

    packages = [
        found.name
        for found in pkgutil.walk_packages(jaxcreativity.__path__, "jaxcreativity.")
        if found.ispkg and "._" not in found.name
    ]
    names = ["jaxcreativity", *(f"jaxcreativity.{name}" for name in PLAIN_MODULES), *packages]
    modules = [importlib.import_module(name) for name in names]
    return [module for module in modules if hasattr(module, "__all__") or public_names(module)]


def api_page(module) -> str:
    """Markdown of one page of the API reference: the module's docstring, then every public name."""
    name = module.__name__
    top = f"# {name}\n\n::: {name}\n    options: {{members: false, show_root_heading: false}}"
    return "\n\n".join([top, *(f"::: {name}.{member}" for member in public_names(module))]) + "\n"


def execute(notebook: Path) -> None:
    """Writes a notebook with its outputs as a page; from the cache if it, the package and all versions are the same."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter

    digest = hashlib.sha256(repr(sorted((d.name, d.version) for d in importlib.metadata.distributions())).encode())
    for path in [notebook, *sorted((PROJECT / "jaxcreativity").rglob("*.py"))]:
        digest.update(path.read_bytes())
    cached = CACHE / f"{notebook.stem}-{digest.hexdigest()[:16]}"
    if not cached.exists():
        document = nbformat.read(notebook, 4)
        options = {"timeout": 300, "resources": {"metadata": {"path": PROJECT}}}
        NotebookClient(document, extra_arguments=["--log-level=ERROR"], **options).execute()
        document.cells = [cell for cell in document.cells if "install" not in cell.metadata.get("tags", [])]
        body, resources = MarkdownExporter().from_notebook_node(document, {"unique_key": notebook.stem})
        cached.mkdir(parents=True)
        for name, content in resources["outputs"].items():
            (cached / name).write_bytes(content)
        (cached / f"{notebook.stem}.md").write_text(body)
    shutil.copytree(cached, PAGES / "notebooks", dirs_exist_ok=True)
    print(f"docs: {notebook.name}", flush=True)


def stage() -> list[Path]:
    """Lays all pages under build/pages; returns those of the API reference."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"):
        shutil.copy(PROJECT / name, PAGES)
    ignored = shutil.ignore_patterns("*.py", "*.yml", "*.lock", "__pycache__")
    for name in ("docs", "results"):
        shutil.copytree(PROJECT / name, PAGES / name, ignore=ignored)
    for page in PAGES.rglob("*.md"):  # in the repository the link of a notebook leads to the notebook
        page.write_text(re.sub(r"(\]\((?:\.\./)*notebooks/\w+)\.ipynb\)", r"\1.md)", page.read_text()))
    (PAGES / "docs" / "api").mkdir()
    pages = []
    for module in public_modules():
        pages.append(PAGES / "docs" / "api" / f"{module.__name__}.md")
        pages[-1].write_text(api_page(module))
    (PAGES / "notebooks").mkdir()
    print("docs: executing the notebooks, about two minutes the first time", flush=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(execute, sorted((PROJECT / "notebooks").glob("*.ipynb"))))
    return pages


def check(site: Path) -> None:
    """Raises an error unless every public name stands in the reference that was built."""
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    described = {line.split()[0] for line in inventory.splitlines()}
    wanted = {f"{module.__name__}.{name}" for module in public_modules() for name in public_names(module)}
    if missing := sorted(wanted - described):
        raise SystemExit(f"docs: the reference lacks {', '.join(missing)}")


def main() -> None:
    """Stages the pages and builds the site; a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    api = stage()
    config = load_config(str(PROJECT / "docs" / "mkdocs.yml"), strict=True)
    config.nav.append({"API": [{path.stem: str(path.relative_to(PAGES))} for path in api]})
    config.plugins.run_event("startup", command="build", dirty=False)
    build(config)
    check(Path(config.site_dir))
    print(f"docs: {Path(config.site_dir) / 'index.html'}")


if __name__ == "__main__":
    main()
