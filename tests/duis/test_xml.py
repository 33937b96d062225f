"""Reading XML from strangers: what is refused before anything is believed, and that values are written exactly."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lastmetre.duis.compose import make_request
from lastmetre.duis.documents import build_request
from lastmetre.duis.errors import DuisDecodeError, DuisError, DuisValueError
from lastmetre.duis.signature import Canonical
from lastmetre.duis.xml import (
    DOCUMENT_SIZE_MAX,
    KEPT_PIECES_MAX,
    KEPT_SCOPES_MAX,
    SR,
    Element,
    parse_document,
    read_document,
    read_element,
    scan,
    write_element,
)
from tests.duis.support import example, templates
from tests.shared_data import DUIS, needs_duis

if TYPE_CHECKING:
    from collections.abc import Callable

BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><a>&j;</a>"
)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<a>",
        b"<a></a><b></b>",
        b"<a>&unknown;</a>",
        b"<x:a></x:a>",
        b'<a b="1" b="2"></a>',
        b"\xff\xfe<\x00a\x00/\x00>\x00",
        '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="UTF-7"?><a/>',
        b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>',
        b"<a>\xe9</a>",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
        b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        BOMB,
        b"<?pi x?><a/>",
        b"<a><?pi x?></a>",
        b"<a/>" + b" " * DOCUMENT_SIZE_MAX,
        b"<a>" * 100_000,
    ],
)
def test_refused_documents(document: bytes) -> None:
    """T40: nothing but bounded, well-formed UTF-8 without DOCTYPE, entity or processing instruction is read."""
    with pytest.raises(DuisDecodeError):
        parse_document(document)


@needs_duis
def test_published_xxe_document_is_refused() -> None:
    """The published document with an external entity is refused for its DOCTYPE."""
    with pytest.raises(DuisDecodeError, match="DOCTYPE"):
        parse_document(example("duis-xxe.xml"))


def test_deep_nesting_is_refused_without_exhausting_the_stack() -> None:
    """T40: a document nested deeper than any DUIS document is refused by a named limit."""
    with pytest.raises(DuisDecodeError, match="nested"):
        read_element(parse_document(b"<a>" * 200 + b"</a>" * 200))


def test_text_round_a_comment_is_one_text() -> None:
    """Text split by a comment reads as the text the canonical form hashes."""
    assert read_element(parse_document(b"<a>12<!-- 99 -->34</a>")).text == "1234"


def test_mixed_content_is_refused() -> None:
    """Text beside child elements would be signed but not read, so it is refused."""
    for document in (b"<a>x<b/></a>", "<a>\xa0<b/></a>".encode(), b"<a><b/>x</a>", b"<a><b/><c/>x</a>"):
        with pytest.raises(DuisDecodeError, match="beside child"):
            read_element(parse_document(document))


def test_find_walks_the_first_path() -> None:
    """A path of names finds the first match; a missing step finds nothing."""
    tree = Element("A", children=(Element("B", "1"), Element("B", "2", attributes=(("index", "7"),))))
    assert tree.find_text("B") == "1"
    assert [child.text for child in tree.all("B")] == ["1", "2"]
    assert tree.all("B")[1].attribute("index") == "7"
    assert (tree.find_text("B/C"), tree.find("C"), tree.find("")) == (None, None, tree)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n\r&<>\"'"))
NAMES = st.sampled_from(["A", "B-c", "_d", "{urn:other}E"])
ELEMENTS = st.recursive(
    st.builds(
        Element, NAMES, TEXT, st.just(()), st.dictionaries(st.just("index"), TEXT).map(lambda d: tuple(d.items()))
    ),
    lambda inner: st.builds(
        Element, NAMES, st.just(""), st.lists(inner, min_size=1, max_size=3).map(tuple), st.just(())
    ),
    max_leaves=8,
)


@given(ELEMENTS)
def test_what_is_written_reads_back_equal(element: Element) -> None:
    """Any tree, whatever its text, is the same value after being written and read."""
    text = write_element(Element("Root", children=(element,)))
    document = text.replace("<sr:Root>", f'<sr:Root xmlns:sr="{SR}">', 1)
    assert read_element(parse_document(document.encode())).children == (element,)
    assert read_document(document.encode()).children == (element,)


@given(ELEMENTS)
def test_what_is_written_is_canonical(element: Element) -> None:
    """What we write is signed as it stands: it is its own canonical form, unless it declares a namespace inside."""
    document = build_request(make_request("7.1", bytes(8), bytes(8), 1, (element,)))
    assert isinstance(document, Canonical) is (b"urn:other" not in document)
    if isinstance(document, Canonical):
        assert etree.tostring(etree.fromstring(document), method="c14n") == document


# Pieces of documents as others write them: namespaces come and go, tags end at once, text holds what it may.
PIECES = st.sampled_from(
    [
        "<sr:a>", "</sr:a>", "<b>", "</b>", "<b/>", "<sr:c/>", " ", "\n", "text", "1 > 0", "&lt;", "&#13;", "&#x41;",
        "é",
        '<b x="1">', "<b y='2'>", '<b x="&quot;&gt;"/>', '<b x="a>b"/>', '<b  x = "1" />', "<sr:a >", "</sr:a >",
        '<sr:a xmlns:sr="urn:other">', '<b xmlns="urn:default">', '<b xmlns="">', f'<q:d xmlns:q="{SR}">', "</q:d>",
        '<b sr:z="3"/>', "<!-- c -->", "<!-- <sr:a> -->", "<![CDATA[<b>]]>", "\r\n", "<q:d/>",
    ]
)  # fmt: skip


def outcome(read: Callable[[], Element | None]) -> object:
    """What reading gives: an element, None, or the text of the refusal."""
    try:
        return read()
    except DuisDecodeError as error:
        return str(error)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_reading_from_text_is_reading_from_the_tree(inside: str) -> None:
    """What the quick way reads, the parser accepts and reads as the same value; the rest it leaves to the parser."""
    document = f'<sr:Root xmlns:sr="{SR}">{inside}</sr:Root>'
    quick = scan(document)
    slow = outcome(lambda: read_element(parse_document(document.encode())))
    assert quick in (None, slow)
    assert outcome(lambda: read_document(document.encode())) == slow


BITS = (
    *("<", ">", "/", '"', "'", "&", "&amp;", "&#0;", "&#13;", "&#xFFFE;", "&x;", "<!--", "-->", "--", "<![CDATA["),
    *("]]>", "\x00", "\x01", "\n", "\t", " ", "\r", "\ufffe", "\x85", "=", ":", "<a>", "</a>", "<a/>", "<?x ?>", "/>"),
    *(" >", ' a="1"', ' a="1" a="2"', ' xmlns="urn:a"', ' xmlns:sr="urn:b"', ' xmlns:p=""', ' xmlns:p="a b"'),
    *(' xmlns:xml="http://www.w3.org/XML/1998/namespace"', ' xml:lang="en"', "x:", "xmlns:", "<!DOCTYPE a>", ' b=">"'),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A document of ours with pieces put in, taken out or doubled somewhere."""
    text = DAMAGED
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        upto = min(len(text), at + draw(st.sampled_from([0, 1, 2, 8])))
        text = text[:at] + draw(st.sampled_from(["", text[at:upto] * 2, *BITS])) + text[upto:]
    return text


