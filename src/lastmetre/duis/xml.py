"""Reading XML from strangers, and writing it exactly.

Rules kept here (reference: duis sections 1.1 and 3.2):

* No DOCTYPE, so no entity beyond the five of XML itself; no processing instruction; UTF-8 only; bounded in size and
  depth.
* Comments are dropped while parsing. The canonical form leaves them out as well, so text read here is the text that
  was hashed: ``12<!-- -->34`` is 1234 for both.
* An ``Element`` is a plain, immutable value: no parser, no namespace table, compared by content. An element has
  children or text, never both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lxml import etree

from lastmetre.duis.errors import DuisDecodeError, DuisValueError

SR: Final = "http://www.dccinterface.co.uk/ServiceUserGateway"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"

DOCUMENT_SIZE_MAX: Final = 1_048_576
"""Largest document read, in octets. The largest published template has 60,000; an inventory of 17 devices far less."""
DEPTH_MAX: Final = 32
"""Deepest nesting read. Schema 5.4 nests 12 deep."""

_SR_MARK: Final = f"{{{SR}}}"
_DECLARATION: Final = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[ \t\r\n][^>]*?\?>")
_ENCODING: Final = re.compile(rb"encoding[ \t\r\n]*=[ \t\r\n]*[\"']([^\"']*)[\"']")
# Characters that XML 1.0 cannot carry at all.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Text that needs no second look: nearly all of it.
_PLAIN: Final = re.compile(r"[A-Za-z0-9 .:+/=_-]*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

NAME_CACHE_SIZE: Final = 4_096
"""Element names kept checked and split; schema 5.4 has some 1,500, and strangers cannot make it grow."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element as a value. ``name`` is the local name in DUIS's namespace, or ``{namespace}name`` in another."""

    name: str
    text: str = ""
    children: tuple[Element, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()

    def find(self, path: str) -> Element | None:
        """The first descendant by a path of names, ``A/B/C``; the element itself for an empty path."""
        here = self
        for name in path.split("/") if path else ():
            for child in here.children:
                if child.name == name:
                    here = child
                    break
            else:
                return None
        return here

    def all(self, name: str) -> tuple[Element, ...]:
        """Every child of this name, in document order."""
        return tuple(child for child in self.children if child.name == name)

    def find_text(self, path: str) -> str | None:
        """The text at a path exactly as written, or None where there is no such element."""
        found = self.find(path)
        return None if found is None else found.text

    def attribute(self, name: str) -> str | None:
        """The value of an attribute, or None."""
        for key, value in self.attributes:
            if key == name:
                return value
        return None


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=False,
        recover=False,
    )


def parse_document(data: bytes) -> etree._Element:
    """The root of an untrusted document, free of comments, or ``DuisDecodeError``."""
    if len(data) > DOCUMENT_SIZE_MAX:
        raise DuisDecodeError("document", f"{len(data)} octets are more than the {DOCUMENT_SIZE_MAX} that are read")
    declaration = _DECLARATION.match(data)
    if declaration is not None:
        encoding = _ENCODING.search(declaration.group())
        if encoding is not None and encoding.group(1).lower() not in (b"utf-8", b"us-ascii"):
            raise DuisDecodeError("document", "only UTF-8 is read")
    # The parser is told that the bytes are UTF-8, so these marks cannot hide in another encoding. A comment or a CDATA
    # section that contains them is refused too: nothing in DUIS needs either.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DuisDecodeError("document", "a DOCTYPE is not allowed")
    if data.find(b"<?", declaration.end() if declaration else 0) >= 0:
        raise DuisDecodeError("document", "a processing instruction is not allowed")
    try:
        # A parser keeps state, so each document has its own; making one costs microseconds.
        return etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DuisDecodeError("document", f"not well-formed XML ({str(error)[:200]})") from None


def local_name(tag: str) -> str:
    """A tag as ``Element.name`` has it."""
    return tag.removeprefix(_SR_MARK)


def is_blank(text: str) -> bool:
    """Whether a text is nothing but the whitespace of XML (a no-break space, for one, is content)."""
    return not text.strip(" \t\r\n")


def read_element(node: etree._Element, depth: int = 0) -> Element:
    """The immutable value of a parsed element; its tail is the parent's business."""
    tag = node.tag
    if not isinstance(tag, str):
        raise DuisDecodeError("document", "only elements and text are allowed")
    name = local_name(tag)
    if depth > DEPTH_MAX:
        raise DuisDecodeError(name, f"nested deeper than {DEPTH_MAX}")
    found = node.items()
    attributes = tuple(sorted((str(key), str(value)) for key, value in found)) if found else ()
    text = node.text or ""
    if not len(node):
        return Element(name, text, (), attributes)
    children = []
    mixed = not is_blank(text)
    for child in node:
        tail = child.tail
        if tail and not is_blank(tail):
            mixed = True
        children.append(read_element(child, depth + 1))
    if mixed:
        raise DuisDecodeError(name, "text beside child elements is not allowed")
    return Element(name, "", tuple(children), attributes)


def _escape(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if _FORBIDDEN.search(text):
        raise DuisValueError(f"the text {text[:40]!r} holds a character that XML cannot carry")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare carriage return would be read back as a line feed.
    return text.replace("\r", "&#xD;")


def _escape_attribute(text: str) -> str:
    return _escape(text).replace('"', "&quot;").replace("\t", "&#x9;").replace("\n", "&#xA;")


@lru_cache(NAME_CACHE_SIZE)
def _tag(name: str) -> tuple[str, str]:
    """The tag as written and the namespace declaration it needs there, if it is not DUIS's own."""
    namespace, _, local = name[1:].partition("}") if name.startswith("{") else ("", "", name)
    if not _NAME.fullmatch(local):
        raise DuisValueError(f"{local!r} is not an element name")
    if not namespace:
        return f"sr:{local}", ""
    return f"x:{local}", f' xmlns:x="{_escape_attribute(namespace)}"'


def write_element(element: Element) -> str:
    """The element as XML text without any whitespace between elements, for a place where ``sr`` is bound."""
    if element.text and element.children:
        raise DuisValueError(f"{element.name} has text and children; DUIS knows no mixed content")
    tag, declaration = _tag(element.name)
    for name, _ in element.attributes:
        if not _NAME.fullmatch(name):
            raise DuisValueError(f"{name!r} cannot be written as an attribute")
    attributes = "".join(f' {name}="{_escape_attribute(value)}"' for name, value in element.attributes)
    inside = "".join(map(write_element, element.children)) if element.children else _escape(element.text)
    return f"<{tag}{declaration}{attributes}>{inside}</{tag}>"
