"""Numbers in the pages and where they come from: `docs/claims.toml` against the files under results/.

    python -m docs.claims            # which numbers differ from the record, or have no claim
    python -m docs.claims --write    # put the record's numbers into the pages

A claim is a piece of a page's text with `{}` for each number, and for each number its file, its key and its digits:

    [[claim]]
    page = "docs/results.md"
    text = "is {} at p = 2 and {} at p = 3"
    run = "polynomial-digits"
    numbers = [
        { key = "marginals[?degree==`2`].ks | [0]", digits = ".2f" },
        { key = "marginals[?degree==`3`].ks | [0]", digits = ".2f" },
    ]

`run` is a folder under results/, whose metrics.json is read, or a .json file there; a number may name its own. `key` is
a JMESPath expression, relative to that of `at` if the claim has one. `digits` is a format of Python; `times` and `plus`
(after it) are applied first. With `seeds = "min"` or `"max"` the number is the smallest or largest over the run and its
repetitions at other seeds, the folders `<run>-seed1`, `<run>-seed2`, ... White space in a text matches any other.

`given` lists what else looks like a measured number in the pages that have claims: definitions, versions, sources.
"""

import dataclasses
import functools
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import jmespath

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"
NUMBER = r"[-−]?\d+(?:\s\d{3})*(?:\.\d+)?(?:e-?\d+)?|–"
MEASURED = re.compile(r"\d+\.\d+|\d+ %")
"""What looks like a measured number: a decimal, or a percentage."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A piece of text of a page, and what its numbers are in the record."""

    page: str
    text: str
    numbers: tuple[str, ...]

    @property
    def pattern(self) -> re.Pattern:
        """Matches the text with any numbers, each in a group."""
        words = [re.escape(word).replace(r"\{\}", f"({NUMBER})") for word in self.text.split()]
        return re.compile(r"\s+".join(words))


def load(table: Path = PROJECT / "docs" / "claims.toml") -> tuple[list[Claim], tuple[str, ...]]:
    """The claims, filled in from the record, and what is given.

    Raises:
        ValueError: for a key that is not in its file, or a text with more or fewer `{}` than numbers.
    """
    content = tomllib.loads(table.read_text())
    claims = []
    for entry in content["claim"]:
        numbers = tuple(_number(number, entry) for number in entry["numbers"])
        if entry["text"].count("{}") != len(numbers):
            raise ValueError(f"{len(numbers)} numbers for {entry['text']!r}")
        claims.append(Claim(entry["page"], entry["text"], numbers))
    return claims, tuple(content["given"])


def problems(claims: list[Claim], given: tuple[str, ...], pages: dict[str, str]) -> list[str]:
    """What is wrong with the pages (name -> text): claims that differ or are not there, and numbers without a claim."""
    found = []
    for claim in claims:
        matches = list(claim.pattern.finditer(pages[claim.page]))
        if len(matches) != 1:
            found.append(f"{claim.page} has {len(matches)} times {claim.text!r}")
        found += [
            f"{claim.page}: {claim.text!r} says {said}, the record {claim.numbers}"
            for match in matches
            if (said := tuple(re.sub(r"\s", " ", number) for number in match.groups())) != claim.numbers
        ]
    for page in sorted({claim.page for claim in claims}):
        rest = re.sub(r"```.*?```|\]\([^)]*\)", " ", pages[page], flags=re.DOTALL)
        for claim in claims:
            rest = claim.pattern.sub(" ", rest) if claim.page == page else rest
        rest = " ".join(rest.split())
        for text in given:
            rest = rest.replace(text, " ")
        found += [
            f"{page}: no claim has {rest[max(0, match.start() - 40) : match.end() + 20]!r}"
            for match in MEASURED.finditer(rest)
        ]
    return found


def rewritten(claims: list[Claim], page: str, text: str) -> str:
    """The text of a page with the record's numbers."""
    for claim in (claim for claim in claims if claim.page == page):
        match = claim.pattern.search(text)
        for group in reversed(range(len(claim.numbers) if match else 0)):
            text = text[: match.start(group + 1)] + claim.numbers[group] + text[match.end(group + 1) :]
    return text


def main(arguments: list[str]) -> str | None:
    """The command of this module's docstring; what is wrong, or `None`."""
    claims, given = load()
    pages = {page: (PROJECT / page).read_text() for page in sorted({claim.page for claim in claims})}
    if "--write" in arguments:
        pages = {page: rewritten(claims, page, text) for page, text in pages.items()}
        for page, text in pages.items():
            (PROJECT / page).write_text(text)
    return "\n".join(problems(claims, given, pages)) or None


def _number(number: dict[str, Any], claim: dict[str, Any]) -> str:
    run = number.get("run", claim.get("run"))
    key = f"{claim['at']}.{number['key']}" if "at" in claim else number["key"]
    runs = [run]
    if "seeds" in number:
        runs += sorted(path.name for path in RESULTS.glob(f"{run}-seed*"))
    values = [jmespath.search(key, _record(run)) for run in runs]
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{key!r} in results/{run} is {values}, not one number")
    value = {"min": min, "max": max}[number["seeds"]](values) if "seeds" in number else values[0]
    text = format(value * number.get("times", 1) + number.get("plus", 0), number["digits"])
    return re.sub(r"e([-+])0*", lambda e: "e" + e[1].strip("+"), text.replace(",", " "))


@functools.cache
def _record(run: str) -> Any:
    path = RESULTS / run if run.endswith(".json") else RESULTS / run / "metrics.json"
    if not path.exists():
        raise ValueError(f"{path} is not there; claims name folders or .json files under results/")
    return json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
