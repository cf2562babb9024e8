//! Which kind of file it is, by its first bytes and its name.

use crate::error::{Error, ErrorKind};

/// A kind of file that has text for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Paragraphs between blank lines; also what no other kind fits.
    Text,
    /// CommonMark with tables, front matter and the like.
    Markdown,
    /// HTML of any age and shape.
    Html,
    /// Source code of any language, settings, and other lines for machines.
    Code,
    /// One document a line; read it with [`crate::jsonl::Lines`].
    JsonLines,
    /// Read it in a process of its own, see [`crate::pdf`].
    Pdf,
}

impl Format {
    /// By the first bytes, and where those leave it open by the name's
    /// extension. `bytes` may be only the beginning of a file; a few thousand
    /// are enough.
    ///
    /// # Errors
    ///
    /// `Unsupported` with what it seems to be, of files that are not text.
    pub fn of(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
        if is_pdf(head) {
            return Ok(Self::Pdf);
        }
        check_is_text(head).map_err(|error| error.of(name))?;
        let (stem, extension) = split(name);
        Ok(match Self::by_extension(&extension) {
            Some(format) => format,
            None if looks_like_html(head) => Self::Html,
            None if head.starts_with(b"#!") || is_build_file(&stem) => Self::Code,
            None => Self::Text,
        })
    }

    /// The media type of such files.
    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Code => "text/x-source",
            Self::JsonLines => "application/jsonl",
            Self::Pdf => "application/pdf",
        }
    }

    fn by_extension(extension: &str) -> Option<Self> {
        let is_one_of = |extensions: &[&str]| extensions.contains(&extension);
        if is_one_of(&["md", "markdown", "mdown", "mkd", "mdx", "qmd", "rmd"]) {
            Some(Self::Markdown)
        } else if is_one_of(&["html", "htm", "xhtml", "xht"]) {
            Some(Self::Html)
        } else if is_one_of(&["jsonl", "ndjson"]) {
            Some(Self::JsonLines)
        } else if is_one_of(&[
            "txt", "text", "rst", "adoc", "asciidoc", "org", "tex", "log",
        ]) {
            Some(Self::Text)
        } else if CODE_EXTENSIONS.contains(&extension) {
            Some(Self::Code)
        } else {
            None
        }
    }
}

/// How much of a file is looked at. Programs that tell text from binary files
/// by NUL bytes look at as much.
const HEAD_BYTES: usize = 8_000;

/// A PDF may begin with other bytes, so many in practice (PDF 1.7, appendix H,
/// note 13).
const PDF_MAGIC_WITHIN: usize = 1_024;

/// Beginnings of files without text, and what they are.
const MAGIC: [(&[u8], &str); 30] = [
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"RIFF", "a RIFF picture, sound or film"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ\x90\0", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", "a Java class or Mach-O program"),
    (b"\0asm", "a WebAssembly program"),
    (b"ID3", "an MP3 sound"),
    (b"OggS", "an Ogg sound or film"),
    (b"fLaC", "a FLAC sound"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"{\\rtf", "a Rich Text document"),
    (b"%!PS", "a PostScript program"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old office document",
    ),
    (b"wOF2", "a font"),
    (b"wOFF", "a font"),
];

/// Extensions of source code and of files as regular.
const CODE_EXTENSIONS: [&str; 84] = [
    "asm", "awk", "bash", "bat", "c", "cc", "cfg", "clj", "cmake", "conf", "cpp", "cs", "css",
    "csv", "cxx", "d", "dart", "diff", "ejs", "el", "elm", "erl", "ex", "exs", "f90", "fish", "fs",
    "go", "gql", "gradle", "graphql", "groovy", "h", "hh", "hpp", "hs", "ini", "java", "jl", "js",
    "json", "json5", "jsx", "kt", "kts", "less", "lisp", "lua", "m", "mjs", "mk", "ml", "mli",
    "mm", "nim", "nix", "patch", "php", "pl", "pm", "proto", "ps1", "py", "pyi", "r", "rb", "rs",
    "sass", "scala", "scss", "sh", "sol", "sql", "svelte", "swift", "tf", "toml", "ts", "tsv",
    "tsx", "vue", "yaml", "yml", "zig",
];

