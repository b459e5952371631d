"""The site mirrors the repository: README, ``docs/``, the reports in ``results/``, and every file that one of these links to.

So a relative link works on the site as it does in the repository, and is written only once.
"""

import re
from os.path import normpath
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give the pages their paths in the repository, and add what they link to."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in sorted(published()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """A link to a folder becomes one to its README."""

    def to_readme(link: re.Match[str]) -> str:
        return f"{link[0]}/README.md" if _target(page.file.src_uri, link[0]).is_dir() else link[0]

    return _LINK.sub(to_readme, markdown)


def published() -> set[str]:
    """Paths of the site's files, relative to the repository."""
    found: set[str] = set()
    waiting = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("docs/*.css"),
        *ROOT.glob("results/*.md"),
        *ROOT.glob("results/*/*.md"),
    ]
    while waiting:
        file = waiting.pop()
        path = file.relative_to(ROOT).as_posix()
        if path in found:
            continue
        found.add(path)
        if file.suffix == ".md":
            targets = [_target(path, link) for link in _LINK.findall(file.read_text(encoding="utf-8"))]
            files = [target / "README.md" if target.is_dir() else target for target in targets]
            waiting += [file for file in files if file.is_file() and file.is_relative_to(ROOT)]
    return found


def _target(path: str, link: str) -> Path:
    return Path(normpath(ROOT / Path(path).parent / link))
