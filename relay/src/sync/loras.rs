//! What is told of adapters beside their bytes:
//!
//! ```text
//! GET  /loras              all that the device's user may see
//! GET  /loras/ID           one
//! PUT  /loras/ID           its owner describes it, once it is pushed
//! POST /loras/ID/rating    somebody else says how good it is
//! POST /done/NAME          all bytes of a version have arrived: needs If-Match
//! ```
//!
//! `README.md` goes into the bucket first, then `metadata.json`, then the
//! entry, then the registry's row: each is worth nothing without the one
//! before.

use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, LoraId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sync;
use super::catalog::Written;
use super::declined::Declined;
use super::entry::{Entry, Wish};
use crate::objects::Etag;
use crate::objects::error;
use crate::objects::layout::{Beside, Place, beside};
use crate::registry::Registry;
use crate::registry::loras::{Lora, LoraCard};

/// The longest body of these requests, in bytes: a README and what it takes to
/// be JSON.
pub(super) const BODY_MAX: usize = 512 << 10;

/// The longest metadata, in bytes: what an owner says fits many times.
const METADATA_MAX: usize = 64 << 10;

/// The longest README, in bytes.
const README_MAX: usize = 256 << 10;

/// The longest texts, in bytes.
const LINE_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 4000;

/// The most that an adapter costs: a million, in cents.
const PRICE_MAX: u32 = 100_000_000;

/// What an owner says of an adapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    description: Option<String>,
    domain: String,
    base_model: String,
    version: String,
    #[serde(default)]
    is_public: bool,
    #[serde(default)]
    price_cents: u32,
    readme: Option<String>,
}

/// What somebody says of an adapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rated {
    stars: u8,
}

impl Sync {
    /// The metadata of an adapter that was described names the version that is
    /// published now: it is what tells others that the adapter is complete.
    pub(super) async fn renew_metadata(
        &self,
        id: &LoraId,
        wish: &Wish<'_>,
        etag: &Etag,
    ) -> error::Result<()> {
        let key = beside(id, Beside::Metadata);
        let Some(small) = self.bucket.read(&key, METADATA_MAX).await? else {
            return Ok(());
        };
        let Ok(Value::Object(mut metadata)) = serde_json::from_slice(&small.bytes) else {
            return Ok(());
        };
        metadata.insert("blob".to_owned(), json!(wish.blob.to_string()));
        metadata.insert("etag".to_owned(), json!(etag.as_str()));
        metadata.insert("size".to_owned(), json!(wish.size));
        let bytes = serde_json::to_vec_pretty(&metadata).unwrap_or_default();
        self.catalog.write_beside(&key, bytes.into()).await
    }
}

/// Where these requests are answered.
pub(super) struct Shop<'a> {
    pub(super) sync: &'a Sync,
    pub(super) registry: &'a Registry,
    pub(super) device: &'a DeviceId,
}

