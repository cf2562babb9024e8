//! Where sentences end, by the rules of Unicode (UAX #29, sentence
//! boundaries) with what they leave to the language: abbreviations, numbers
//! of lists, and lines that are wrapped.
//!
//! One pass over the bytes. A doubtful place is no border: a sentence too
//! long does less harm than half a one.

/// Words that end in a full stop without ending a sentence, in lower case.
const ABBREVIATIONS: [&str; 47] = [
    "dr", "mr", "mrs", "ms", "prof", "st", "jr", "sr", "gen", "col", "lt", "capt", "rev", "hon",
    "vs", "cf", "fig", "figs", "eq", "eqs", "sec", "ch", "vol", "no", "nos", "nr", "pp", "ed",
    "eds", "approx", "ca", "inc", "ltd", "co", "corp", "dept", "est", "al", "resp", "viz", "bzw",
    "usw", "hr", "fr", "hrn", "abb", "mme",
];

/// Longest word looked at before a full stop, in bytes: more than any
/// abbreviation has.
const WORD_BYTES_MAX: usize = 16;

/// Most characters looked at for the letter that begins the next sentence:
/// quotes and brackets come before it.
const OPENERS_MAX: usize = 4;

/// The sentences of a paragraph: start and end of each, without white space
/// around it.
pub(crate) fn sentences(paragraph: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = paragraph.get(at..)?;
        let start = at + (rest.len() - rest.trim_start().len());
        let sentence = paragraph.get(start..).filter(|rest| !rest.is_empty())?;
        let length = first_sentence(sentence);
        at = start + length;
        let end = start + sentence.get(..length)?.trim_end().len();
        Some((start, end))
    })
}

/// The length of the first sentence of a text that begins with one, in bytes.
/// Never zero for a text that is not empty.
fn first_sentence(text: &str) -> usize {
    let mut at = 0;
    while let Some(mark) = next_mark(text, at) {
        at = mark.end;
        let rest = text.get(at..).unwrap_or_default();
        let ends = match mark.kind {
            MarkKind::LineEnd => begins_list_item(rest),
            MarkKind::Stop => ends_by_stop(text, &mark, rest),
            MarkKind::WideStop => !rest.is_empty(),
        };
        if ends {
            return at;
        }
    }
    text.len()
}

struct Mark {
    kind: MarkKind,
    /// Where the marks begin: what is before is the word they follow.
    start: usize,
    /// After the marks and the quotes and brackets that close with them.
    end: usize,
}

enum MarkKind {
    /// `.`, `!`, `?` and their likes, after which comes white space.
    Stop,
    /// Full stops of scripts that need no white space after them.
    WideStop,
    /// The end of a line.
    LineEnd,
}

fn next_mark(text: &str, from: usize) -> Option<Mark> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        let byte = *bytes.get(at)?;
        if !may_begin_mark(byte) {
            at += 1;
            continue;
        }
        let rest = bytes.get(at..)?;
        let Some((kind, length)) = mark(rest) else {
            at += 1;
            continue;
        };
        let end = match kind {
            MarkKind::LineEnd => at + length,
            MarkKind::Stop | MarkKind::WideStop => after_closers(text, at + length),
        };
        let start = at;
        return Some(Mark { kind, start, end });
    }
}

/// The bytes marks begin with: a quick look before the long one.
fn may_begin_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'.' | b'!' | b'?' | b'\n' | 0xd6 | 0xd8 | 0xdb | 0xe0 | 0xe1 | 0xe2 | 0xe3 | 0xef
    )
}

fn mark(rest: &[u8]) -> Option<(MarkKind, usize)> {
    let (kind, length) = match *rest {
        [b'\n', ..] => (MarkKind::LineEnd, 1),
        [b'.' | b'!' | b'?', ..] => (MarkKind::Stop, 1),
        // Armenian, Arabic.
        [0xd6, 0x89, ..] | [0xd8, 0x9f, ..] | [0xdb, 0x94, ..] => (MarkKind::Stop, 2),
        // Devanagari and its neighbours; Burmese, Ethiopic, Khmer.
        [0xe0, 0xa5, 0xa4 | 0xa5, ..]
        | [0xe1, 0x81, 0x8a | 0x8b, ..]
        | [0xe1, 0x8d, 0xa2, ..]
        | [0xe1, 0x9f, 0x94, ..]
        // … ‼ ⁇ ⁈ ⁉
        | [0xe2, 0x80, 0xa6 | 0xbc, ..]
        | [0xe2, 0x81, 0x87..=0x89, ..] => (MarkKind::Stop, 3),
        // 。！．？｡
        [0xe3, 0x80, 0x82, ..] | [0xef, 0xbc, 0x81 | 0x8e | 0x9f, ..] | [0xef, 0xbd, 0xa1, ..] => {
            (MarkKind::WideStop, 3)
        }
        _ => return None,
    };
    Some((kind, length))
}

/// After more marks and all that closes with them.
fn after_closers(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let is_closer = |character| {
        matches!(
            character,
            '.' | '!'
                | '?'
                | '…'
                | ')'
                | ']'
                | '}'
                | '"'
                | '\''
                | '*'
                | '_'
                | '`'
                | '”'
                | '’'
                | '»'
                | '«'
                | '“'
                | '」'
                | '』'
                | '）'
                | '】'
                | '》'
                | '〉'
                | '。'
                | '！'
                | '？'
        )
    };
    let closers = rest.len() - rest.trim_start_matches(is_closer).len();
    from + closers
}

