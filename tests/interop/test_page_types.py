"""The types of the pages are checked against the OpenAPI document."""

import json
import pathlib
import re
import shutil
import sys

from processes import run

REPOSITORY = pathlib.Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs" / "openapi.json"


def check(directory, document):
    """Checks the pages as scripts/check-pages does, against another document. Returns the errors."""
    shutil.copytree(REPOSITORY / "src" / "ui", directory / "src" / "ui")
    (directory / "openapi.json").write_text(document)
    generated = directory / "target" / "pages" / "api.d.ts"
    generated.parent.mkdir(parents=True)
    generated.write_text(run([sys.executable, REPOSITORY / "scripts" / "api-types", directory / "openapi.json"], check=True).stdout)
    return run(["tsc", "--project", directory / "src" / "ui", "--pretty", "false"]).stdout


FIELDS = ["last_used_at", "assignable_to", "may_sign_from", "took_ms", "exchanges_per_minute", "organization_help", "sees_everyone"]


def test_a_renamed_field_and_a_removed_operation_fail_the_check(tmp_path):
    """scripts/check-pages shows that the pages match the unchanged document."""
    text = DOCUMENT.read_text()
    for field in FIELDS:
        assert json.dumps(field) in text
        text = text.replace(json.dumps(field), json.dumps(f"{field}_renamed"))
    document = json.loads(text)
    del document["paths"]["/v1/webhooks/{id}/test"]
    errors = check(tmp_path, json.dumps(document))
    for name in [*FIELDS, "POST webhooks/{id}/test"]:
        assert name in errors


def test_the_console_offers_every_event_type():
    types = [re.findall(r'"([a-z_]+\.[a-z_]+)"', (REPOSITORY / "src" / path).read_text()) for path in ["domain/events.rs", "ui/assets/console/event_types.js"]]
    assert set(types[0]) == set(types[1])