impl Shop<'_> {
    pub(super) async fn list(&self) -> Result<Value, Declined> {
        let loras = self.registry.loras(self.device.user.clone()).await?;
        let loras: Vec<Value> = loras.iter().map(|lora| self.shown(lora)).collect();
        Ok(json!({ "loras": loras }))
    }

    pub(super) async fn show(&self, id: &LoraId) -> Result<Value, Declined> {
        let found = self.registry.lora(id.clone(), self.device.user.clone());
        match found.await? {
            Some(lora) => Ok(self.shown(&lora)),
            None => Err(Declined::missing(format_args!("loras/{id}"))),
        }
    }

    /// Describes an adapter that is published.
    pub(super) async fn describe(&self, id: &LoraId, body: &[u8]) -> Result<Value, Declined> {
        let described: Described = read(body)?;
        let artifact = Artifact::Lora(id.clone());
        let place = Place::of(&artifact, &self.device.user);
        let card = self.card(id, &place, &described)?;
        let now = self.sync.catalog.read(&place).await?;
        let Some(now) = now.filter(|now| now.entry.published.is_some()) else {
            let what = format_args!(
                "there is nothing to describe yet, name={artifact}; hint: push the adapter first"
            );
            return Err(Declined::new(Code::NoArtifact, what));
        };
        if now.entry.owner != self.device.user {
            Entry::is_free(Some(&now.entry), self.device, self.sync.now_ms())
                .map_err(Declined::conflict)?;
        }
        if let Some(readme) = &described.readme {
            let key = beside(id, Beside::Readme);
            self.sync
                .catalog
                .write_beside(&key, readme.clone().into())
                .await?;
        }
        let published = now.entry.published.as_ref();
        let metadata = json!({
            "id": id.as_str(),
            "owner": card.owner.as_str(),
            "name": card.name,
            "description": card.description,
            "domain": card.domain,
            "base_model": card.base_model,
            "r2_key": card.r2_key,
            "version": card.version,
            "is_public": card.is_public,
            "price_cents": card.price_cents,
            "blob": published.map(|it| it.blob.to_string()),
            "etag": published.map(|it| &it.etag),
            "size": published.map(|it| it.size),
        });
        let bytes = serde_json::to_vec_pretty(&metadata).unwrap_or_default();
        let key = beside(id, Beside::Metadata);
        self.sync.catalog.write_beside(&key, bytes.into()).await?;
        if now.entry.public != card.is_public {
            let entry = now.entry.shown_to_all(card.is_public);
            let written = self.sync.catalog.write(&place, Some(&now), entry).await?;
            if !matches!(written, Written::Yes(_)) {
                return Err(Declined::busy());
            }
        }
        let now_ms = i64::try_from(self.sync.now_ms()).unwrap_or(i64::MAX);
        self.registry.put_lora(card, now_ms).await?;
        self.show(id).await
    }

    pub(super) async fn rate(&self, id: &LoraId, body: &[u8]) -> Result<Value, Declined> {
        let Rated { stars } = read(body)?;
        let user = self.device.user.clone();
        match self.registry.rate_lora(id.clone(), user, stars).await? {
            Some(lora) => Ok(self.shown(&lora)),
            None => Err(Declined::missing(format_args!("loras/{id}"))),
        }
    }

    /// All bytes of the blob have arrived at the device.
    pub(super) async fn done(
        &self,
        artifact: &Artifact,
        blob: [u8; 32],
    ) -> Result<Value, Declined> {
        if let Artifact::Lora(id) = artifact {
            let who = (self.device.user.clone(), self.device.device.clone());
            self.registry.count_download(id.clone(), who, blob).await?;
        }
        Ok(json!({ "noted": artifact.to_string() }))
    }

    /// Takes away what lies beside an adapter that is removed.
    pub(super) async fn remove(&self, id: &LoraId) -> Result<(), Declined> {
        for what in [Beside::Metadata, Beside::Readme] {
            self.sync.bucket.delete(&beside(id, what)).await?;
        }
        Ok(self.registry.remove_lora(id.clone()).await?)
    }

    fn card(&self, id: &LoraId, place: &Place, told: &Described) -> Result<LoraCard, Declined> {
        let wrong = |what: &dyn std::fmt::Display| Declined::new(Code::BadRequest, what);
        for (field, text) in [
            ("name", &told.name),
            ("domain", &told.domain),
            ("base_model", &told.base_model),
            ("version", &told.version),
        ] {
            if text.trim().is_empty() {
                return Err(wrong(&format_args!("{field} is empty")));
            }
            if text.len() > LINE_MAX || text.chars().any(char::is_control) {
                return Err(wrong(&format_args!(
                    "{field} is no line of at most {LINE_MAX} bytes"
                )));
            }
        }
        let long = |text: &Option<String>, most| text.as_ref().is_some_and(|it| it.len() > most);
        if long(&told.description, DESCRIPTION_MAX) {
            return Err(wrong(&format_args!(
                "description is longer than {DESCRIPTION_MAX} bytes"
            )));
        }
        if long(&told.readme, README_MAX) {
            return Err(wrong(&format_args!(
                "readme is longer than {README_MAX} bytes"
            )));
        }
        if told.price_cents > PRICE_MAX {
            return Err(wrong(&format_args!("price_cents is over {PRICE_MAX}")));
        }
        Ok(LoraCard {
            id: id.clone(),
            owner: self.device.user.clone(),
            name: told.name.clone(),
            description: told.description.clone(),
            domain: told.domain.clone(),
            base_model: told.base_model.clone(),
            r2_key: place.object().to_string(),
            version: told.version.clone(),
            is_public: told.is_public,
            price_cents: told.price_cents,
        })
    }

    fn shown(&self, lora: &Lora) -> Value {
        let card = &lora.card;
        json!({
            "id": card.id.as_str(),
            "owner": card.owner.as_str(),
            "mine": card.owner == self.device.user,
            "name": card.name,
            "description": card.description,
            "domain": card.domain,
            "base_model": card.base_model,
            "r2_key": card.r2_key,
            "version": card.version,
            "is_public": card.is_public,
            "price_cents": card.price_cents,
            "downloads": lora.downloads,
            "rating": lora.rating,
            "created_unix_ms": lora.created_at_ms,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Declined> {
    serde_json::from_slice(body).map_err(|error| {
        Declined::new(
            Code::BadRequest,
            format_args!("the body cannot be read: {error}"),
        )
    })
}