/// Whether a full stop and its likes end the sentence, `rest` being what
/// follows.
fn ends_by_stop(text: &str, mark: &Mark, rest: &str) -> bool {
    if !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let next = rest
        .trim_start()
        .chars()
        .take(OPENERS_MAX)
        .find(|letter| letter.is_alphanumeric());
    if next.is_some_and(char::is_lowercase) {
        return false;
    }
    let is_full_stop = text.as_bytes().get(mark.start) == Some(&b'.');
    !(is_full_stop && mark.end == mark.start + 1 && is_abbreviation(text, mark.start))
}

/// Whether the word before the full stop at `at` is usually written with one.
fn is_abbreviation(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let reach = before.len().min(WORD_BYTES_MAX);
    let letters = before
        .iter()
        .rev()
        .take(reach)
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.')
        .count();
    let word = before.get(at - letters..).unwrap_or_default();
    // The number of a list's point, or of a heading.
    if letters == at
        && word
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
    {
        return true;
    }
    let is_letter = matches!(word, [letter] if letter.is_ascii_alphabetic() && *letter != b'I');
    // «e.g.», «U.S.», but not «file.txt.»
    let has_single_letters = word.contains(&b'.')
        && word
            .split(|byte| *byte == b'.')
            .all(|part| part.len() == 1 && part.iter().all(u8::is_ascii_alphabetic));
    is_letter
        || has_single_letters
        || ABBREVIATIONS
            .iter()
            .any(|abbreviation| word.eq_ignore_ascii_case(abbreviation.as_bytes()))
}

/// Whether a line begins a point of a list.
pub(crate) fn begins_list_item(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t']);
    let after = line.trim_start_matches(['-', '*', '•', '+', '–']);
    let marks = line.len() - after.len();
    if (1..=3).contains(&marks) && after.starts_with([' ', '\t']) {
        return true;
    }
    let after = line.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let digits = line.len() - after.len();
    let after = after.strip_prefix(['.', ')']).unwrap_or_default();
    (1..=3).contains(&digits) && after.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text)
            .map(|(start, end)| &text[start..end])
            .collect()
    }

    #[track_caller]
    fn check(parts: &[&str]) {
        assert_eq!(cut(&parts.join(" ")), parts);
    }

    #[test]
    fn sentences_end_at_their_marks() {
        check(&[
            "It rains.",
            "Does it?",
            "Yes!",
            "Well… perhaps.",
            "(It did.)",
            "“No.”",
            "So.",
        ]);
        check(&["He asked “why?” and left.", "“Stop!” he said."]);
        check(&["Really?!", "Yes..."]);
    }

    #[test]
    fn abbreviations_and_numbers_do_not_end_them() {
        check(&["Dr. Smith and J. R. Brown met Mrs. Hall at 3.14 p.m. on Fig. 3."]);
        check(&[
            "Use tools, e.g. Git, i.e. the program, cf. No. 7 of the U.S. Army.",
            "Next.",
        ]);
        check(&["1. First point.", "2. Second."]);
        check(&["It was in 1999.", "Then came 2000."]);
        check(&["See file.txt.", "It is there.", "So do I.", "End."]);
        check(&["The method of Smith et al. Has merit."]);
        check(&[
            "version 1.2.3 is out.",
            "Get it at example.com/a.b?c=d today.",
        ]);
    }

    #[test]
    fn wrapped_lines_go_on_and_points_of_a_list_do_not() {
        assert_eq!(
            cut("One line\nand its rest.\nNext."),
            ["One line\nand its rest.", "Next."]
        );
        assert_eq!(
            cut("Buy:\n- milk\n  of cows\n* bread\n1. one\n12) twelve\n1999 was good"),
            [
                "Buy:",
                "- milk\n  of cows",
                "* bread",
                "1. one",
                "12) twelve\n1999 was good"
            ]
        );
    }

    #[test]
    fn other_scripts_have_their_own_stops() {
        assert_eq!(
            cut("今日は晴れ。「はい。」明日は？雨！"),
            ["今日は晴れ。", "「はい。」", "明日は？", "雨！"]
        );
        assert_eq!(cut("यह है। वह है॥ हाँ"), ["यह है।", "वह है॥", "हाँ"]);
        assert_eq!(cut("هل هذا؟ نعم."), ["هل هذا؟", "نعم."]);
        assert_eq!(cut("Это так. Да."), ["Это так.", "Да."]);
    }

    proptest! {
        #[test]
        fn sentences_hold_all_that_shows_in_order(text in "[a-zA-Z0-9 .!?\n\"()。？«é\u{85}-]{0,120}") {
            let mut shown = String::new();
            let mut last = 0;
            for (start, end) in sentences(&text) {
                prop_assert!(last <= start && start < end);
                prop_assert_eq!(text[start..end].trim(), &text[start..end]);
                shown.push_str(&text[start..end]);
                last = end;
            }
            let dense = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(dense(&shown), dense(&text));
        }
    }
}
