"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
RUN = ("python", "console")


@dataclass(frozen=True)
class Fenced:
    """A block of code, and the line at which it begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A line that begins with a prompt, and the lines of output that the page shows below it."""

    line: str
    shown: tuple[str, ...]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[Fenced]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found["language"] in languages:
            lines = [line.removeprefix(found["indent"]) for line in found["text"].splitlines()]
            yield Fenced(found["language"], "\n".join(lines) + "\n", text.count("\n", 0, found.start()) + 2)


def commands(block: Fenced) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        yield Command(line, tuple(s for s in shown if s.strip()))


def that_run() -> list[Path]:
    return [page for page in PAGES if any(blocks(page, *RUN)) and page not in that_serve()]


def that_serve() -> list[Path]:
    """Pages with commands that go on in the background: processes that speak with each other."""
    return [page for page in PAGES if any(c.line.endswith(" &") for b in blocks(page, "console") for c in commands(b))]