/// Names of source code without an extension, in lower case.
const CODE_NAMES: [&str; 6] = [
    "makefile",
    "gnumakefile",
    "dockerfile",
    "containerfile",
    "rakefile",
    "gemfile",
];

fn is_build_file(stem: &str) -> bool {
    CODE_NAMES.contains(&stem)
}

fn is_pdf(head: &[u8]) -> bool {
    let head = head.get(..PDF_MAGIC_WITHIN).unwrap_or(head);
    memchr::memmem::find(head, b"%PDF-").is_some_and(|at| {
        // A text that only speaks of PDF files says so after other text.
        at == 0
            || !head
                .iter()
                .take(at)
                .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    })
}

fn check_is_text(head: &[u8]) -> Result<(), Error> {
    let unsupported = |what: &str| {
        let reason = format!("file is not text but {what}");
        Err(Error::new(ErrorKind::Unsupported, reason))
    };
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return unsupported(what);
    }
    let is_utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if !is_utf16 && memchr::memchr(0, head).is_some() {
        return unsupported("binary: it has NUL bytes");
    }
    Ok(())
}

/// Whether the first tag is one that only HTML has.
fn looks_like_html(head: &[u8]) -> bool {
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    let begins = |tag: &[u8]| {
        head.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") || begins(b"<body")
}

/// The last part of a path: all before its extension, and the extension, both
/// in lower case.
fn split(name: &str) -> (String, String) {
    let file = file_name(name).to_lowercase();
    match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem.into(), extension.into()),
        _ => (file, String::new()),
    }
}

/// The last part of a path.
pub(crate) fn file_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Format {
        Format::of(name, bytes).expect("text")
    }

    #[test]
    fn names_decide_where_bytes_do_not() {
        assert_eq!(of("a/b.MD", b"x"), Format::Markdown);
        assert_eq!(of("b.rs", b"x"), Format::Code);
        assert_eq!(of("Makefile", b"x"), Format::Code);
        assert_eq!(of("b.jsonl", b"{}"), Format::JsonLines);
        assert_eq!(of("b.json", b"{}"), Format::Code);
        assert_eq!(of("README", b"x"), Format::Text);
        assert_eq!(of(".profile", b"x"), Format::Text);
        assert_eq!(of("c:\\x\\b.htm", b"x"), Format::Html);
        assert_eq!(of("", b""), Format::Text);
    }

    #[test]
    fn bytes_decide_where_they_can() {
        assert_eq!(of("x.txt", b"%PDF-1.7\n\0\0"), Format::Pdf);
        assert_eq!(of("x", b"\x00\x01junk\n%PDF-1.7"), Format::Pdf);
        assert_eq!(
            of("notes", b"a file that begins with %PDF-1.7"),
            Format::Text
        );
        assert_eq!(of("x", b"\n <!DOCTYPE HTML><p>"), Format::Html);
        assert_eq!(of("x.php", b"<html>"), Format::Code);
        assert_eq!(of("run", b"#!/bin/sh\n"), Format::Code);
        assert_eq!(of("x.txt", b"\xff\xfea\0b\0"), Format::Text);
    }

    #[test]
    fn files_without_text_are_refused_with_what_they_are() {
        let refuse = |bytes: &[u8]| Format::of("d/f.md", bytes).expect_err("binary").to_string();
        assert_eq!(
            refuse(b"\x89PNG\r\n\x1a\nxx"),
            "file is not text but a PNG picture, item=d/f.md"
        );
        assert_eq!(
            refuse(b"abc\0def"),
            "file is not text but binary: it has NUL bytes, item=d/f.md"
        );
        let error = Format::of("f", b"PK\x03\x04").expect_err("binary");
        assert!(error.is_skip());
        // Further in than is looked.
        let mut late = vec![b'a'; HEAD_BYTES];
        late.push(0);
        assert_eq!(of("f", &late), Format::Text);
        late.swap(HEAD_BYTES - 1, HEAD_BYTES);
        assert!(Format::of("f", &late).is_err());
    }
}
