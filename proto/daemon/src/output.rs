//! Where a command writes, which remembers that its reader has gone: `head`
//! reads what it wants and leaves, and that is no error.
//!
//! That a pipe broke says nothing by itself: the one to a daemon may, too.

use std::io::{self, Write};

use crate::report;

/// A writer that remembers whether its reader has gone.
#[derive(Debug)]
pub struct Output<W> {
    to: W,
    has_lost_reader: bool,
}

impl<W> Output<W> {
    /// Writes there.
    #[must_use]
    pub fn new(to: W) -> Self {
        Self {
            to,
            has_lost_reader: false,
        }
    }

    /// Whether a command failed because nobody reads what it writes.
    #[must_use]
    pub fn explains(&self, error: &anyhow::Error) -> bool {
        self.has_lost_reader && report::is_broken_pipe(error)
    }

    fn look<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done {
            self.has_lost_reader |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        done
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.look(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.look(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_has_gone_is_forgiven() {
        let broken = || anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let mut out = Output::new(Fails(io::ErrorKind::BrokenPipe));
        // As the pipe to a daemon breaks.
        assert!(!out.explains(&broken()));
        let error = writeln!(out, "x").expect_err("gone");
        assert!(out.explains(&error.into()));
        assert!(!out.explains(&anyhow::anyhow!("something else")));
        let mut full = Output::new(Fails(io::ErrorKind::StorageFull));
        let error = full.flush().expect_err("full");
        assert!(!full.explains(&error.into()));
        assert!(!full.explains(&broken()));
    }
}
