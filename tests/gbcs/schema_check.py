"""Judges a document by a JSON Schema, as far as ours goes: the keywords of ``KEYWORDS`` and no others.

No validator is among the dependencies. An unknown keyword is an error, so that this cannot pass by looking away.
"""

from __future__ import annotations

import re
from typing import Any

KEYWORDS = frozenset(
    {
        "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties",
        "items", "prefixItems", "minItems", "maxItems", "anyOf", "const", "pattern", "minimum", "maximum",
    }
)  # fmt: skip
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def fault(document: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "$") -> str | None:
    """The first fault found, with its place; ``None`` when the document is as the schema says."""
    root = schema if root is None else root
    assert schema.keys() <= KEYWORDS, schema.keys() - KEYWORDS
    if "$ref" in schema:
        return fault(document, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        faults = [fault(document, choice, root, at) for choice in schema["anyOf"]]
        return None if None in faults else f"{at}: none of {faults}"
    if "const" in schema and document != schema["const"]:
        return f"{at}: not {schema['const']}"
    if "type" in schema:
        is_boolean = isinstance(document, bool) and schema["type"] != "boolean"
        if is_boolean or not isinstance(document, TYPES[schema["type"]]):
            return f"{at}: no {schema['type']}"
    if isinstance(document, dict):
        return _object_fault(document, schema, root, at)
    if isinstance(document, list):
        return _array_fault(document, schema, root, at)
    if isinstance(document, str) and "pattern" in schema and not re.search(schema["pattern"], document, re.ASCII):
        return f"{at}: not of the pattern {schema['pattern']}"
    if isinstance(document, int) and not schema.get("minimum", document) <= document <= schema.get("maximum", document):
        return f"{at}: out of range"
    return None


def _object_fault(document: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> str | None:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in document]
    if missing:
        return f"{at}: {missing} missing"
    for name, value in document.items():
        if name not in properties:
            if schema.get("additionalProperties", True) is False:
                return f"{at}.{name}: unknown"
            continue
        found = fault(value, properties[name], root, f"{at}.{name}")
        if found:
            return found
    return None


def _array_fault(document: list[Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> str | None:
    if not schema.get("minItems", 0) <= len(document) <= schema.get("maxItems", len(document)):
        return f"{at}: wrong number of elements"
    first = schema.get("prefixItems", [])
    for place, value in enumerate(document):
        part = first[place] if place < len(first) else schema.get("items", {})
        found = fault(value, part, root, f"{at}[{place}]")
        if found:
            return found
    return None
