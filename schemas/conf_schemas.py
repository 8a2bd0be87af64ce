"""JSON schemas of the files in `conf/`: `python -m schemas.conf_schemas` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from schemas.banks import banks_json_schema
from schemas.campaign_job import campaigns_json_schema
from schemas.feedback_job import feedback_json_schema
from schemas.fusion import fusion_json_schema
from schemas.media_banks import media_banks_json_schema
from schemas.media_job import media_json_schema
from schemas.normalise import normalise_json_schema
from schemas.policy import policy_json_schema
from schemas.rules import rules_json_schema
from schemas.tables_conf import holds_json_schema, tables_json_schema
from schemas.trust import trust_json_schema

FOLDER: Final = Path(__file__).resolve().parent.parent / "conf" / "schemas"
SCHEMAS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "policy": policy_json_schema,
    "fusion": fusion_json_schema,
    "rules": rules_json_schema,
    "banks": banks_json_schema,
    "media_banks": media_banks_json_schema,
    "media": media_json_schema,
    "normalise": normalise_json_schema,
    "tables": tables_json_schema,
    "legal_holds": holds_json_schema,
    "feedback": feedback_json_schema,
    "campaigns": campaigns_json_schema,
    "trust": trust_json_schema,
}
"""What makes the schema of `conf/NAME.yaml`."""


def rendered(name: str) -> str:
    """Text of `conf/schemas/NAME.schema.json`."""
    return json.dumps(SCHEMAS[name](), indent=2, sort_keys=True) + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every schema and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in SCHEMAS:
        path = folder / f"{name}.schema.json"
        path.write_text(rendered(name), "utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write()
