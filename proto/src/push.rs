//! How an artifact gets to the relay: messages on a stream of its own.
//!
//! ```text
//! device ─▶ OPEN push · Offer · Parts… · DATA (the chunk index)
//!        ◀─ Want: these chunks, from this part on     (or Declined, Published)
//!        ─▶ DATA (records of the chunks wanted, in their order) · FIN
//!        ◀─ Stored, for each part in the bucket · Published · FIN
//! ```
//!
//! What a device has to keep to go on after a break is the upload of Want and
//! the tags of Stored; the relay keeps nothing.

use bytes::Bytes;
use prost::Message as _;

use crate::PayloadError;
use crate::artifact::Artifact;
use crate::code::Code;
use crate::limits::{
    BASES_MAX, CHUNKS_MAX, PART_TAG_MAX, PARTS_IN_MESSAGE, PARTS_MAX, TEXT_MAX, UPLOAD_ID_MAX,
};
use crate::wire;

/// Device to relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushRequest {
    /// The first message.
    Offer(Offer),
    /// After an offer that goes on with an upload.
    Parts(Parts),
}

/// What a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What it is to be.
    pub artifact: Artifact,
    /// BLAKE3 of all of it.
    pub blob: [u8; 32],
    /// In bytes; one or more.
    pub size: u64,
    /// Bytes of the chunk index that follows.
    pub index_length: u32,
    /// Artifacts of which it may have parts; at most [`BASES_MAX`].
    pub bases: Vec<Artifact>,
    /// The upload to go on with.
    pub resume: Option<Upload>,
}

/// An upload that the bucket knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The bucket's name for it.
    pub id: String,
    /// Which push of the artifact it is.
    pub fence: u64,
    /// Bytes of every part but the last.
    pub part_size: u64,
}

/// Tags of parts that are stored, from the first on without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// At most [`PARTS_IN_MESSAGE`].
    pub tags: Vec<String>,
    /// Whether these were the last.
    pub end: bool,
}

/// Relay to device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// What the relay lacks.
    Want(Want),
    /// A part is in the bucket.
    Stored {
        /// Counted from zero.
        number: u32,
        /// The bucket's name for its bytes.
        tag: String,
    },
    /// The artifact can be pulled.
    Published {
        /// The bucket's name for its bytes.
        etag: String,
        /// Whether it was there already.
        unchanged: bool,
    },
    /// The push ends here.
    Declined {
        /// Why.
        code: Code,
        /// For people; cut to [`TEXT_MAX`] bytes when written.
        reason: String,
    },
}

/// What the relay lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where the parts go, and what to come back with after a break.
    pub upload: Upload,
    /// How many parts are stored.
    pub parts: u32,
    /// A bit for each chunk, see `ginnel_blob::plan::Chosen`.
    pub chunks: Bytes,
}

impl PushRequest {
    /// The message as the payload of a MSG frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use wire::push_request::Message;
        let message = match self {
            Self::Offer(offer) => Message::Offer(offer.to_wire()),
            Self::Parts(parts) => Message::Parts(wire::Parts {
                tags: parts.tags.clone(),
                end: parts.end,
            }),
        };
        let message = Some(message);
        wire::PushRequest { message }.encode_to_vec().into()
    }

    /// Reads the payload of a MSG frame.
    ///
    /// # Errors
    /// The payload is not such a message, or a field is over its limit.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        use wire::push_request::Message;
        let request = wire::PushRequest::decode(payload)
            .map_err(|error| PayloadError::unreadable("PushRequest", &error))?;
        match request.message {
            Some(Message::Offer(offer)) => Offer::from_wire(offer).map(Self::Offer),
            Some(Message::Parts(parts)) => {
                at_most("Parts.tags", parts.tags.len(), PARTS_IN_MESSAGE)?;
                for tag in &parts.tags {
                    filled("Parts.tags", tag, PART_TAG_MAX)?;
                }
                let wire::Parts { tags, end } = parts;
                Ok(Self::Parts(Parts { tags, end }))
            }
            None => Err(PayloadError::invalid(
                "PushRequest.message",
                "missing or unknown",
            )),
        }
    }
}

impl Offer {
    fn to_wire(&self) -> wire::Offer {
        wire::Offer {
            artifact: self.artifact.to_string(),
            blob: Bytes::copy_from_slice(&self.blob),
            size: self.size,
            index_length: self.index_length,
            bases: self.bases.iter().map(ToString::to_string).collect(),
            resume: self.resume.as_ref().map(Upload::to_wire),
        }
    }

