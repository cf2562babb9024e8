//! Tags of stored parts, as devices keep them.
//!
//! ```text
//! g1 . base64url(part's hash, 32 bytes · seal, 16 bytes) . the bucket's tag
//! ```
//!
//! A device that goes on with a push brings them back, and the relay has
//! neither kept the part nor its hash. The seal says that this relay made the
//! tag, for this part of this upload: the blob's hash is proved by it.

use data_encoding::BASE64URL_NOPAD;
use ginnel_blob::hash::Hash;
use ginnel_blob::parts::PartHash;
use ginnel_proto::limits::PART_TAG_MAX;
use object_store::path::Path;

/// What a tag begins with; the number is its version.
const PREFIX: &str = "g1.";

/// Bytes of the seal: 128 bits cannot be guessed.
const SEAL: usize = 16;

/// Bytes before the bucket's tag, as they are before they become text.
const HEAD: usize = Hash::LENGTH + SEAL;

/// The relay's key for seals.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

/// Which part a tag is for.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The object's key.
    pub key: &'a Path,
    /// The bucket's name for the upload.
    pub upload: &'a str,
    /// Bytes of the blob: they decide how it is parted.
    pub size: u64,
    /// Counted from zero.
    pub number: u32,
}

/// What a tag says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The part's hash.
    pub hash: PartHash,
    /// The bucket's tag.
    pub etag: String,
}

impl SealKey {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag of a stored part; `None` if the bucket's is too long to be kept.
    #[must_use]
    pub fn seal(&self, part: &Part<'_>, opened: &Opened) -> Option<String> {
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(opened.hash.as_bytes());
        head.extend_from_slice(&self.mac(part, opened));
        let tag = format!("{PREFIX}{}.{}", BASE64URL_NOPAD.encode(&head), opened.etag);
        (tag.len() <= PART_TAG_MAX).then_some(tag)
    }

    /// Reads a tag; `None` if this relay did not make it for this part.
    #[must_use]
    pub fn open(&self, part: &Part<'_>, tag: &str) -> Option<Opened> {
        let (head, etag) = tag.strip_prefix(PREFIX)?.split_once('.')?;
        let head = BASE64URL_NOPAD.decode(head.as_bytes()).ok()?;
        let (hash, seal) = head.split_first_chunk::<{ Hash::LENGTH }>()?;
        let opened = Opened {
            hash: PartHash::from_bytes(*hash),
            etag: etag.to_owned(),
        };
        let made = self.mac(part, &opened);
        let is_ours: bool = subtle::ConstantTimeEq::ct_eq(&made[..], seal).into();
        is_ours.then_some(opened)
    }

    fn mac(&self, part: &Part<'_>, opened: &Opened) -> [u8; SEAL] {
        let mut context = aws_lc_rs::hmac::Context::with_key(&aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            &self.0,
        ));
        // Lengths before texts: no two parts are written alike.
        for text in [part.key.as_ref(), part.upload, &opened.etag] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.update(&part.size.to_be_bytes());
        context.update(&part.number.to_be_bytes());
        context.update(opened.hash.as_bytes());
        let mut seal = [0; SEAL];
        let mac = context.sign();
        let (first, _) = mac.as_ref().split_at(SEAL);
        seal.copy_from_slice(first);
        seal
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_opens_only_for_its_part_and_by_its_relay() {
        let sealer = SealKey::new([7; 32]);
        let key = Path::from("models/phi.gguf");
        let part = Part {
            key: &key,
            upload: "up",
            size: 100,
            number: 3,
        };
        let opened = Opened {
            hash: PartHash::from_bytes([9; 32]),
            etag: "\"a.b\"".into(),
        };
        let tag = sealer.seal(&part, &opened).expect("short");
        assert_eq!(sealer.open(&part, &tag), Some(opened.clone()));

        let elsewhere = Path::from("models/bob/phi.gguf");
        let others = [
            Part {
                key: &elsewhere,
                ..part
            },
            Part {
                upload: "u",
                ..part
            },
            Part { size: 101, ..part },
            Part { number: 4, ..part },
        ];
        for other in others {
            assert_eq!(sealer.open(&other, &tag), None, "{other:?}");
        }
        assert_eq!(SealKey::new([8; 32]).open(&part, &tag), None);
        for wrong in [
            tag.replace("a.b", "a.c"),
            tag.replacen("g1.C", "g1.D", 1),
            tag.replace("g1.", "g2."),
            String::new(),
            "g1.".into(),
            "g1..".into(),
            "g1.AA.x".into(),
        ] {
            assert_eq!(sealer.open(&part, &wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tag_that_devices_would_refuse_is_not_made() {
        let sealer = SealKey::new([7; 32]);
        let key = Path::from("a");
        let part = Part {
            key: &key,
            upload: "up",
            size: 1,
            number: 0,
        };
        let opened = |length| Opened {
            hash: PartHash::from_bytes([9; 32]),
            etag: "e".repeat(length),
        };
        assert!(sealer.seal(&part, &opened(188)).is_some());
        assert!(sealer.seal(&part, &opened(189)).is_none());
    }
}
