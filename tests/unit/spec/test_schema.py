"""The published JSON Schema of config.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from headway.spec.job import json_schema

ROOT = Path(__file__).parents[3]


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    assert published == json_schema(), "write it anew: launch config schema > docs/config.schema.json"


def test_the_example_is_valid_by_the_schema() -> None:
    config = yaml.safe_load((ROOT / "examples" / "digits" / "config.yaml").read_text())
    jsonschema.validate(config, json_schema())


@pytest.mark.parametrize("slip", [{"nmae": "x"}, {"limits": {"timeout": []}}, {"resources": {"nodes": 0}}])
def test_the_schema_refuses_what_the_config_refuses(slip: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "entrypoint": "train.py", **slip}, json_schema())


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    undescribed = [
        name
        for section in sections
        for name, key in section["properties"].items()
        if not key.get("description") and "$ref" not in key
    ]
    assert undescribed == []
