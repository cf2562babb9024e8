//! Text strings of a PDF's own (ISO 32000-2, 7.9.2.2), and letters made
//! simple.

use crate::decode::decode as decode_marked;

/// A text string; none if nothing of it shows. Without a mark it is in
/// PDFDocEncoding, of which all letters but a few marks are those of Latin-1.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let is_marked = bytes.starts_with(b"\xfe\xff")
        || bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xef\xbb\xbf");
    let text = if is_marked {
        decode_marked(bytes).ok()?.text.into_owned()
    } else {
        bytes.iter().copied().map(char::from).collect()
    };
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Adds letters as they are searched: two for a ligature, none for what does
/// not show.
pub(super) fn push_plain(line: &mut String, letters: &str) {
    for letter in letters.chars() {
        match letter {
            '\u{fb00}' => line.push_str("ff"),
            '\u{fb01}' => line.push_str("fi"),
            '\u{fb02}' => line.push_str("fl"),
            '\u{fb03}' => line.push_str("ffi"),
            '\u{fb04}' => line.push_str("ffl"),
            '\u{fb05}' | '\u{fb06}' => line.push_str("st"),
            '\u{200b}' | '\u{feff}' => {}
            _ if letter.is_control() => {}
            _ if letter.is_whitespace() => {
                if !line.ends_with(' ') && !line.is_empty() {
                    line.push(' ');
                }
            }
            _ => line.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_utf16_or_latin() {
        assert_eq!(decode(b"\xfe\xff\0A\x20\xac").as_deref(), Some("A€"));
        assert_eq!(decode(b"\xef\xbb\xbf\xc3\xa9").as_deref(), Some("é"));
        assert_eq!(decode(b" caf\xe9\0 ").as_deref(), Some("café"));
        assert_eq!(decode(b" \n"), None);
    }

    #[test]
    fn ligatures_are_spelt_and_spaces_are_one() {
        let mut line = String::new();
        push_plain(&mut line, " ");
        for letters in ["ﬁ", "n", " ", "\u{a0}", "o\u{ad}ﬄ", "\u{1}e"] {
            push_plain(&mut line, letters);
        }
        assert_eq!(line, "fin o\u{ad}ffle");
    }
}
