//! Text that files and callers brought, made safe for a terminal. Every command
//! prints such text through this; JSON is for programs and not touched.

use std::io::{self, Write};

use anyhow::anyhow;
use ginnel_daemon::report;

/// The text on one line.
pub(super) fn line(text: &str) -> String {
    let safe = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        c => is_harmless(c).then_some(c),
    });
    safe.collect()
}

/// The text with its lines and tabs.
pub(super) fn lines(text: &str) -> String {
    let is_kept = |c: &char| matches!(c, '\n' | '\t') || is_harmless(*c);
    text.chars().filter(is_kept).collect()
}

/// Writes what its reader should know, and then what to do about it.
pub(super) fn note(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut hints = Vec::new();
    let text = report::take_hints(&line(text), &mut hints);
    writeln!(out, "note: {text}")?;
    hints
        .iter()
        .try_for_each(|hint| writeln!(out, "hint: {hint}"))
}

/// The error and its causes.
pub(super) fn error(error: &anyhow::Error) -> anyhow::Error {
    let mut causes = error.chain().map(|cause| lines(&cause.to_string())).rev();
    let root = anyhow!(causes.next().unwrap_or_default());
    causes.fold(root, anyhow::Error::context)
}

/// Neither a control character, which a terminal obeys (ECMA-48), nor one that
/// shows what follows in another order (UAX #9, explicit formatting).
fn is_harmless(c: char) -> bool {
    let is_reordering = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !is_reordering
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}]0;x\u{7}\u{9b}31mb\u{7f}\r\n\tc\u{202e}d\u{2066}e";

    #[test]
    fn terminals_are_told_nothing() {
        assert_eq!(line(EVIL), "a]0;x31mb   cde");
        assert_eq!(lines(EVIL), "a]0;x31mb\n\tcde");
        for plain in ["", "notes/ä b.md", "שלום", "👩‍👩‍👧"] {
            assert_eq!(line(plain), plain);
            assert_eq!(lines(plain), plain);
        }
    }

    #[test]
    fn errors_keep_their_causes() {
        let evil = anyhow!("inner {EVIL}").context("outer\u{1b}[31m; hint: x");
        let chain: Vec<_> = error(&evil).chain().map(ToString::to_string).collect();
        assert_eq!(
            chain,
            ["outer[31m; hint: x", "inner a]0;x31mb\n\tcde"].map(String::from)
        );
    }
}
