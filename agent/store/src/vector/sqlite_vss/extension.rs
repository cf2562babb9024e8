//! Loads the extension, `vector0` and `vss0`, into one connection.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, Result};

/// Where the extension comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// `vector0` and `vss0` of the published version 0.1.2, such as the Python
    /// package `sqlite-vss` has them, in this folder. What lies there is code,
    /// and runs as part of this program.
    Folder(PathBuf),
    /// Linked into the program.
    #[cfg(feature = "vss-static")]
    Linked,
}

impl Extension {
    /// Makes it known to this connection. Whoever has the connection can load
    /// nothing else afterwards.
    ///
    /// # Errors
    /// A file is not there or cannot be loaded, or the processor cannot run it.
    pub(super) fn register(&self, connection: &Connection) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                check_processor(Processor::of_this_machine())?;
                load(connection, &find(folder, "vector0")?, "sqlite3_vector_init")?;
                load(connection, &find(folder, "vss0")?, "sqlite3_vss_init")
            }
            #[cfg(feature = "vss-static")]
            Self::Linked => super::linked::register(connection),
        }
    }
}

/// What the published files ask of a processor. They were built for AVX2
/// throughout, and a processor without it would end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processor {
    Avx2,
    OldX86,
    Other,
}

impl Processor {
    fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
        {
            return Self::Avx2;
        }
        if cfg!(target_arch = "x86_64") {
            Self::OldX86
        } else {
            Self::Other
        }
    }
}

fn check_processor(processor: Processor) -> Result<()> {
    let reason = match processor {
        Processor::Avx2 => return Ok(()),
        Processor::OldX86 => "this processor has no AVX2",
        Processor::Other => "it is published for x86-64 only",
    };
    Err(Error::invalid(format!(
        "sqlite-vss cannot run here; hint: set store.vector_engine = \"scan\", reason={reason}"
    )))
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(format!("{name}{}", std::env::consts::DLL_SUFFIX));
    if file.is_file() {
        return Ok(file);
    }
    Err(Error::new(
        ErrorKind::Missing,
        format!(
            "sqlite-vss is not there; hint: install the Python package sqlite-vss 0.1.2 and set \
             store.vss_dir to its folder, file={}",
            file.display()
        ),
    ))
}

fn load(connection: &Connection, file: &Path, entry: &str) -> Result<()> {
    #[expect(unsafe_code, reason = "an extension is native code")]
    // SAFETY: loading runs the library's initialisers and its entry point. Both
    // libraries are those that the user named for this, for a processor that was
    // checked. Loading is allowed only until the guard is gone, at the end of
    // this block, and not from SQL.
    let loaded = unsafe {
        rusqlite::LoadExtensionGuard::new(connection)
            .and_then(|_guard| connection.load_extension(file, Some(entry)))
    };
    loaded.map_err(|reason| {
        Error::new(
            ErrorKind::Missing,
            format!(
                "sqlite-vss cannot be loaded; hint: on Debian and Ubuntu, apt install libgomp1 \
                 libblas3 liblapack3, file={}, reason={reason}",
                file.display()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_avx2_is_refused_before_anything_is_loaded() {
        check_processor(Processor::Avx2).expect("can run");
        for (processor, reason) in [
            (Processor::OldX86, "no AVX2"),
            (Processor::Other, "x86-64 only"),
        ] {
            let error = check_processor(processor).expect_err("cannot run");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains(reason) && text.contains("hint: "), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let extension = Extension::Folder(folder.path().to_owned());
        let connection = Connection::open_in_memory().expect("open");
        let text = |kind| {
            let error = extension.register(&connection).expect_err("nothing there");
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        };
        if Processor::of_this_machine() != Processor::Avx2 {
            return assert!(text(ErrorKind::Invalid).contains("cannot run here"));
        }
        let missing = text(ErrorKind::Missing);
        assert!(missing.contains("vector0.") && missing.contains("store.vss_dir"));
        let file = format!("vector0{}", std::env::consts::DLL_SUFFIX);
        std::fs::write(folder.path().join(file), "no library").expect("written");
        let broken = text(ErrorKind::Missing);
        assert!(broken.contains("vector0.") && broken.contains("libgomp1 libblas3 liblapack3"));
    }
}
