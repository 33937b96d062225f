"""Reading XML from strangers, and writing it exactly.

Rules kept here (reference: duis sections 1.1 and 3.2):

* No DOCTYPE, so no entity beyond the five of XML itself; no processing instruction; UTF-8 only; bounded in size and
  depth.
* Comments are dropped while parsing. The canonical form leaves them out as well, so text read here is the text that
  was hashed: ``12<!-- -->34`` is 1234 for both.
* An ``Element`` is a plain, immutable value: no parser, no namespace table, compared by content. An element has
  children or text, never both.
* A document in the plain form that writers of DUIS use is read from its text (``scan``), which checks all of it; of
  any other lxml decides whether it is well-formed, and its tree is walked (``read_element``). What the first reads the
  second reads to the same value (tests/duis/test_xml.py): the first is there because it takes a third of the time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

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


class Element(NamedTuple):
    """One element as a value. ``name`` is the local name in DUIS's namespace, or ``{namespace}name`` in another.

    A tuple and not a dataclass: a document has hundreds, and a tuple is made in a quarter of the time.
    """

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


_PARSER: Final = etree.XMLParser(
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
"""One for all documents: what lxml keeps between two of them is a lock and the log of errors."""


def parse_document(data: bytes) -> etree._Element:
    """The root of an untrusted document, free of comments, or ``DuisDecodeError``."""
    if len(data) > DOCUMENT_SIZE_MAX:
        raise DuisDecodeError("document", f"{len(data)} octets are more than the {DOCUMENT_SIZE_MAX} that are read")
    declaration = _DECLARATION.match(data) if data[:1] != b"<" or data[:2] == b"<?" else None
    if declaration is not None:
        encoding = _ENCODING.search(declaration.group())
        if encoding is not None and encoding.group(1).lower() not in (b"utf-8", b"us-ascii"):
            raise DuisDecodeError("document", "only UTF-8 is read")
    # The parser is told that the bytes are UTF-8, so these marks cannot hide in another encoding. A comment or a CDATA
    # section that contains them is refused too: nothing in DUIS needs either.
    # The single characters are looked for first: they are rare, and finding one octet is many times faster.
    if b"!" in data and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise DuisDecodeError("document", "a DOCTYPE is not allowed")
    start = declaration.end() if declaration else 0
    if data.find(b"?", start) >= 0 and data.find(b"<?", start) >= 0:
        raise DuisDecodeError("document", "a processing instruction is not allowed")
    try:
        return etree.fromstring(data, _PARSER)
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


# --- reading elements from text

_QNAME: Final = r"[A-Za-z_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_.-]*)?"
_TAG: Final = re.compile(_QNAME)
_ATTRIBUTE: Final = re.compile(rf' ({_QNAME})="([^"<]*)"')
_REFERENCE: Final = re.compile(r"&(?:(?:#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));)?")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
# A comment as XML allows it: no two dashes inside, nor one at its end.
_COMMENT: Final = re.compile(r"<!--((?:-?[^-])*)-->")
_COMMENT_MARK: Final = "\x00"
_PLAIN_DECLARATION: Final = re.compile(
    r'<\?xml version="1\.0"(?: encoding="(?i:utf-8)")?(?: standalone="(?:yes|no)")?\?>'
)
_PLAIN_NAMESPACE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?:/[A-Za-z0-9/._-]*#?)?|urn:[A-Za-z0-9:._-]+")
_RESERVED_NAMESPACES: Final = ("http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/")

KEPT_PIECES_MAX: Final = 8_192
"""Start tags, with the text behind them, that are kept ready; strangers cannot make it grow beyond this."""
KEPT_TEXT_MAX: Final = 40
"""Longest text kept: names, numbers, flags and dates, but no identifiers, which come once."""
KEPT_HEAD_MAX: Final = 400
"""Longest start tag kept."""
KEPT_SCOPES_MAX: Final = 64
_new = tuple.__new__


class _Unusual(Exception):
    """The text is not in the plain form, or is not XML at all; the parser will tell."""


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        if name:
            return _ENTITIES[name]
        code = int(hexadecimal, 16) if hexadecimal else int(decimal or 0)
        if code >= 0x110000 or _FORBIDDEN.search(chr(code)):
            raise _Unusual
        return chr(code)

    return _REFERENCE.sub(one, text)


class _Scope:
    """The namespaces in force, by prefix, and what start tags mean under them."""

    __slots__ = ("kept", "leaves", "namespaces")

    def __init__(self, namespaces: dict[str, str]) -> None:
        self.namespaces = namespaces
        self.leaves: dict[str, tuple[Element, str]] = {}
        """Of start tags that neither end at once nor declare anything, nearly all: the element and its end tag."""
        self.kept: dict[str, tuple[Element, str, _Scope]] = {}
        """Of the others; the end tag is empty where the element ends at once."""

    def read(self, piece: str) -> tuple[Element, str, _Scope]:
        """The element of a start tag and the text behind it, its end tag, and the scope inside it."""
        head, closing, text = piece.partition(">")
        if not closing or "'" in head or "\n" in head or "\t" in head or _FORBIDDEN.search(piece):
            raise _Unusual
        ended = head.endswith("/")
        tag, space, rest = (head[:-1] if ended else head).partition(" ")
        if not _TAG.fullmatch(tag):
            raise _Unusual
        inside, attributes = self._attributes(space + rest) if space else (self, ())
        name = inside.name(tag, default=inside.namespaces.get(""))
        if ended:
            _require_blank(text)
            found, end = Element(name, "", (), attributes), ""
        else:
            found, end = Element(name, _unescape(text) if "&" in text else text, (), attributes), f"/{tag}>"
        if len(text) <= KEPT_TEXT_MAX and len(head) <= KEPT_HEAD_MAX:
            if len(self.kept) + len(self.leaves) >= KEPT_PIECES_MAX:
                self.kept.clear()
                self.leaves.clear()
            if ended or inside is not self:
                self.kept[piece] = found, end, inside
            else:
                self.leaves[piece] = found, end
        return found, end, inside

    def name(self, tag: str, default: str | None = None) -> str:
        """A name as ``Element.name`` has it."""
        prefix, colon, local = tag.rpartition(":")
        namespace = self.namespaces.get(prefix) if colon else default
        if not namespace:
            if colon:
                raise _Unusual
            return tag
        return local if namespace == SR else f"{{{namespace}}}{local}"

    def _attributes(self, text: str) -> tuple[_Scope, tuple[tuple[str, str], ...]]:
        found = _ATTRIBUTE.findall(text)
        if sum(len(name) + len(value) + 4 for name, value in found) != len(text.rstrip(" ")):
            raise _Unusual
        given, declared = [], {}
        for name, value in found:
            shown = _unescape(value) if "&" in value else value
            if name == "xmlns" or name.startswith("xmlns:"):
                if name in declared or not _is_plain_namespace(name, shown):
                    raise _Unusual
                declared[name] = shown
            else:
                given.append((name, shown))
        spaces = {name[6:]: value for name, value in declared.items()}
        inside = _scope(self.namespaces | spaces) if spaces else self
        named = tuple(sorted((inside.attribute(name), value) for name, value in given))
        if len({name for name, _ in named}) != len(named):
            raise _Unusual
        return inside, named

    def attribute(self, name: str) -> str:
        """The name of an attribute, which has a namespace only with a prefix."""
        prefix, colon, local = name.partition(":")
        if not colon:
            return name
        if not self.namespaces.get(prefix):
            raise _Unusual
        return f"{{{self.namespaces[prefix]}}}{local}"


def _is_plain_namespace(name: str, namespace: str) -> bool:
    if name in ("xmlns:xml", "xmlns:xmlns") or namespace in _RESERVED_NAMESPACES:
        return False
    return _PLAIN_NAMESPACE.fullmatch(namespace) is not None or (name == "xmlns" and not namespace)


_SCOPES: Final[dict[tuple[tuple[str, str], ...], _Scope]] = {}
_OUTSIDE: Final = _Scope({})


def _scope(namespaces: dict[str, str]) -> _Scope:
    """The scope of these namespaces, with what was kept under it before."""
    key = tuple(sorted(namespaces.items()))
    found = _SCOPES.get(key)
    if found is None:
        if len(_SCOPES) >= KEPT_SCOPES_MAX:
            # What start tags lead to these scopes goes with them.
            _SCOPES.clear()
            _OUTSIDE.kept.clear()
        found = _SCOPES[key] = _Scope(namespaces)
    return found


def scan(text: str) -> Element | None:
    """The root element of a document in the plain form; None of any other, which the parser must judge.

    The plain form is what writers of DUIS write: no section and no carriage return, quotation marks round values, ASCII
    names. All of it is checked here, so what this function reads is well-formed.
    """
    start = 0
    if text.startswith("<?"):
        declaration = _PLAIN_DECLARATION.match(text)
        if declaration is None:
            return None
        start = declaration.end()
    if "\r" in text:
        return None
    try:
        pieces = _split_commented(text[start:]) if "!" in text and "<!" in text else _split(text[start:])
        _require_blank(pieces[0])
        del pieces[0]
        return _scan(pieces)
    except (_Unusual, IndexError):
        return None


def _split(text: str) -> list[str]:
    """The text by its less-than signs: what stands before the root, then the tags with what stands behind each."""
    pieces = text.split("<")
    # A greater-than sign that ends no tag is allowed in a text, and taken for none here.
    if text.count(">") != len(pieces) - 1:
        raise _Unusual
    return pieces


def _split_commented(text: str) -> list[str]:
    """The same of a text with comments, which may stand anywhere but inside a tag."""

    def mark(comment: re.Match[str]) -> str:
        if _FORBIDDEN.search(comment.group()) or "<" in comment.group(1):
            raise _Unusual
        return _COMMENT_MARK

    if _COMMENT_MARK in text:
        raise _Unusual
    text = _COMMENT.sub(mark, text)
    if "<!" in text:
        raise _Unusual
    first, *pieces = _split(text)
    if any(_COMMENT_MARK in piece.partition(">")[0] for piece in pieces if _COMMENT_MARK in piece):
        raise _Unusual
    return [piece.replace(_COMMENT_MARK, "") for piece in (first, *pieces)]


def _scan(pieces: list[str]) -> Element:
    scope = _OUTSIDE
    leaves = scope.leaves
    # Open elements with the children before them, their end tags and, where they declared something, the scope around.
    stack: list[tuple[Element, list[Element], str, _Scope | None]] = []
    children: list[Element] = []
    leaf: Element | None = None
    around: _Scope | None = None
    end = ""
    for piece in pieces:
        if piece[0] == "/":
            if leaf is None:
                parent, before, end, around = stack.pop()
                leaf = _new(Element, (parent[0], "", tuple(children), parent[3]))
                children = before
            children.append(leaf)
            leaf = None
            if around is not None:
                scope, around = around, None
                leaves = scope.leaves
            if piece != end:
                _check_end(piece, end)
            continue
        if leaf is not None:
            if leaf[1]:
                _require_blank(leaf[1])
            stack.append((leaf, children, end, around))
            children, around = [], None
            if len(stack) > DEPTH_MAX:
                raise _Unusual
        found = leaves.get(piece)
        if found is not None:
            leaf, end = found
            continue
        leaf, end, inside = scope.kept.get(piece) or scope.read(piece)
        if not end:
            children.append(leaf)
            leaf = None
        elif inside is not scope:
            scope, around = inside, scope
            leaves = scope.leaves
    if stack or leaf is not None or len(children) != 1:
        raise _Unusual
    return children[0]


def _check_end(piece: str, end: str) -> None:
    tag, closing, tail = piece.partition(">")
    if not closing or tag.rstrip(" \n\t") != end[:-1]:
        raise _Unusual
    _require_blank(tail)


def _require_blank(text: str) -> None:
    if text.strip(" \n\t"):
        raise _Unusual


def read_document(data: bytes) -> Element:
    """The root element of an untrusted document, or ``DuisDecodeError``."""
    if len(data) <= DOCUMENT_SIZE_MAX:
        try:
            found = scan(data.decode())
        except UnicodeDecodeError:
            found = None
        if found is not None:
            return found
    return read_element(parse_document(data))


# --- writing


def _escape(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if _FORBIDDEN.search(text):
        raise DuisValueError(f"the text {text[:40]!r} holds a character that XML cannot carry")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare carriage return would be read back as a line feed.
    return text.replace("\r", "&#xD;")


def _escape_attribute(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # As the canonical form has it, which leaves a greater-than sign alone in attributes.
    escaped = _escape(text).replace("&gt;", ">").replace('"', "&quot;")
    return escaped.replace("\t", "&#x9;").replace("\n", "&#xA;")


@lru_cache(NAME_CACHE_SIZE)
def _tag(name: str) -> tuple[str, str]:
    """The tag as written and the namespace declaration it needs there, if it is not DUIS's own."""
    namespace, _, local = name[1:].partition("}") if name.startswith("{") else ("", "", name)
    if not _NAME.fullmatch(local):
        raise DuisValueError(f"{local!r} is not an element name")
    if not namespace:
        return f"sr:{local}", ""
    return f"x:{local}", f' xmlns:x="{_escape_attribute(namespace)}"'


