"""The official DUIS schema, where the user has it: documents are validated against it besides our own checks.

Rules kept here (reference: duis section 1.1):

* The files are not ours to ship: the user points to a folder (``--schema DIR``, or the setting ``duis_schema``).
* The schema imports another by a name with spaces, which libxml2 would silently skip; a file of that name with hyphens
  or underscores is taken for it. Nothing is fetched, and no DTD is read.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from lxml import etree

from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.xml import parse_document
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_PARTS: Final = (f"{_XS}import", f"{_XS}include")
_SEPARATORS: Final = re.compile(r"[ _-]+|%20")
VIOLATIONS_MAX: Final = 20
"""Violations told of one document."""


class SchemaUnusable(LinkError):
    """The folder does not hold a schema that can be used; the text says what is missing."""


class OfficialSchema:
    """The official schema, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Load the schema in ``folder``: the newest file ``DUIS*.xsd`` and those it imports."""
        found = sorted(path for path in folder.glob("*.xsd") if path.name.upper().startswith("DUIS"))
        if not found:
            raise SchemaUnusable(f"there is no DUIS*.xsd in {folder}; put the official schema files there")
        parser = etree.XMLParser(no_network=True, load_dtd=False, resolve_entities=False, remove_comments=True)
        try:
            tree = etree.parse(str(found[-1]), parser)
            _name_files(tree.getroot(), folder)
            self._schema = etree.XMLSchema(tree)
        except (OSError, etree.XMLSyntaxError, etree.XMLSchemaParseError) as error:
            raise SchemaUnusable(f"{found[-1]} cannot be used: {error}") from None

    def violations(self, document: bytes) -> tuple[str, ...]:
        """What the schema finds wrong with a document, each with its line; nothing when it is valid."""
        try:
            root = parse_document(document)
        except DuisDecodeError as error:
            return (str(error),)
        if self._schema.validate(root):
            return ()
        log: Any = self._schema.error_log
        entries = islice(log.filter_from_errors(), VIOLATIONS_MAX)
        return tuple(f"line {entry.line}: {_plain(entry.message)}" for entry in entries)


def violations_by(folder: str | Path | None) -> Callable[[bytes], tuple[str, ...]] | None:
    """What asks the schema in a folder, for the setting ``duis_schema`` of a process; None where it is not set."""
    return None if folder is None else OfficialSchema(Path(folder)).violations


def _plain(message: str) -> str:
    """The message with local names, as people know the elements."""
    return re.sub(r"\{[^}]*\}", "", message)


def _name_files(root: etree._Element, folder: Path) -> None:
    """Let every import name a file that is there, whatever stands between the words of its name."""
    by_words = {_SEPARATORS.sub(" ", path.name).lower(): path.name for path in sorted(folder.glob("*.xsd"))}
    for part in root.iter(*_PARTS):
        location = part.get("schemaLocation")
        if location is None:
            continue
        name = by_words.get(_SEPARATORS.sub(" ", location.rpartition("/")[2]).lower())
        if name is None:
            raise SchemaUnusable(f"the schema imports {location}, which is not in {folder}")
        part.set("schemaLocation", quote(name))
