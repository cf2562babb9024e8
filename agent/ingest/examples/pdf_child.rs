//! A program that reads a PDF from standard input and writes its text to
//! standard output, as the agent does in a process of its own. The tests
//! start it.

use std::io;

use ginnel_ingest::pdf::child;

fn main() -> io::Result<()> {
    child::main(&mut io::stdin().lock(), &mut io::stdout().lock())
}
