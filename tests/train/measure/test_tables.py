import io
import re

from rich.console import Console

from train.measure.tables import markdown_table, rich_table

HEADER = ["kind", "measure", "value"]
ROWS = [["<=N", "pass@1", "90.0%"], ["<=N", "pass@2", "100.0%"], ["N+1", "pass@1", "5.0%"], ["<=N", "pass@4", "100.0%"]]


def shown(table, width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(table)
    return console.export_text()


def cells(text: str) -> list[list[str]]:
    """What stands below the line under the header, cut where the columns begin or end."""
    lines = text.splitlines()
    (line,) = (index for index, line in enumerate(lines) if "─" in line)
    return [re.split(r"\s{2,}", line) for line in [lines[line - 1].strip(), *map(str.rstrip, lines[line + 1 :])] if line]


def test_terminal_shows_all_and_no_first_cell_twice() -> None:
    text = shown(rich_table("How it went", HEADER, ROWS))
    assert cells(text) == [HEADER, ROWS[0], ["", *ROWS[1][1:]], ROWS[2], ROWS[3]]
    captioned = [line.strip() for line in shown(rich_table("How it went", HEADER, ROWS, "at the end")).splitlines()]
    assert captioned[0] == "How it went"
    assert captioned[-1] == "at the end"


def test_first_columns_are_aligned_left_and_the_others_right() -> None:
    rows = [["aaaaaaaaa", "bbbbbbbbb", "ccccccccc"], ["x", "y", "z"]]
    for left in (1, 2, 3):
        _, _, full, short, *_ = shown(rich_table("", HEADER, rows, left=left)).splitlines()
        for index, (name, whole) in enumerate(zip("xyz", rows[0], strict=True)):
            edge = full.index(whole) if index < left else full.index(whole) + len(whole) - 1
            assert short[edge] == name


def test_long_cells_are_folded_and_not_cut() -> None:
    text = shown(rich_table("", ["arm", "runs"], [["x" * 100, "5"]]), width=40)
    assert text.count("x") == 100
    assert "…" not in text


ARMS = ["prioritized 0.05", "weighting=prioritized kl_coef=0.05", "value_learning_rate=0.001"]


def test_where_there_is_no_room_intervals_stand_below_their_values() -> None:
    """No number and no word is torn apart at 80 columns, as on a wide terminal."""
    header = ["arm", "runs", "N+1 gain, points", "<=N change, points", "KL, nats per episode"]
    rows = [[arm, "5", "+12.3 [+11.1, +22.2]", "-4.5 [-33.3, -44.4]", "16.78 [15.55, 66.66]"] for arm in ARMS]
    table = rich_table("matched-budget", header, rows, "a caption")
    wide, narrow = shown(table, width=200), shown(table, width=80)
    for row in rows:
        for cell in row:
            assert cell in wide
    lines = narrow.splitlines()
    assert max(map(len, lines)) <= 80
    for piece in ("+12.3", "[+11.1, +22.2]", "-4.5", "[-33.3, -44.4]", "16.78", "[15.55, 66.66]"):
        assert sum(piece in line for line in lines) == len(rows), piece
    for word in " ".join([*header, *ARMS]).split():
        assert any(word in line.split() for line in lines), word


def test_many_measures_at_80_columns() -> None:
    header = ["digits", *(f"pass@{k}" for k in (1, 2, 4, 8, 16))]
    text = shown(rich_table("", header, [["identical N+1", *["100.0% [98.1, 100.0]"] * 5]]))
    assert text.count("[98.1, 100.0]") == 5
    assert "identical N+1" in text or "identical" in text


def test_markdown() -> None:
    assert markdown_table(["a", "b"], [["1", "2"], ["1", "4"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 1 | 4 |\n"
    assert markdown_table(["a"], []) == "| a |\n| --- |\n"
