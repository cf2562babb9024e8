//! What the elements of HTML mean for text.

/// The first bytes of an element's name: enough to tell apart all that mean
/// something here.
pub(super) type Name = [u8; 10];

pub(super) fn name(name: &[u8]) -> Name {
    let mut short = Name::default();
    for (place, byte) in short.iter_mut().zip(name) {
        *place = *byte;
    }
    short
}

/// What an element does to the text inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// None: it stands inside a line.
    Inline,
    /// It stands in a block of its own.
    Block,
    Heading(u8),
    /// White space counts.
    Preformatted,
    /// A list: the number of the next item, if its items have numbers.
    List(Option<u64>),
    Item,
    Row,
    Cell,
    /// It does not show.
    Hidden,
    /// It leads elsewhere: left out unless there is nothing else.
    Navigation,
    /// The document's title.
    Title,
}

pub(super) fn effect(name: &[u8]) -> Effect {
    match name {
        b"h1" => Effect::Heading(1),
        b"h2" => Effect::Heading(2),
        b"h3" => Effect::Heading(3),
        b"h4" => Effect::Heading(4),
        b"h5" => Effect::Heading(5),
        b"h6" => Effect::Heading(6),
        b"pre" | b"listing" | b"xmp" | b"plaintext" => Effect::Preformatted,
        b"ol" => Effect::List(Some(1)),
        b"ul" | b"menu" | b"dir" | b"dl" => Effect::List(None),
        b"li" | b"dt" | b"dd" => Effect::Item,
        b"tr" => Effect::Row,
        b"td" | b"th" => Effect::Cell,
        b"title" => Effect::Title,
        b"nav" => Effect::Navigation,
        // Programs, drawings, and what only shows without scripts; then
        // controls, whose words are no content.
        b"script" | b"style" | b"template" | b"noscript" | b"svg" | b"iframe" | b"object"
        | b"canvas" | b"audio" | b"video" | b"noframes" | b"noembed" | b"button" | b"select"
        | b"datalist" | b"textarea" => Effect::Hidden,
        b"address" | b"article" | b"aside" | b"blockquote" | b"body" | b"caption" | b"center"
        | b"details" | b"dialog" | b"div" | b"fieldset" | b"figcaption" | b"figure" | b"footer"
        | b"form" | b"frameset" | b"head" | b"header" | b"hgroup" | b"hr" | b"html" | b"legend"
        | b"main" | b"optgroup" | b"option" | b"p" | b"search" | b"section" | b"summary"
        | b"table" | b"tbody" | b"tfoot" | b"thead" => Effect::Block,
        _ => Effect::Inline,
    }
}

/// Whether it has no end tag and nothing inside.
pub(super) fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"basefont"
            | b"bgsound"
            | b"br"
            | b"col"
            | b"embed"
            | b"frame"
            | b"hr"
            | b"img"
            | b"input"
            | b"keygen"
            | b"link"
            | b"meta"
            | b"param"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

/// Whether the end tag of a table's part closes cells around it; other end
/// tags do not reach out of the cell they stand in.
pub(super) fn closes_cells(name: &[u8]) -> bool {
    matches!(
        name,
        b"table" | b"tbody" | b"thead" | b"tfoot" | b"tr" | b"td" | b"th" | b"body" | b"html"
    )
}

/// Whether a start tag ends an open element of that name, as `<li>` ends the
/// item before it.
pub(super) fn ends_open(tag: &[u8], open: Name) -> bool {
    let is_open = |names: &[&[u8]]| names.iter().any(|closed| name(closed) == open);
    match tag {
        b"li" => is_open(&[b"li", b"p"]),
        b"dt" | b"dd" => is_open(&[b"dt", b"dd", b"p"]),
        b"td" | b"th" => is_open(&[b"td", b"th", b"p"]),
        b"tr" => is_open(&[b"tr", b"td", b"th", b"p"]),
        b"tbody" | b"thead" | b"tfoot" => {
            is_open(&[b"tbody", b"thead", b"tfoot", b"tr", b"td", b"th", b"p"])
        }
        b"option" | b"optgroup" => is_open(&[b"option"]),
        b"body" => is_open(&[b"head"]),
        _ => name(b"p") == open && is_block(tag),
    }
}

fn is_block(tag: &[u8]) -> bool {
    match effect(tag) {
        Effect::Block
        | Effect::Heading(_)
        | Effect::Preformatted
        | Effect::List(_)
        | Effect::Item
        | Effect::Navigation => true,
        Effect::Row | Effect::Cell | Effect::Inline | Effect::Hidden | Effect::Title => false,
    }
}
