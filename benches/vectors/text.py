"""Real English text: documentation and dictionaries from Debian's packages.

Gives windows of 16 to 40 words, each different from all others,
in the order of the packages, their files and the text.
"""

import gzip
import hashlib
import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Chosen for much prose of different kinds. Their text is only embedded, never
# passed on.
PACKAGES = [
    "anarchism",
    "dict-gcide",
    "dict-wn",
    "linux-doc-6.1",
    "python3.11-doc",
    "perl-doc",
    "git-doc",
    "debian-reference-en",
    "debian-handbook",
    "libreoffice-help-en-us",
    "postgresql-doc-15",
    "python-django-doc",
    "octave-doc",
    "erlang-doc",
    "libboost1.81-doc",
    "openjdk-17-doc",
    "rust-doc",
    "scala-doc",
    "libgtk-4-doc",
    "python-scipy-doc",
    "python-pandas-doc",
    "python-sympy-doc",
    "gnome-user-docs",
    "gimp-help-en",
    "fp-docs-3.2.2",
    "libcommons-math3-java-doc",
    "libeigen3-doc",
    "cmake-doc",
    "nodejs-doc",
    "sqlite3-doc",
    "swi-prolog-doc",
    "llvm-14-doc",
    "lilypond-doc-html",
    "gap-doc",
    "emacs-common",
    "dict-foldoc",
    "dict-jargon",
    "qtbase5-doc-html",
    "sagemath-doc",
    "qtdeclarative5-doc-html",
    "ghc-doc",
]

WORDS_MIN = 16
WORDS_MAX = 40
# Frequent in English, and rare in other languages.
FUNCTION_WORDS = frozenset("a and are be by for from has if is it not of or that the this to which with you".split())
DROPPED = re.compile(r"<(script|style|head|nav|pre|svg|math|table)\b.*?</\1\s*>|<!--.*?-->", re.S | re.I)
BLOCK = re.compile(r"</?(p|div|li|ul|ol|dl|dt|dd|h[1-6]|td|tr|br|section|blockquote|article)\b[^>]*>", re.I)
TAG = re.compile(r"<[^>]*>")
EMPTY_LINE = re.compile(r"\n\s*\n")
SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+")


def windows(folder: Path) -> Iterator[str]:
    """All windows of all packages, which are unpacked below `folder`."""
    seen: set[bytes] = set()
    for package in PACKAGES:
        count = 0
        for paragraph in paragraphs(unpacked(folder, package)):
            if not is_prose(paragraph):
                continue
            for window in cut(paragraph):
                digest = hashlib.blake2b(re.sub(r"\W+", " ", window.lower()).encode(), digest_size=12).digest()
                if digest not in seen:
                    seen.add(digest)
                    count += 1
                    yield window
        print(f"  {package}: {count:,} windows", flush=True)


def unpacked(folder: Path, package: str) -> Path:
    """The files of a package."""
    target = folder / package
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet=2", "--option=APT::Sandbox::User=root", package], cwd=folder, check=True)
        archive = next(folder.glob(f"{package}_*.deb"))
        partial = folder / f"{package}.partial"
        subprocess.run(["dpkg-deb", "--extract", archive, partial], check=True)
        (partial / "archive-name").write_text(archive.name)
        archive.unlink()
        partial.rename(target)
    print(f"  {(target / 'archive-name').read_text()}", flush=True)
    return target


def paragraphs(package: Path) -> Iterator[str]:
    """Everything between empty lines or block elements."""
    for path in sorted(path for path in package.rglob("*") if path.is_file() and not path.is_symlink()):
        suffix = path.suffix
        if suffix in (".html", ".htm", ".page"):
            markup = DROPPED.sub("\n\n", path.read_text("utf-8", "replace"))
            text = html.unescape(TAG.sub(" ", BLOCK.sub("\n\n", markup)))
        elif suffix in (".txt", ".rst", ".pod"):
            text = path.read_text("utf-8", "replace")
        elif suffix == ".dz" or path.name.endswith((".txt.gz", ".html.gz", ".info.gz")):
            text = TAG.sub(" ", gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
        else:
            continue
        yield from (" ".join(part.split()) for part in EMPTY_LINE.split(text))


def is_prose(paragraph: str) -> bool:
    """English sentences, rather than code, tables or another language."""
    if len(paragraph) < 80:
        return False
    words = paragraph.lower().split()
    letters = sum(map(str.isalpha, paragraph)) + len(words)
    common = sum(word in FUNCTION_WORDS for word in words)
    return letters >= 0.85 * len(paragraph) and 10 * common >= len(words) >= WORDS_MIN


def cut(paragraph: str) -> Iterator[str]:
    """Windows that begin and end with a sentence where it is not too long."""
    window: list[str] = []
    for sentence in SENTENCE_END.split(paragraph):
        words = sentence.split()
        if window and len(window) + len(words) > WORDS_MAX:
            if len(window) >= WORDS_MIN:
                yield " ".join(window)
            window = []
        window += words
        while len(window) > WORDS_MAX:
            yield " ".join(window[:WORDS_MAX])
            window = window[WORDS_MAX:]
    if len(window) >= WORDS_MIN:
        yield " ".join(window)