_WRITTEN: Final[dict[Element, str]] = {}
"""Short texts and small groups of them as they are written; bounded as what is read."""
KEPT_SIZE_MAX: Final = 8
"""Children of the largest group kept."""
KEPT_WRITTEN_MAX: Final = 400
"""Longest text of an element kept."""


def write_element(element: Element) -> str:
    """The element as XML text without any whitespace between elements, for a place where ``sr`` is bound."""
    children = element[2]
    if len(children) > KEPT_SIZE_MAX:
        return _write_group(element)
    written = _WRITTEN.get(element)
    if written is None:
        if children:
            written = _write_group(element)
        else:
            start, end = _start_tag(element)
            written = f"{start}{_escape(element[1])}{end}"
        if len(written) <= KEPT_WRITTEN_MAX:
            if len(_WRITTEN) >= KEPT_PIECES_MAX:
                _WRITTEN.clear()
            _WRITTEN[element] = written
    return written


def _write_group(element: Element) -> str:
    name, text, children, attributes = element
    if text:
        raise DuisValueError(f"{name} has text and children; DUIS knows no mixed content")
    if attributes:
        start, end = _start_tag(element)
    else:
        tag, declaration = _tag(name)
        start, end = f"<{tag}{declaration}>", f"</{tag}>"
    return start + "".join(map(write_element, children)) + end


def _start_tag(element: Element) -> tuple[str, str]:
    tag, declaration = _tag(element.name)
    for name, _ in element.attributes:
        if not _NAME.fullmatch(name):
            raise DuisValueError(f"{name!r} cannot be written as an attribute")
    attributes = "".join(f' {name}="{_escape_attribute(value)}"' for name, value in sorted(element.attributes))
    return f"<{tag}{declaration}{attributes}>", f"</{tag}>"
