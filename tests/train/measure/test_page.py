"""The page as data, and as a browser shows it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from addition_gym import encode, solution
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from tests.train.helpers import critical, random_policy
from train.measure.inspection import Inspection, inspect
from train.measure.page import page

PROBLEM = (13, 4)
RIGHT = solution(*PROBLEM)
COMMA = RIGHT.index(",")
WRONG = RIGHT[:COMMA] + "]" + RIGHT[COMMA + 1 :]
HOSTILE = "</script><img src=x onerror=alert(1)><!--&amp;"

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr"
)


def look(text: str, seed: int = 0) -> Inspection:
    return inspect(random_policy(2, seed=seed), PROBLEM, encode(text), 1, certainty_power(1.0), ReferenceCertainty())


@pytest.fixture(scope="module")
def frames() -> list[tuple[str, Inspection]]:
    return [("start", look(RIGHT)), ("end", look(WRONG, seed=1))]


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_data(frames) -> None:
    data = data_of(page("a title", frames, "entropy", of_agents=True))
    assert (data["title"], data["problem"], data["colour"]) == ("a title", "13+4", "entropy")
    for shown, (name, inspection) in zip(data["frames"], frames, strict=True):
        assert shown["name"] == name
        assert shown["tokens"] == inspection.tokens.tolist()
        for quantity, values in inspection.quantities.items():
            np.testing.assert_allclose(shown["quantities"][quantity], values, rtol=1e-3)
    assert data["frames"][0]["critical"] == sorted(critical(PROBLEM, 1))
    assert [frame["firstError"] for frame in data["frames"]] == [-1, COMMA]


def test_next_tokens_are_the_likely_ones_and_the_written_one(frames) -> None:
    data = data_of(page("", frames, "kl", of_agents=True))
    for frame, (_, inspection) in zip(data["frames"], frames, strict=True):
        for position, rows in enumerate(frame["next"]):
            shown = {row[0] for row in rows}
            assert {*inspection.log_probs[position].argsort()[-5:].tolist(), int(inspection.tokens[position])} <= shown
            for token, ours, reference in rows:
                assert ours == pytest.approx(np.exp(inspection.log_probs[position, token]), rel=1e-3)
                assert reference == pytest.approx(np.exp(inspection.reference_log_probs[position, token]), rel=1e-3)


def test_pretrained_model_has_no_quantities_of_agents(frames) -> None:
    assert data_of(page("", frames, "kl", of_agents=False))["quantities"].keys() == {
        "certainty",
        "entropy",
        "surprisal",
        "weight",
    }


def test_text_is_data(frames) -> None:
    text = page(HOSTILE, frames, "kl", of_agents=True)
    assert HOSTILE not in text
    assert data_of(text)["title"] == HOSTILE
    assert "innerHTML" not in text


def test_page_stands_alone(frames) -> None:
    text = page("", frames, "kl", of_agents=True)
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "default-src 'none'" in text


class Seen(HTMLParser):
    """What stands in a document: tokens with their attributes and text, and the text of every element that has an id."""

    def __init__(self, document: str):
        super().__init__()
        self.tokens: list[dict[str, str]] = []
        self.texts: dict[str, str] = {}
        self.tags: set[str] = set()
        self.open: list[str | None] = []
        self.feed(document)

    def handle_starttag(self, tag, attributes) -> None:
        found = dict(attributes)
        self.tags.add(tag)
        if "data-position" in found:
            self.tokens.append({**found, "text": ""})
        if tag not in ("meta", "input", "br"):
            self.open.append(found.get("id"))

    def handle_endtag(self, tag) -> None:
        if self.open:
            self.open.pop()

    def handle_data(self, data) -> None:
        for identifier in self.open:
            if identifier:
                self.texts[identifier] = self.texts.get(identifier, "") + data
        if "completion" in self.open and self.tokens:
            self.tokens[-1]["text"] += data


def browse(address: str, profile: Path) -> Seen:
    """Open an address in Chromium; its script must not complain."""
    arguments = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return Seen(done.stdout)


def contrast(style: str) -> float:
    """Of a token's ink on its ground (WCAG 2.2)."""
    luminances = []
    for name in ("background-color", "(?<!-)color"):
        channels = [int(x) / 255 for x in re.search(rf"{name}: rgb\((\d+), (\d+), (\d+)\)", style).groups()]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the PATH")
def test_browser_shows_the_last_checkpoint_at_its_first_error(frames, tmp_path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(HOSTILE, frames, "surprisal", of_agents=True), encoding="utf-8")
    seen = browse(path.as_uri(), tmp_path / "profile")
    assert "".join(token["text"] for token in seen.tokens) == WRONG.replace("\n", "↵")
    assert seen.texts["title"] == HOSTILE
    assert "img" not in seen.tags
    assert seen.texts["verdict"].startswith("✗ " if not frames[1][1].is_success else "✓ ")
    assert seen.texts["frame-name"] == "end"
    assert seen.texts["place"] == f"token {COMMA} of {len(WRONG)}"
    assert re.fullmatch(r"line 1;.* first error, right is ,", seen.texts["notes"])
    assert [index for index, token in enumerate(seen.tokens) if "error" in token["class"]] == [COMMA]
    assert [token["tabindex"] for token in seen.tokens].count("0") == 1
    assert all(re.match(rf"token {index}, ", token["aria-label"]) for index, token in enumerate(seen.tokens))
    assert "first error" in seen.tokens[COMMA]["aria-label"]
    assert min(contrast(token["style"]) for token in seen.tokens) >= 4.5


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the PATH")
def test_link_opens_a_view(frames, tmp_path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page("", frames, "kl", of_agents=True), encoding="utf-8")
    seen = browse(f"{path.as_uri()}#0,value,5", tmp_path / "profile")
    assert "".join(token["text"] for token in seen.tokens) == RIGHT.replace("\n", "↵")
    assert (seen.texts["frame-name"], seen.texts["glyph"]) == ("start", RIGHT[5])
    assert seen.texts["meaning"].startswith("value: ")
    marked = [index for index, token in enumerate(seen.tokens) if "critical" in token["class"].split()]
    assert marked == sorted(critical(PROBLEM, 1))
