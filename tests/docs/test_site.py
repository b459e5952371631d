"""How the site is made of the repository (``docs/hooks``). ``make docs`` then checks every link of it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
pytest.importorskip("latex2mathml", reason="needs the extra 'docs'")


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_site_has_what_pages_link_to_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "README.md": "[a](docs/a.md) ![p](docs/p.png) [folder](results/run) [away](https://example.org/x.md) [gone](none.md)",
        "docs/a.md": "[up](../results/run/table.csv#rows) [top](#top) [outside](../../secret.md)",
        "docs/p.png": "",
        "docs/unused.png": "",
        "results/run/README.md": "[code](../../code/x.py)",
        "results/run/table.csv": "",
        "code/x.py": "",
        "code/y.py": "",
        "../secret.md": "",
    }
    root = tmp_path / "repository"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    pages = hook("pages")
    monkeypatch.setattr(pages, "ROOT", root)
    assert pages.published() == set(files) - {"docs/unused.png", "code/y.py", "../secret.md"}
    readme = pages.on_page_markdown(files["README.md"], SimpleNamespace(file=SimpleNamespace(src_uri="README.md")))
    assert readme == files["README.md"].replace("results/run)", "results/run/README.md)")


def test_equations_become_mathml() -> None:
    """Written by markdown as on a page; MathML's own elements say what the equation is."""
    markdown = pytest.importorskip("markdown")
    extensions = {"pymdownx.arithmatex": {"generic": True}}
    page = markdown.markdown(
        "$a<\\frac{1}{V}$ costs 5$ or 6$\n\n$$\nx^2\n$$\n", extensions=[*extensions], extension_configs=extensions
    )
    made = hook("equations").on_page_content(page)
    inline, block = (ElementTree.fromstring(math) for math in re.findall(r"<math.*?</math>", made, re.DOTALL))
    assert [(element.tag.split("}")[1], element.text) for element in inline.iter() if element.text] == [
        ("mi", "a"),
        ("mo", "<"),
        ("mn", "1"),
        ("mi", "V"),
    ]
    assert inline.find(".//{*}mfrac") is not None
    assert block.get("display") == "block"
    assert block.find(".//{*}msup") is not None
    assert "arithmatex" not in made
    assert "costs 5$ or 6$" in made


def test_docstrings_are_read_whole() -> None:
    griffe = pytest.importorskip("griffe")
    source = '''
def f(x, y):
    """As :func:`a.g`. :param x: ``(B, T)``; :param y: see :class:`H` :return: a number

    :raises TypeError, ValueError: if not
    """
'''
    extensions = griffe.Extensions(hook("docstrings").SphinxMarkup())
    module = griffe.visit("m", Path("m.py"), source)
    extensions.call("on_object", obj=module["f"], loader=None)
    sections = {section.kind.value: section.value for section in module["f"].docstring.parse("sphinx")}
    assert sections["text"] == "As [`a.g`][a.g]."
    assert [(x.name, x.description) for x in sections["parameters"]] == [("x", "``(B, T)``"), ("y", "see [`H`][H]")]
    assert [(error.annotation, error.description) for error in sections["raises"]] == [("TypeError|ValueError", "if not")]
    assert sections["returns"][0].description == "a number"
