"""`scripts/banks`: lists in and out, changes on disk, and what running jobs are told."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from typer.testing import CliRunner

from schemas.control import ControlAck, ControlMessage
from schemas.errors import ConfigError
from schemas.media_banks import media_banks_json_schema
from schemas.settings import CONF
from schemas.yaml_source import YamlSource
from scripts.cli import bank_changes
from scripts.cli.bank_store import delta_text
from scripts.cli.banks import app
from scripts.cli.control_topic import Published, Replies
from tests.test_image_hashes import drawn
from udfs.image_hashes import hash_picture
from udfs.media_banks import MediaBanks
from udfs.media_query import MediaQuery

RNG = random.Random(3)  # noqa: S311 - test data
HASHES = [RNG.randbytes(32) for _ in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"e{i},{value.hex()}\n" for i, value in enumerate(HASHES))
    (tmp_path / "list.csv").write_text(f"id,hash\n{rows}bad,xyz\n")
    return tmp_path


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    words = [*arguments, "--banks", str(folder / "banks.yaml")]
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def imported(folder: Path, *more: str) -> str:
    words = ("--bank", "gore", "--kind", "pdq", "--category", "gore", *more)
    return run(folder, "import", str(folder / "list.csv"), *words)


def banks(folder: Path) -> MediaBanks:
    return MediaBanks.load(folder / "banks.yaml")


def found(folder: Path, value: bytes) -> list[tuple[str, str]]:
    [bank] = banks(folder).banks
    return [(h.name, "disputed" if h.disputed else "") for h in bank.live.search(value)[0]]


def test_a_list_becomes_a_bank_that_a_job_loads(folder: Path) -> None:
    said = imported(folder, "--source", "a partner", "--severity", "moderate")
    assert f"{folder / 'list.csv'}:7: hash: must be 64 hex digits" in said
    assert "gore: 5 of " in said and "5 hashes of 5 entries" in said
    assert found(folder, HASHES[2]) == [("e2", "")]
    [bank] = banks(folder).banks
    assert (bank.spec.source, bank.spec.severity) == ("a partner", "moderate")
    report = json.loads(imported(folder, "--json"))
    assert (report["loaded"], report["hashes"]) == (5, 5)
    assert report["wrong"] == [{"line": 7, "message": "hash: must be 64 hex digits"}]
    assert banks(folder).banks[0].spec.source == "a partner"
    (folder / "list.csv").write_text(f"id,hash\ne9,{'ab' * 32}\ne0,{HASHES[0].hex()}\n")
    assert json.loads(imported(folder, "--json", "--append"))["new"] == 1
    assert len(banks(folder)) == 6
    assert json.loads(imported(folder, "--json"))["hashes"] == 2


def test_entries_are_added_marked_and_written_out(folder: Path) -> None:
    imported(folder)
    new = "ab" * 32
    run(folder, "add", "gore", "--id", "new", "--hash", new.upper())
    assert found(folder, bytes.fromhex(new)) == [("new", "")]
    run(folder, "add", "gore", "--id", "new", "--hash", new)
    assert len(banks(folder)) == 6
    run(folder, "mark", "gore", "e1", "e2", "--as", "disputed")
    run(folder, "mark", "gore", "e2", "--as", "confirmed")
    run(folder, "mark", "gore", "e3", "--as", "withdrawn")
    assert found(folder, HASHES[1]) == [("e1", "disputed")]
    assert found(folder, HASHES[2]) == [("e2", "")]
    assert found(folder, HASHES[3]) == []
    run(folder, "export", "gore", "--out", str(folder / "out.json"), "--format", "threatexchange")
    words = ("--bank", "copy", "--kind", "pdq", "--category", "gore", "--json")
    report = json.loads(run(folder, "import", str(folder / "out.json"), *words))
    assert (report["hashes"], report["disputed"], report["wrong"]) == (5, 1, [])
    assert run(folder, "verify").count("5 hashes of 5 entries, right") == 2
    kept = list((folder / "media_banks" / "gore").iterdir())
    assert len(kept) == 3


def test_a_picture_is_added_by_its_hash(folder: Path) -> None:
    imported(folder)
    drawn(21).save(folder / "picture.png")
    run(folder, "add", "gore", "--id", "pic", "--picture", str(folder / "picture.png"))
    query = MediaQuery(cohort="c", picture=hash_picture(drawn(21)))
    assert [match.entry for match in banks(folder).match(query, 0.0)] == ["pic"]
    drawn(21).resize((8, 8)).convert("L").point(lambda _: 0).save(folder / "flat.png")
    with pytest.raises(ConfigError, match=r"flat\.png: has PDQ quality 0, below 50"):
        run(folder, "add", "gore", "--id", "flat", "--picture", str(folder / "flat.png"))
    (folder / "text.png").write_text("no picture")
    with pytest.raises(ConfigError, match=r"text\.png: is no picture"):
        run(folder, "add", "gore", "--id", "x", "--picture", str(folder / "text.png"))


def test_a_bank_is_switched_off_and_listed(folder: Path) -> None:
    imported(folder)
    run(folder, "disable", "gore")
    [listed] = json.loads(run(folder, "list", "--json"))["banks"]
    assert (listed["enabled"], listed["hashes"], listed["distance"]) == (False, 5, 31)
    assert not banks(folder).banks[0].asked("c")
    run(folder, "disable", "gore", "--undo")
    assert banks(folder).banks[0].asked("c")
    assert "gore" in run(folder, "list")


def test_a_damaged_bank_is_not_right(folder: Path) -> None:
    imported(folder)
    [path] = (folder / "media_banks" / "gore").glob("*/names.blob.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(ConfigError, match=r"names\.blob\.npy: is another file"):
        run(folder, "verify")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mark", "gore", "nobody", "--as", "disputed"), "bank gore has no entry nobody"),
        (("mark", "gore", "e1", "--as", "wrong"), "--as wrong: must be withdrawn"),
        (("add", "none", "--id", "x", "--hash", "ab"), "no bank none; there are: gore"),
        (("add", "gore", "--id", "x", "--hash", "ab" * 16), "a pdq hash has 64 hex digits"),
        (("add", "gore", "--id", "x"), "give --hash or --picture"),
        (("export", "gore", "--format", "xml"), "no format xml; there are: csv"),
        (("export", "gore", "--format", "vpdq"), "vpdq has no place for pdq hashes"),
        (("import", "nowhere.csv", "--bank", "gore"), "nowhere.csv: cannot be read"),
        (("import", "nowhere.csv", "--bank", "new"), "kind: bank new does not exist yet"),
        (("import", "x", "--bank", "gore", "--distance", "32"), "distance"),
    ],
)
def test_mistakes_are_sentences(folder: Path, words: tuple[str, ...], message: str) -> None:
    imported(folder)
    before = (folder / "banks.yaml").read_text()
    with pytest.raises(ConfigError) as error:
        run(folder, *words)
    assert message in str(error.value)
    assert (folder / "banks.yaml").read_text() == before


class Topic:
    """A control topic whose job lays every message over its banks, as a subtask does."""

    current: dict[str, ControlMessage]
    job: MediaBanks

    def __init__(self, _: Any) -> None:
        self.error = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self) -> Published:
        return Published(dict(self.current), {})

    def publish(self, message: ControlMessage) -> None:
        self.current[message.key] = message
        try:
            self.job.put({key: m.text for key, m in self.current.items()})
        except ConfigError as error:
            self.error = str(error)

    def withdraw(self, key: str) -> None:
        del self.current[key]

    def wait(self, key: str, digest: str, _: float) -> Replies:
        ack = ControlAck(
            key=key, digest=digest, ok=not self.error, error=self.error, restored=False,
            subtask=0, subtasks=1, applied={}, timestamp=dt.datetime.now(dt.UTC),
        )  # fmt: skip
        return Replies([ack], 1)


def test_running_jobs_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_changes, "ControlTopic", Topic)
    Topic.current, Topic.job = {}, MediaBanks([], folder)
    imported(folder, "--publish")
    job = Topic.job
    assert len(job) == 5
    said = run(folder, "add", "gore", "--id", "new", "--hash", "ab" * 32, "--publish")
    assert "subtask 1/1: in force" in said
    run(folder, "mark", "gore", "e0", "--as", "withdrawn", "--publish")
    both = job.banks[0].live.search(bytes.fromhex("ab" * 32) + HASHES[0])
    assert [bool(hits) for hits in both] == [True, False]
    assert len(Topic.current) == 3
    run(folder, "disable", "gore", "--publish")
    assert not job.banks[0].asked("c")
    # A list that replaces everything makes the changes before it superfluous.
    imported(folder, "--publish")
    assert (len(Topic.current), len(job)) == (1, 5)
    text = "version: 1\nbanks: [{id: gore, kind: md5, category: gore}]\n"
    Topic.current, Topic.job = {}, MediaBanks.parse(text)
    words = ("add", "gore", "--id", "x", "--hash", "cd" * 32, "--publish")
    assert "REFUSED: media_bank/gore." in run(folder, *words, code=1)


def test_the_bench_measures_what_it_says(tmp_path: Path) -> None:
    words = ["bench", "--sizes", "6k", "--out", str(tmp_path / "o.json"), "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    [result] = json.loads((tmp_path / "o.json").read_text())["banks"]
    assert (result["rows"], result["planted_found"]) == (6000, 1.0)
    assert result["lookups_per_s"] > 100
    assert result["added_acts_ms_max"] < 1000


def test_the_bank_file_that_comes_with_sluice_and_its_schema_are_right() -> None:
    assert len(MediaBanks.load(CONF / "media_banks.yaml")) == 0
    written = json.loads((CONF / "schemas" / "media_banks.schema.json").read_text())
    assert written == media_banks_json_schema()


def test_hashes_are_quoted_where_yaml_would_take_them_for_numbers(folder: Path) -> None:
    text = delta_text({"media_bank": "b", "add": [{"hash": "1" * 31 + "e", "id": "1"}]})
    entry = YamlSource(text).document["add"][0]
    assert (entry["hash"], entry["id"]) == ("1" * 31 + "e", "1")
    assert yaml.safe_load(delta_text({"x": "1" * 15 + "e" + "1" * 16})) == {
        "version": 1, "x": "1" * 15 + "e" + "1" * 16,
    }  # fmt: skip
