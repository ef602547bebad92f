"""What the pages say about files, targets, keys and each other is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tacit.errors
from tacit.learning.ladder import ENGINES
from tacit.plan.parts import PARTS
from tacit.record.result import Result
from tests.docs.pages import PAGES, ROOT, blocks, name_of

LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
MADE = ["benchmarks/results"]  # by a command: it may not be there yet
IMAGE_TAG = re.compile(r'src="(?!https?:)([^"]+)"')


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [to for to in LINK.findall(text) + IMAGE_TAG.findall(text) if not (page.parent / to).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(block.text for block in blocks(page, "bash")) + page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|docs|examples|tests|benchmarks)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert not [path for path in named if path not in MADE and not (ROOT / path).exists()]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    docs = ROOT / "docs"
    assert not [page for page in docs.rglob("*.md") if f": {page.relative_to(docs)}" not in navigation]


def test_the_result_page_lists_every_key_and_no_other() -> None:
    page = (ROOT / "docs" / "result-schema.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(Result.model_fields)


def test_the_errors_page_lists_every_exit_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    listed = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)}
    kinds = [k for k in vars(tacit.errors).values() if isinstance(k, type) and issubclass(k, tacit.TacitError)]
    assert listed == {kind.__name__: kind.exit_code for kind in kinds if "exit_code" in vars(kind)}


def test_the_algorithms_page_has_every_method() -> None:
    page = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")
    rows = "".join(line for line in page.splitlines() if line.startswith("| [`"))
    assert not [name for name in PARTS["algorithm"] if f"`{name}`" not in rows]


def test_the_concepts_page_explains_every_engine_of_the_ladder() -> None:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert not [name for name in ENGINES if name != "auto" and f"| `{name}` |" not in page]


def test_the_english_and_the_chinese_readme_show_the_same_code_and_the_example_in_the_repository() -> None:
    english, chinese = (ROOT / "README.md"), (ROOT / "README.zh.md")
    example = (ROOT / "examples" / "first_federation.py").read_text(encoding="utf-8")
    for readme in (english, chinese):
        assert [block.text for block in blocks(readme, "python")] == [example]
    assert [b.text for b in blocks(english, "bash", "console")] == [b.text for b in blocks(chinese, "bash", "console")]
