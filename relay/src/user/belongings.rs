//! The objects of a user.

use std::collections::BTreeSet;

use futures_util::stream::TryStreamExt as _;
use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::UserName;

use crate::objects::error::Result;
use crate::objects::layout::{Beside, KnowledgePlace, Place, Shelf, beside};
use crate::objects::{Bucket, Listed};
use crate::sync::catalog::Catalog;

/// The objects of a user.
#[derive(Debug, Default)]
pub struct Belongings {
    /// All of them, each once.
    pub objects: Vec<Listed>,
    /// Uploads that were not completed: of which object, and their names.
    pub uploads: Vec<(object_store::path::Path, String)>,
    /// The names that they own on shelves for all, whether anything has them or not.
    pub names: Vec<Name>,
}

/// A name on a shelf for all, which stays its owner's.
#[derive(Debug, Clone)]
pub struct Name {
    /// What has or had it.
    pub artifact: Artifact,
    /// Where it lies.
    pub place: Place,
    /// Whether nothing has it any more.
    pub is_bare: bool,
}

impl Belongings {
    /// Bytes that they have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

/// Finds everything that a user has in the bucket: what lies in folders of their
/// name, and what they own on shelves for all.
///
/// # Errors
/// The bucket's.
pub async fn find(bucket: &Bucket, catalog: &Catalog, user: &UserName) -> Result<Belongings> {
    let mut found = Belongings::default();
    let mut known = BTreeSet::new();
    let mut add = |objects: &mut Vec<Listed>, object: Listed| {
        if known.insert(object.key.clone()) {
            objects.push(object);
        }
    };
    let own = [
        KnowledgePlace::all(user),
        Shelf::ModelsOf(user.clone()).all(),
    ];
    for folder in own {
        let mut listed = bucket.list(&folder);
        while let Some(object) = listed.try_next().await? {
            add(&mut found.objects, object);
        }
    }
    let shelves = Shelf::of(user)
        .into_iter()
        .chain([Shelf::KnowledgeOf(user.clone())]);
    for shelf in shelves {
        let listed = catalog.list(&shelf).await?;
        // An index is of all who have the same bytes there.
        let others = listed.iter().filter(|(_, entry)| entry.owner != *user);
        let others = others.filter_map(|(_, entry)| entry.published.as_ref());
        let others: BTreeSet<Hash> = others.map(|published| published.blob).collect();
        for (artifact, entry) in listed {
            if entry.owner != *user {
                continue;
            }
            let place = Place::of(&artifact, user);
            if let Some(publishing) = entry.publishing.as_ref().filter(|it| !it.is_removal()) {
                let upload = (place.object().clone(), publishing.upload.clone());
                found.uploads.push(upload);
            }
            let mut keys = vec![place.object().clone()];
            if let Artifact::Lora(id) = &artifact {
                keys.extend([Beside::Readme, Beside::Metadata].map(|what| beside(id, what)));
            }
            let published = entry.published.as_ref().map(|published| published.blob);
            let publishing = entry.publishing.as_ref().map(|publishing| publishing.blob);
            let blobs = published.into_iter().chain(publishing);
            let blobs = blobs.filter(|blob| !others.contains(blob));
            keys.extend(blobs.map(|blob| place.index(&blob)));
            if shelf.is_shared() {
                found.names.push(Name {
                    is_bare: published.is_none() && publishing.is_none(),
                    artifact,
                    place: place.clone(),
                });
            }
            // Last, so that what is left of a deletion is found again.
            keys.push(place.entry());
            for key in keys {
                if let Some(object) = bucket.head(&key).await? {
                    add(&mut found.objects, object);
                }
            }
        }
    }
    Ok(found)
}
