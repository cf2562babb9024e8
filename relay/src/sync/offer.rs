//! What a device says before it waits: its offer, the tags of what is stored, and
//! the chunk index. All of it is checked before anything is done for it.

use std::sync::Arc;

use ginnel_blob::index::{CHUNKS_MAX, ChunkIndex, ENCODED_MAX};
use ginnel_link::stream::RecvHalf;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::UserName;
use ginnel_proto::limits::PARTS_MAX;
use ginnel_proto::push::{Offer, PushRequest};

use super::declined::Declined;
use super::ended::Ended;
use super::silence::in_time;
use super::splice::next_slice;
use crate::objects::layout::Place;

/// The shortest mean length of chunks that cuts leave, in bytes.
const CHUNK_LEAST: u64 = 1 << 10;

/// What a device offers, checked.
pub(super) struct Offered {
    pub(super) offer: Offer,
    pub(super) place: Place,
    pub(super) index: Arc<ChunkIndex>,
    /// Tags of parts that it says are stored.
    pub(super) tags: Vec<String>,
}

impl Offered {
    /// Reads all that the device says before it waits for Want.
    pub(super) async fn read(recv: &mut RecvHalf, user: &UserName) -> Result<Self, Ended> {
        let PushRequest::Offer(offer) = next_request(recv).await? else {
            return Err(Declined::new(Code::Malformed, "a push begins with an offer").into());
        };
        check_name(&offer.artifact)?;
        let mut tags = Vec::new();
        let mut ended = offer.resume.is_none();
        while !ended {
            let PushRequest::Parts(parts) = next_request(recv).await? else {
                return Err(Declined::new(Code::Malformed, "tags of parts should follow").into());
            };
            ended = parts.end;
            if parts.tags.is_empty() && !ended {
                return Err(Declined::new(Code::Malformed, "tags of parts should follow").into());
            }
            tags.extend(parts.tags);
            if tags.len() > usize::try_from(PARTS_MAX).unwrap_or(usize::MAX) {
                return Err(Declined::new(Code::Malformed, "too many tags of parts").into());
            }
        }
        let index = read_index(recv, &offer).await?;
        let place = Place::of(&offer.artifact, user);
        Ok(Self {
            offer,
            place,
            index: Arc::new(index),
            tags,
        })
    }
}

/// Users have folders of their names beside the models that all see: in a
/// folder, no file can be called the same.
fn check_name(artifact: &Artifact) -> Result<(), Declined> {
    if let Artifact::SharedModel(file) = artifact
        && UserName::parse(file.as_str()).is_ok()
    {
        let what = format_args!(
            "a user's folder could have that name, name={artifact}; hint: push it as {artifact}.gguf, \
             or whatever it is"
        );
        return Err(Declined::new(Code::BadRequest, what));
    }
    Ok(())
}

async fn next_request(recv: &mut RecvHalf) -> Result<PushRequest, Ended> {
    let payload = in_time(recv.expect(FrameType::Message, "MSG")).await?;
    let request = PushRequest::decode(payload);
    request.map_err(|error| Declined::new(Code::Malformed, error).into())
}

/// Reads the chunk index, and holds it to the offer. What it says of the
/// chunks is held to their bytes later.
async fn read_index(recv: &mut RecvHalf, offer: &Offer) -> Result<ChunkIndex, Ended> {
    let length = usize::try_from(offer.index_length).unwrap_or(usize::MAX);
    if length > ENCODED_MAX {
        let what = format_args!(
            "the file has too many chunks, limit={CHUNKS_MAX}; hint: part it into several files"
        );
        return Err(Declined::new(Code::TooLarge, what).into());
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let Some(slice) = next_slice(recv).await? else {
            return Err(Declined::new(Code::Malformed, "the chunk index is cut short").into());
        };
        bytes.extend_from_slice(&slice);
    }
    let malformed = |what: &dyn std::fmt::Display| Declined::new(Code::Malformed, what);
    if bytes.len() > length {
        return Err(malformed(&"the chunk index is longer than was said").into());
    }
    let decode = move || ChunkIndex::decode(&bytes);
    let decoded = tokio::task::spawn_blocking(decode).await;
    let decoded = decoded.map_err(|error| Declined::new(Code::Internal, error))?;
    let index = decoded.map_err(|error| malformed(&error))?;
    // Cuts leave no shorter chunks on the average, and a list of a chunk for
    // each byte would cost the relay more than the file.
    let most = index.size() / CHUNK_LEAST + 2;
    if index.chunks().len() as u64 > most {
        return Err(malformed(&"its chunks are shorter than any cut leaves them").into());
    }
    if index.blob().as_bytes() != &offer.blob || index.size() != offer.size {
        return Err(malformed(&"the chunk index is that of another file").into());
    }
    Ok(index)
}