    fn from_wire(offer: wire::Offer) -> Result<Self, PayloadError> {
        at_most("Offer.bases", offer.bases.len(), BASES_MAX)?;
        let bases = offer.bases.iter().map(|base| artifact("Offer.bases", base));
        let blob = <[u8; 32]>::try_from(&*offer.blob);
        let resume = offer.resume.map(Upload::from_wire);
        if offer.size == 0 {
            return Err(PayloadError::invalid("Offer.size", "zero"));
        }
        Ok(Self {
            artifact: artifact("Offer.artifact", &offer.artifact)?,
            blob: blob.map_err(|_| PayloadError::invalid("Offer.blob", "not 32 bytes"))?,
            size: offer.size,
            index_length: offer.index_length,
            bases: bases.collect::<Result<_, _>>()?,
            resume: resume.transpose()?,
        })
    }
}

impl Upload {
    fn to_wire(&self) -> wire::Upload {
        wire::Upload {
            id: self.id.clone(),
            fence: self.fence,
            part_size: self.part_size,
        }
    }

    fn from_wire(upload: wire::Upload) -> Result<Self, PayloadError> {
        filled("Upload.id", &upload.id, UPLOAD_ID_MAX)?;
        if upload.part_size == 0 {
            return Err(PayloadError::invalid("Upload.part_size", "zero"));
        }
        let wire::Upload {
            id,
            fence,
            part_size,
        } = upload;
        Ok(Self {
            id,
            fence,
            part_size,
        })
    }
}

impl PushAnswer {
    /// The message as the payload of a MSG frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use wire::push_answer::Message;
        let message = match self {
            Self::Want(want) => Message::Want(wire::Want {
                upload: Some(want.upload.to_wire()),
                parts: want.parts,
                chunks: want.chunks.clone(),
            }),
            Self::Stored { number, tag } => Message::Stored(wire::Stored {
                number: *number,
                tag: tag.clone(),
            }),
            Self::Published { etag, unchanged } => Message::Published(wire::Published {
                etag: etag.clone(),
                unchanged: *unchanged,
            }),
            Self::Declined { code, reason } => Message::Declined(wire::Declined {
                code: u32::try_from(code.number()).unwrap_or(u32::MAX),
                reason: cut(reason),
            }),
        };
        let message = Some(message);
        wire::PushAnswer { message }.encode_to_vec().into()
    }

    /// Reads the payload of a MSG frame.
    ///
    /// # Errors
    /// The payload is not such a message, or a field is over its limit.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        use wire::push_answer::Message;
        let answer = wire::PushAnswer::decode(payload)
            .map_err(|error| PayloadError::unreadable("PushAnswer", &error))?;
        match answer.message {
            Some(Message::Want(want)) => Want::from_wire(want).map(Self::Want),
            Some(Message::Stored(wire::Stored { number, tag })) => {
                filled("Stored.tag", &tag, PART_TAG_MAX)?;
                if number >= PARTS_MAX {
                    return Err(PayloadError::invalid("Stored.number", "over the limit"));
                }
                Ok(Self::Stored { number, tag })
            }
            Some(Message::Published(wire::Published { etag, unchanged })) => {
                filled("Published.etag", &etag, PART_TAG_MAX)?;
                Ok(Self::Published { etag, unchanged })
            }
            Some(Message::Declined(wire::Declined { code, reason })) => {
                at_most("Declined.reason", reason.len(), TEXT_MAX)?;
                let code = Code::from_number(code.into());
                Ok(Self::Declined { code, reason })
            }
            None => Err(PayloadError::invalid(
                "PushAnswer.message",
                "missing or unknown",
            )),
        }
    }
}

impl Want {
    fn from_wire(want: wire::Want) -> Result<Self, PayloadError> {
        let Some(upload) = want.upload else {
            return Err(PayloadError::invalid("Want.upload", "missing"));
        };
        at_most("Want.chunks", want.chunks.len(), CHUNKS_MAX / 8)?;
        if want.parts > PARTS_MAX {
            return Err(PayloadError::invalid("Want.parts", "over the limit"));
        }
        Ok(Self {
            upload: Upload::from_wire(upload)?,
            parts: want.parts,
            chunks: want.chunks,
        })
    }
}

/// Text for people, cut to its limit at a character's border.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

fn artifact(field: &'static str, text: &str) -> Result<Artifact, PayloadError> {
    text.parse()
        .map_err(|error| PayloadError::invalid(field, error))
}

fn at_most(field: &'static str, length: usize, limit: usize) -> Result<(), PayloadError> {
    if length > limit {
        return Err(PayloadError::invalid(field, format!("over {limit}")));
    }
    Ok(())
}

fn filled(field: &'static str, text: &str, limit: usize) -> Result<(), PayloadError> {
    if text.is_empty() {
        return Err(PayloadError::invalid(field, "empty"));
    }
    at_most(field, text.len(), limit)
}

#[cfg(test)]
mod tests;
