//! LM Studio's folder: `PUBLISHER/REPOSITORY/FILE`.

use std::io;
use std::path::Path;

use super::Seen;
use super::folder::{self, Walked};
use super::name::of_repository;

pub(super) fn find(root: &Path) -> io::Result<Vec<Seen>> {
    let seen = |Walked { file, below, stem }: Walked| {
        let repository = below.rsplit('/').nth(1).unwrap_or_default();
        Seen {
            stem: of_repository(repository, &stem),
            origin: below,
            file,
            problem: None,
        }
    };
    Ok(folder::walk(root)?.into_iter().map(seen).collect())
}
