"""`scripts/export_schemas`: write JSON schemas of the records and of the files in conf/."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from schemas import conf_schemas
from schemas.campaign import Campaign
from schemas.control import ControlAck, ControlMessage
from schemas.dead_letter import DeadLetter
from schemas.decision import Audit, Decision, Enforcement, Feedback, ReviewItem
from schemas.evidence import MediaEvidence
from schemas.feedback import AppealOutcome, JoinedFeedback, Report, ReviewVerdict
from schemas.quality import QualityRecord
from schemas.report_evidence import ReportEvidence
from schemas.trust import UserRow
from schemas.upload import Upload
from schemas.user_events import LabelGiven, UserErased

FOLDER: Final = conf_schemas.FOLDER / "records"
RECORDS: Final[dict[str, type[msgspec.Struct]]] = {
    "upload": Upload,
    "decision": Decision,
    "review": ReviewItem,
    "feedback": Feedback,
    "report": Report,
    "verdict": ReviewVerdict,
    "appeal": AppealOutcome,
    "user-label": LabelGiven,
    "user-erased": UserErased,
    "joined-feedback": JoinedFeedback,
    "report-evidence": ReportEvidence,
    "user": UserRow,
    "enforcement": Enforcement,
    "audit": Audit,
    "evidence": MediaEvidence,
    "dead-letter": DeadLetter,
    "campaign": Campaign,
    "control": ControlMessage,
    "control-ack": ControlAck,
    "quality": QualityRecord,
}
"""Name of a schema to the record it describes."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def record_schema(name: str) -> dict[str, Any]:
    """JSON schema (2020-12) of one record."""
    schema: dict[str, Any] = msgspec.json.schema(RECORDS[name])
    for definition in schema.get("$defs", {}).values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    if name == "upload":
        # Unknown fields are collected here inside Sluice; on the wire they stand at the top.
        upload = schema["$defs"]["Upload"]
        upload["properties"].pop("$extra")
        upload["not"] = {"required": ["$extra"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def rendered(name: str) -> str:
    """Text of a record's schema file."""
    return json.dumps(record_schema(name), indent=2, sort_keys=True) + "\n"


@app.command()
def export(
    folder: Annotated[Path, typer.Option(help="Where the records' schemas go.")] = FOLDER,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a file is not current.")
    ] = False,
) -> None:
    """Write a JSON schema for every record, and for every file in conf/ that has one."""
    wanted = {folder / f"{name}.schema.json": rendered(name) for name in RECORDS}
    for name in conf_schemas.SCHEMAS:
        wanted[conf_schemas.FOLDER / f"{name}.schema.json"] = conf_schemas.rendered(name)
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    if check:
        if stale:
            sys.exit(f"not current: {', '.join(map(str, stale))}; run scripts/export_schemas")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text, "utf-8")
    print(f"{len(wanted)} schemas in {folder} and {conf_schemas.FOLDER}, {len(stale)} of them new")


if __name__ == "__main__":
    app(prog_name="scripts/export_schemas")
