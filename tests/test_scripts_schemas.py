"""The exported schemas are current, and say what the decoder says."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from jsonschema import Draft202012Validator

from scripts.cli.export_schemas import FOLDER, RECORDS, record_schema, rendered
from scripts.cli.samples import UPLOADS
from scripts.cli.upload_lines import parse_line, read_lines


@pytest.mark.parametrize("name", RECORDS)
def test_schema_files_are_current(name: str) -> None:
    text = (FOLDER / f"{name}.schema.json").read_text("utf-8")
    assert text == rendered(name), "run scripts/export_schemas"
    Draft202012Validator.check_schema(json.loads(text))


def test_the_upload_schema_agrees_with_the_decoder_on_the_samples() -> None:
    validator = Draft202012Validator(record_schema("upload"))
    valid = refused = 0
    for raw in read_lines(UPLOADS.read_bytes().splitlines()):
        line = parse_line(raw, base=dt.datetime.now(dt.UTC))
        if line.valid:
            validator.validate(json.loads(line.value))
            valid += 1
        elif b'"$raw"' not in raw and b'"$pad' not in raw:
            refused += not validator.is_valid(json.loads(line.value))
    assert valid > 400
    # What a schema cannot say: text for texts, media_uri for media, and forms of times.
    assert refused >= 12
