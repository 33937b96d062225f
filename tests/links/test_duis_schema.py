"""The official schema, where the user has it: loaded from a folder of theirs, told in words, and asked at the door."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import httpx
import pytest

from lastmetre.dcc.ports import Service
from lastmetre.duis import compose
from lastmetre.duis.documents import build_request
from lastmetre.links import duis_http
from lastmetre.links.duis_schema import OfficialSchema, SchemaUnusable, violations_by
from tests.own_world import ESME, SUPPLIER
from tests.shared_data import DUIS, needs_duis

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

VALID = bytes(build_request(compose.read_meter_balance(SUPPLIER, ESME, 1)))
INVALID = VALID.replace(b"ReadMeterBalance", b"ReadMeterElephant")


@needs_duis
@pytest.mark.parametrize("separator", ["-", " ", "_"])
def test_the_schema_is_found_whatever_stands_between_the_words_of_its_names(tmp_path: Path, separator: str) -> None:
    """The files as they are handed out, and as people rename them, make the same schema."""
    for path in DUIS.glob("*.xsd"):
        name = path.name if path.name.startswith("xmldsig") else path.name.replace("-", separator)
        shutil.copy(path, tmp_path / name)
    schema = OfficialSchema(tmp_path)
    assert schema.violations(VALID) == ()
    (violation, *_) = schema.violations(INVALID)
    assert "ReadMeterElephant" in violation
    assert "{" not in violation
    assert schema.violations(b"<!DOCTYPE a><a/>") == ("document: a DOCTYPE is not allowed",)


@needs_duis
def test_a_folder_without_a_usable_schema_is_told(tmp_path: Path) -> None:
    """No schema, a schema without what it imports, and one that is none: each is said."""
    with pytest.raises(SchemaUnusable, match=r"no DUIS\*\.xsd"):
        OfficialSchema(tmp_path)
    shutil.copy(DUIS / "DUIS-Schema-V5.4.xsd", tmp_path)
    with pytest.raises(SchemaUnusable, match="imports"):
        OfficialSchema(tmp_path)
    (tmp_path / "DUIS-Schema-V5.4.xsd").write_text("<nothing")
    with pytest.raises(SchemaUnusable, match="cannot be used"):
        OfficialSchema(tmp_path)


class _Door:
    """A DSP that answers everything."""

    async def request(self, _service: Service, _caller_id: bytes, _document: bytes) -> bytes:
        return b"<answer/>"


@needs_duis
def test_what_is_not_valid_does_not_pass_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the schema set, a document that is not valid is refused with HTTP 400 and the reason, on both sides."""
    monkeypatch.setattr(duis_http, "request_peer", lambda _scope: SUPPLIER)
    validate = violations_by(str(DUIS))
    assert violations_by(None) is None

    async def on_response(_caller_id: bytes, _document: bytes) -> bool:
        return True

    async def knock(app: FastAPI, path: str, good: int) -> None:
        headers = {"content-type": duis_http.CONTENT_TYPE}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://dsp") as client:
            assert (await client.post(path, content=VALID, headers=headers)).status_code == good
            refused = await client.post(path, content=INVALID, headers=headers)
        assert (refused.status_code, "ReadMeterElephant" in refused.text) == (400, True)

    dsp = duis_http.create_dsp_app(_Door(), validate)
    asyncio.run(knock(dsp, duis_http.SERVICE_PATHS[Service.NON_DEVICE], 200))
    user = duis_http.create_receive_response_app(on_response, validate)
    asyncio.run(knock(user, duis_http.RECEIVE_RESPONSE_PATH, 204))
