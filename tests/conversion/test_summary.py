"""offline-mig report: what it says is what lies in the folder, and nothing in it is obeyed."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fixtures.browser import probe
from fixtures.conversion_run import Case, Converted
from fixtures.guests import GuestKind, GuestSpec
from fixtures.published_schemas import require_valid
from offline_mig.batch.journal import open_journal
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.cli import main
from offline_mig.summary import page as page_writer
from offline_mig.summary.guest_result import State
from offline_mig.summary.report_reader import read_result

pytestmark = pytest.mark.conversion

HOSTILE = '<img src=x onerror="alert(1)"></pre><script>alert(2)</script>'
#: Turns the direction of what follows; and half of a surrogate pair.
ODD = "\u202egnp.exe \ud83d \x1b[2J"
Report = dict[str, Any]


@pytest.fixture
def reports(converted: Callable[[Case], Converted]) -> dict[GuestKind, Report]:
    kinds = (GuestKind.XP, GuestKind.WINDOWS_10)
    return {kind: copy.deepcopy(converted(Case(GuestSpec(kind))).report) for kind in kinds}


def put(folder: Path, report: Report, name: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = name or f"{report['source']['machine']['name']}.report.json"
    (folder / file).write_text(json.dumps(report))


def report_on(folder: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", str(folder), *map(str, options)])


class Tags(HTMLParser):
    """The tags of a page, the attributes that could do something, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_lies_in_a_folder(
    reports: dict[GuestKind, Report], converted: Callable[[Case], Converted], tmp_path: Path
) -> None:
    xp, w10 = reports[GuestKind.XP], reports[GuestKind.WINDOWS_10]
    put(tmp_path, xp)
    put(tmp_path / "below", w10)
    put(tmp_path / ".Hidden.offline-mig", w10)
    cache = tmp_path / "cache"
    put(cache, w10)
    (cache / "CACHEDIR.TAG").touch()
    (tmp_path / "torn.report.json").write_text("{")
    # What the disk takes is told where it lies beside its report.
    disk = Path(xp["target"]["machine"]["disks"][0]["path"])
    (tmp_path / disk.name).hardlink_to(converted(Case(GuestSpec(GuestKind.XP))).disk)

    done = report_on(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    require_valid("summary", told)
    assert told == json.loads((tmp_path / "summary.json").read_text())
    assert told["counts"] == {
        "guests": 3, "converted": 2, "failed": 0, "unfinished": 0, "unreadable": 1,
        "boots": 2, "stops": 0, "unknown": 0,
    }  # fmt: skip
    rows = {row["name"]: row for row in told["guests"]}
    row = rows[xp["source"]["machine"]["name"]]
    assert row["result_bytes"] == (tmp_path / disk.name).stat().st_blocks * 512
    assert row["source_bytes"] == sum(file["size"] for file in xp["source"]["files"])
    assert row["seconds"] == xp["seconds"]
    assert row["next"] == xp["next"]
    changes = [change for block in xp["plan"] for change in block["changes"]]
    assert row["changes"] == len(changes)
    other = rows[w10["source"]["machine"]["name"]]
    assert other["result_bytes"] is None
    assert other["report"].startswith("below/")
    assert rows["torn"]["state"] == "unreadable"

    table = list(csv.DictReader(io.StringIO((tmp_path / "summary.csv").read_text())))
    assert [line["name"] for line in table] == [row["name"] for row in told["guests"]]
    assert [line["changes"] for line in table] == [str(row["changes"]) for row in told["guests"]]


def test_the_page_has_facts_changes_and_commands(
    reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    xp = reports[GuestKind.XP]
    put(tmp_path, xp)
    assert report_on(tmp_path).exit_code == 0
    page = Tags((tmp_path / "summary.html").read_text())
    for wanted in (
        "1 of 1 guests converted",
        xp["guest"]["windows"]["product_name"],
        r"[SYSTEM\ControlSet001\Services\viostor]",
        'added: "Start" = 0x0',
        "added: /WINDOWS/system32/drivers/viostor.sys",
        *xp["notes"],
        *xp["next"],
        *xp["seconds"],
    ):
        assert wanted in page.text or any(wanted in value for _, value in page.attributes), wanted
    # Values that were there before are shown as such.
    replaced = [
        entry
        for entry in xp["journal"]
        if entry["change"] == "set-value" and entry["before"]["value"]
    ]
    assert replaced
    assert page.text.count("replaced: ") >= len(replaced)
    assert f"(was {replaced[0]['before']['value']['shown']})" in page.text


def test_a_page_about_very_many_guests_leaves_details_to_the_reports(
    reports: dict[GuestKind, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for report in reports.values():
        put(tmp_path, report)
    monkeypatch.setattr(page_writer, "_DETAILED", 1)
    assert report_on(tmp_path).exit_code == 0
    text = Tags((tmp_path / "summary.html").read_text()).text
    assert "added: " not in text
    first = reports[GuestKind.XP]["plan"][0]
    assert f"{first['title']}: {len(first['changes'])} change" in text


def test_a_batch_tells_of_guests_that_came_to_nothing(
    reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    put(tmp_path, reports[GuestKind.XP])
    name = reports[GuestKind.XP]["source"]["machine"]["name"]
    source = Path("/machines")
    with open_journal(tmp_path) as journal:
        journal.begin()
        journal.add(
            GuestRecord(
                name, source / "a.vmx", GuestState.CONVERTED, report=f"{name}.report.json",
                log=f"batch/{name}.log", exit_code=0,
            ),
            GuestRecord(
                "=cmd", source / "b.vmx", GuestState.FAILED, message="It is hibernated.",
                remedy="Shut it down.", exit_code=6, log="batch/=cmd.log", size=4096,
            ),
            GuestRecord("waiting", source / "c.vmx"),
            GuestRecord("gone", source / "d.vmx", GuestState.CONVERTED, report="gone.report.json"),
        )  # fmt: skip
    done = report_on(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    require_valid("summary", told)
    rows = {row["name"]: row for row in told["guests"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        name: "converted", "=cmd": "failed", "waiting": "unfinished", "gone": "unreadable",
    }  # fmt: skip
    assert rows[name]["log"] == f"batch/{name}.log"
    assert rows["=cmd"]["exit_code"] == 6
    page = Tags((tmp_path / "summary.html").read_text()).text
    for wanted in ("It is hibernated.", "Shut it down.", "exit code 6", "--resume"):
        assert wanted in page
    # What failed comes first.
    assert page.index("It is hibernated.") < page.index("What was changed")
    # A spreadsheet would run it.
    (line,) = (it for it in csv.reader(io.StringIO((tmp_path / "summary.csv").read_text()))
               if it[0].endswith("cmd"))  # fmt: skip
    assert line[0] == "'=cmd"


def test_results_that_were_in_the_way_of_a_batch_are_told_of_once(
    reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    put(tmp_path, reports[GuestKind.XP])
    name = reports[GuestKind.XP]["source"]["machine"]["name"]
    with open_journal(tmp_path) as journal:
        journal.begin()
        journal.add(
            GuestRecord(
                name, Path("/a.vmx"), GuestState.FAILED, message="There are results already.",
                exit_code=8,
            )
        )  # fmt: skip
    done = report_on(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["guests"]
    assert (row["name"], row["state"]) == (name, "converted")
    assert "There are results already." in (tmp_path / "summary.html").read_text()


def test_a_guest_that_was_cut_off_behind_its_report_is_told_of_once(
    reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    put(tmp_path, reports[GuestKind.XP])
    name = reports[GuestKind.XP]["source"]["machine"]["name"]
    with open_journal(tmp_path) as journal:
        journal.begin()
        journal.add(GuestRecord(name, Path("/machines/a.vmx"), GuestState.STARTED))
    done = report_on(tmp_path, "--json")
    assert [row["state"] for row in json.loads(done.stdout)["guests"]] == ["converted"]


def poisoned(value: Any, word: str) -> Any:
    """Return a report in which a word stands in every text that is not one of a few choices."""
    if isinstance(value, dict):
        keep = ("schema", "change", "hive", "verdict")
        return {key: it if key in keep else poisoned(it, word) for key, it in value.items()}
    if isinstance(value, list):
        return [poisoned(it, word) for it in value]
    return f"{value}{word}" if isinstance(value, str) else value


def test_nothing_is_obeyed(reports: dict[GuestKind, Report], tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    for report in reports.values():
        put(clean, report)
        put(tmp_path / "poisoned", poisoned(report, HOSTILE), "a" + report["published"][-1])
        put(tmp_path / "poisoned", poisoned(report, ODD), "b" + report["published"][-1])
    assert report_on(clean).exit_code == 0
    done = report_on(tmp_path / "poisoned")
    assert done.exit_code == 0, done.output
    assert "4 of 4 guests converted" in done.output
    raw = (tmp_path / "poisoned" / "summary.html").read_bytes().decode("utf-8", "strict")
    page, plain = Tags(raw), Tags((clean / "summary.html").read_text())
    assert HOSTILE in page.text
    assert page.tags <= plain.tags | {"p"}
    assert "script" not in page.tags
    names = {name for name, _ in page.attributes}
    assert names <= {name for name, _ in plain.attributes}
    assert not any(name.startswith("on") or name == "src" for name in names)
    assert all(value.startswith("#guest-") for name, value in page.attributes if name == "href")
    assert all(char.isprintable() or char == "\n" for char in raw)


def test_reports_of_before_a_field_was_added(
    reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    """Within a version of the form fields are added: what was written before can be read."""
    early = reports[GuestKind.XP]
    for name in ("next", "documents", "network"):
        del early[name]
    put(tmp_path, early)
    assert "1 of 1 guests converted" in report_on(tmp_path).output


def test_a_page_asks_nobody_for_anything(reports: dict[GuestKind, Report], tmp_path: Path) -> None:
    put(tmp_path, reports[GuestKind.XP])
    assert report_on(tmp_path).exit_code == 0
    text = (tmp_path / "summary.html").read_text()
    assert "default-src 'none'" in text
    assert not any(word in text for word in ("http://", "https://", "url(", "@import", "<link"))


def test_other_files_are_not_replaced(reports: dict[GuestKind, Report], tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    put(out, reports[GuestKind.XP])
    elsewhere.mkdir()
    page = elsewhere / "page.html"
    assert report_on(out, "-o", page).exit_code == 0
    first = page.read_text()
    assert {path.name for path in elsewhere.iterdir()} == {
        "page.html", "summary.json", "summary.csv"
    }  # fmt: skip
    assert report_on(out, "-o", page).exit_code == 0, "a summary takes the place of an earlier one"
    assert page.read_text() == first
    for name in ("page.html", "summary.json", "summary.csv"):
        (elsewhere / name).write_text("mine")
        refused = report_on(out, "-o", page)
        assert refused.exit_code == 8
        assert name in refused.output
        assert (elsewhere / name).read_text() == "mine"
        (elsewhere / name).unlink()
        assert report_on(out, "-o", page).exit_code == 0


@pytest.mark.parametrize("name", ["summary.json", "summary.csv"])
def test_a_page_that_would_be_a_table(
    name: str, reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    put(tmp_path, reports[GuestKind.XP])
    refused = report_on(tmp_path, "-o", tmp_path / name)
    assert refused.exit_code == 8
    assert name in refused.output
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_results(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = report_on(tmp_path / name)
    assert done.exit_code == 4
    assert "What to do" in done.output
    assert list(tmp_path.rglob("summary*")) == []


def spoiled(report: Any) -> Iterator[Any]:
    """Yield a report with each of its values in turn gone, or of another kind."""
    places: list[tuple[str | int, ...]] = []

    def walk(value: Any, place: tuple[str | int, ...]) -> None:
        if place:
            places.append(place)
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                walk(item, (*place, key))

    walk(report, ())
    for *above, last in places:
        for other in (None, -1, float("nan"), "x", [1], {"a": 1}):
            made = copy.deepcopy(report)
            parent = made
            for key in above:
                parent = parent[key]
            parent[last] = other
            yield made


def shortened(value: Any) -> Any:
    """Return a report with one or two of everything that there is many of."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value[:1]] if isinstance(value, list) else value


def test_a_damaged_report_is_told_as_such(reports: dict[GuestKind, Report], tmp_path: Path) -> None:
    report = shortened(reports[GuestKind.WINDOWS_10])
    # Not read: what they hold need not be spoiled.
    for name in ("wanted", "options", "tools"):
        report[name] = []
    report["guest"] = {key: report["guest"][key] for key in report["guest"] if key != "hibernation"}
    file = tmp_path / "guest.report.json"
    tried = 0
    for made in spoiled(report):
        file.write_text(json.dumps(made))
        found = read_result(file, tmp_path)
        assert found.state in (State.CONVERTED, State.UNREADABLE)
        tried += found.state is State.UNREADABLE
    assert tried > 100
    file.write_text("[" * 100_000)
    assert read_result(file, tmp_path).state is State.UNREADABLE


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_in_a_browser(
    width: int, dark: bool, reports: dict[GuestKind, Report], tmp_path: Path
) -> None:
    """Nothing sticks out, however long a word is, and every text can be read."""
    put(tmp_path, reports[GuestKind.XP])
    put(tmp_path, poisoned(reports[GuestKind.WINDOWS_10], HOSTILE + "x" * 200), "b.report.json")
    (tmp_path / "torn.report.json").write_text("{")
    assert report_on(tmp_path).exit_code == 0
    told = probe(tmp_path / "summary.html", width, tmp_path, dark=dark)
    assert told == {
        "sticks_out": 0,
        "dark": dark,
        "faint": [],
        "scripts": 0,
        "title": f"{tmp_path.name}: 2 of 3 guests converted",
    }
