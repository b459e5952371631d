"""The pages of the documentation, and what they tell a reader to run."""

import re
from pathlib import Path

from train.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("results/*.md")),
    *sorted(ROOT.glob("results/*/*.md")),
]

_OURS = "|".join(COMMANDS)
_COMMAND = re.compile(
    rf"(?<!\w)(?:\.venv/bin/)?(?:python -m ((?:train|benchmarks)\b[^\n#`]*)|addition-gym ((?:{_OURS})\b[^\n#`]*))"
)
_TARGET = re.compile(r"(?:^|`|    )make ([\w-]+)", re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every command of ours, as a module and its arguments: in blocks and in the text, where a line may break."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    inline = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = _COMMAND.findall("\n".join([text, *(" ".join(code.split()) for code in inline)]))
    return [module or f"train.{command}" for module, command in found]


def make_targets(page: Path) -> list[str]:
    return _TARGET.findall(page.read_text(encoding="utf-8"))
