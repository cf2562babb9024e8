//! About how many tokens a text has, for want of a model's tokenizer.

/// About as many tokens as models make of text in languages they know, without
/// those that begin and end an input: a word counts one, and one more for
/// every [`LETTERS_PER_TOKEN`] letters beyond [`LETTERS_IN_FIRST`]; every other
/// mark counts one, and so does every Chinese, Japanese or Korean character.
///
/// Against BERT's English vocabulary, over whole files of English prose,
/// Markdown, Rust and Python, nine in ten are within a tenth.
///
/// Additive: cut between two words, both parts together count what the whole
/// does.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    let mut tokens = 0;
    let mut letters = 0_usize;
    for byte in text.bytes() {
        match CLASS[usize::from(byte)] {
            Class::Letter => letters += 1,
            Class::Within => {}
            Class::Space => {
                tokens += word_tokens(letters);
                letters = 0;
            }
            Class::Mark => {
                tokens += word_tokens(letters) + 1;
                letters = 0;
            }
        }
    }
    tokens + word_tokens(letters)
}

/// Letters of a word's first token.
const LETTERS_IN_FIRST: usize = 6;

/// Letters of each further token.
const LETTERS_PER_TOKEN: usize = 3;

fn word_tokens(letters: usize) -> usize {
    if letters == 0 {
        return 0;
    }
    1 + letters
        .saturating_sub(LETTERS_IN_FIRST)
        .div_ceil(LETTERS_PER_TOKEN)
}

#[derive(Clone, Copy)]
enum Class {
    Letter,
    /// Not the first byte of a character.
    Within,
    Space,
    Mark,
}

/// What a byte of UTF-8 says of its character by itself.
const CLASS: [Class; 256] = {
    let mut class = [Class::Letter; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte {
            0..=32 => Class::Space,
            48..=57 | 65..=90 | 97..=122 => Class::Letter,
            33..=127 => Class::Mark,
            0x80..=0xbf => Class::Within,
            // Latin with marks, Greek, Cyrillic, Arabic; then scripts of India
            // and its neighbours.
            0xc0..=0xe1 => Class::Letter,
            // Punctuation and symbols, Chinese, Japanese, Korean, emoji.
            _ => Class::Mark,
        };
        byte += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_marks_and_characters_count() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("The quick fox."), 4);
        assert_eq!(estimate_tokens("internationalization"), 6);
        assert_eq!(estimate_tokens("Съешь ещё булок"), 3);
        assert_eq!(estimate_tokens("今日は晴れ。"), 6);
        assert_eq!(estimate_tokens("a  \n b"), 2);
    }

    #[test]
    fn parts_count_what_the_whole_does() {
        let text = "One two-three, «quatre» пять 六七 eight!";
        for (at, _) in text.match_indices(' ') {
            let parts = estimate_tokens(&text[..at]) + estimate_tokens(&text[at..]);
            assert_eq!(parts, estimate_tokens(text));
        }
    }
}
