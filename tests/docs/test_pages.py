"""What the pages say about files, targets, keys and each other is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tacit.errors
from tacit.learning.ladder import ENGINES
from tacit.network.consent.policy import Policy
from tacit.network.consent.reading import SECTIONS
from tacit.network.http.limits import Limits
from tacit.plan.network import Network
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


def test_the_pages_on_the_network_say_how_long_is_waited_as_it_is() -> None:
    for name, ending in (("network", ""), ("deployment", " s")):
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for field in ("patience", "answer", "absence"):
            assert f"| `{field}` | {getattr(Network(), field):g}{ending} |" in page


def test_the_network_page_has_every_key_of_a_policy() -> None:
    text = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    table = text[text.index("## The policy of a participant") :]
    assert not [
        key for keys in SECTIONS.values() for key in keys if key not in table and not key.startswith("insecure_")
    ]
    assert f"`true`, {Policy().minimum}, {Policy().corrupt:g}, {Policy().sigma}" in table


def test_the_deployment_page_states_the_limits_as_they_are() -> None:
    page, limits = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8"), Limits()
    rows = [
        f"| connections | {limits.connections:,}; from one address {limits.per_address:,} |",
        f"| requests of one participant | {limits.requests:g} a second, {limits.burst} at once |",
        f"| enrolments from one address | {limits.enrolments:g} a second |",
        f"| one request | {limits.body >> 20} MiB; a chunk {limits.chunk >> 20} MiB; all bodies together "
        f"{limits.memory >> 20} MiB of memory |",
        f"| uploads that are not complete | {limits.spool >> 30} GiB; {limits.headroom >> 20} MiB of the disk stay "
        "free |",
        f"| of these, one participant's | {limits.share >> 30} GiB as announced, or a single one;",
        f"| a slow peer | {limits.idle:g} s of silence; below {limits.rate >> 10} KiB/s after {limits.grace:g} s |",
    ]
    assert not [row for row in rows if row not in page]


def test_the_english_and_the_chinese_readme_show_the_same_code_and_the_example_in_the_repository() -> None:
    english, chinese = (ROOT / "README.md"), (ROOT / "README.zh.md")
    example = (ROOT / "examples" / "first_federation.py").read_text(encoding="utf-8")
    for readme in (english, chinese):
        assert [block.text for block in blocks(readme, "python")] == [example]
    assert [b.text for b in blocks(english, "bash", "console")] == [b.text for b in blocks(chinese, "bash", "console")]