DAMAGED = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<sr:A xmlns:sr="{SR}" v="1"><sr:b i="1">12<!-- c -->3</sr:b> '
    "<sr:c/><d>&amp;</d></sr:A>\n"
)


@settings(max_examples=1500)
@given(damaged())
def test_what_is_not_well_formed_is_not_read_the_quick_way(document: str) -> None:
    """The quick way decides alone whether a text is well-formed, so it must never read what the parser refuses."""
    quick = scan(document)
    if quick is not None:
        assert read_element(parse_document(document.encode())) == quick


@needs_duis
def test_published_documents_are_read_the_quick_way() -> None:
    """The quick way covers what others write, and gives the value of the slow one."""
    quick = 0
    paths = [*templates(), *sorted((DUIS / "examples").glob("*.xml"))]
    for path in paths:
        data = path.read_bytes()
        with contextlib.suppress(DuisDecodeError):
            slow = read_element(parse_document(data))
            found = scan(data.decode())
            assert found in (None, slow)
            quick += found is not None
    assert quick >= len(paths) - 4


def test_what_is_kept_between_documents_changes_nothing() -> None:
    """A start tag means what its own document says, whatever was read before; the store of tags is bounded."""
    one, other = f'<sr:A xmlns:sr="{SR}"><sr:b>1</sr:b></sr:A>', '<sr:A xmlns:sr="urn:other"><sr:b>1</sr:b></sr:A>'
    for _ in range(2):
        assert read_document(one.encode()) == Element("A", "", (Element("b", "1"),))
        assert read_document(other.encode()) == Element("{urn:other}A", "", (Element("{urn:other}b", "1"),))
    for number in range(KEPT_SCOPES_MAX + 2):
        assert read_document(f'<sr:A xmlns:sr="urn:{number}"/>'.encode()).name == f"{{urn:{number}}}A"
    assert read_document(one.encode()) == Element("A", "", (Element("b", "1"),))
    many = "".join(f"<sr:b>{number}</sr:b>" for number in range(KEPT_PIECES_MAX + 10))
    assert len(read_document(f'<sr:A xmlns:sr="{SR}">{many}</sr:A>'.encode()).children) == KEPT_PIECES_MAX + 10


@given(st.binary(max_size=200))
def test_any_bytes_give_a_tree_or_our_own_error(data: bytes) -> None:
    """Parse or raise the decode error: no other exception leaves the parser, whatever the bytes."""
    with contextlib.suppress(DuisError):
        read_element(parse_document(b"<a>" + data + b"</a>"))


def test_unwritable_values_are_refused() -> None:
    """Names, characters and mixtures that XML or DUIS cannot express are our own mistake and said so."""
    for element in (
        Element("a b"),
        Element("a", "\x00"),
        Element("a", "text", (Element("b"),)),
        Element("a", attributes=(("x:y", "1"),)),
    ):
        with pytest.raises(DuisValueError):
            write_element(element)
