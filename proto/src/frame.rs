//! Frames: how a stream is cut into pieces.
//!
//! ```text
//! frame    = type (varint) · length (varint) · payload
//! REST     = type (varint) · everything up to FIN
//! ```
//!
//! Types are odd when a receiver must understand them. An unknown even type is
//! skipped, an unknown odd one resets the stream: so either side can be
//! extended without a new version. DATA and REST payloads are never buffered
//! here; slices of the input come out as they arrive.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::{HEAD_MAX, MESSAGE_MAX, OPEN_MAX, SKIP_MAX};
use crate::varint;

/// The types this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameType {
    /// What the stream is for: its first frame.
    Open,
    /// A request or response head; informational responses repeat it.
    Head,
    /// A piece of a body.
    Data,
    /// The remaining body, up to FIN.
    Rest,
    /// Trailer fields, after the body.
    Trailers,
    /// A message of a control or join stream.
    Message,
}

impl FrameType {
    /// Every type.
    pub const ALL: &[Self] = &[
        Self::Open,
        Self::Head,
        Self::Data,
        Self::Rest,
        Self::Trailers,
        Self::Message,
    ];

    /// The type's number on the wire.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Open => 0x01,
            Self::Head => 0x03,
            Self::Data => 0x05,
            Self::Rest => 0x07,
            Self::Trailers => 0x09,
            Self::Message => 0x0b,
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.number() == number)
    }

    /// The largest payload a receiver buffers, in bytes.
    fn limit(self) -> u64 {
        let limit = match self {
            Self::Open => OPEN_MAX,
            Self::Head | Self::Trailers => HEAD_MAX,
            Self::Message => MESSAGE_MAX,
            Self::Data | Self::Rest => return varint::MAX,
        };
        limit as u64
    }
}

/// What a [`Decoder`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// A whole frame: OPEN, HEAD, TRAILERS or MSG with its payload.
    Whole(FrameType, Bytes),
    /// A slice of a body, from DATA or REST. Never empty.
    Body(Bytes),
    /// REST began: all that follows is [`Piece::Body`].
    RestBegins,
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload is over the type's limit.
    #[error("frame is longer than its limit, type={kind:?} length={length}")]
    TooLong {
        /// The frame's type.
        kind: FrameType,
        /// Its announced payload length in bytes.
        length: u64,
    },
    /// An unknown frame to skip is over [`SKIP_MAX`].
    #[error("unknown frame is too long to skip, type={number:#x} length={length}")]
    SkipTooLong {
        /// The frame's type number.
        number: u64,
        /// Its announced payload length in bytes.
        length: u64,
    },
    /// A type this version does not know and may not skip.
    #[error("unknown frame that may not be skipped, type={number:#x}")]
    Unknown {
        /// The frame's type number.
        number: u64,
    },
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
}

impl FrameError {
    /// The code to reset the stream with.
    #[must_use]
    pub fn code(self) -> crate::code::Code {
        use crate::code::Code;
        match self {
            Self::TooLong {
                kind: FrameType::Head | FrameType::Trailers,
                ..
            } => Code::HeadTooLarge,
            Self::Unknown { .. } => Code::UnknownFrame,
            Self::TooLong { .. } | Self::SkipTooLong { .. } | Self::Truncated => Code::Malformed,
        }
    }
}

/// Appends the header of a frame whose payload of `length` bytes follows.
pub fn write_header(kind: FrameType, length: usize, to: &mut impl BufMut) {
    varint::write(kind.number(), to);
    varint::write(length as u64, to);
}

/// A whole frame in one buffer.
#[must_use]
pub fn whole(kind: FrameType, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 2 * varint::SIZE_MAX);
    write_header(kind, payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// The header of a DATA frame with `length` bytes of body.
#[must_use]
pub fn data_header(length: usize) -> Bytes {
    let mut header = BytesMut::with_capacity(1 + varint::SIZE_MAX);
    write_header(FrameType::Data, length, &mut header);
    header.freeze()
}

/// What announces REST. It has no length.
pub const REST: Bytes = Bytes::from_static(&[0x07]);

/// Cuts a stream into [`Piece`]s as its bytes arrive, in slices of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Collecting type and length.
    Header(PartialHeader),
    /// Collecting the payload of a frame that is handed out whole.
    Payload {
        kind: FrameType,
        remaining: usize,
        buffer: BytesMut,
    },
    /// Inside DATA.
    Data { remaining: u64 },
    /// Inside an unknown frame.
    Skip { remaining: u64 },
    /// After REST.
    Rest,
}

impl Default for State {
    fn default() -> Self {
        Self::Header(PartialHeader::default())
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` until a piece is complete;
    /// `None` when the input is used up first.
    ///
    /// # Errors
    /// The stream cannot be read on; reset it with [`FrameError::code`].
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Piece>, FrameError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Header(header) => {
                    let Some((number, length)) = header.take_from(input) else {
                        return Ok(None);
                    };
                    if let Some(piece) = self.begin(number, length)? {
                        return Ok(Some(piece));
                    }
                }
                State::Payload {
                    kind,
                    remaining,
                    buffer,
                } => {
                    let kind = *kind;
                    if buffer.is_empty() && input.len() >= *remaining {
                        let payload = input.split_to(*remaining);
                        self.state = State::default();
                        return Ok(Some(Piece::Whole(kind, payload)));
                    }
                    let slice = input.split_to(input.len().min(*remaining));
                    buffer.extend_from_slice(&slice);
                    *remaining -= slice.len();
                    if *remaining == 0 {
                        let payload = std::mem::take(buffer).freeze();
                        self.state = State::default();
                        return Ok(Some(Piece::Whole(kind, payload)));
                    }
                }
                State::Data { remaining } => {
                    let slice = take_up_to(input, remaining);
                    if *remaining == 0 {
                        self.state = State::default();
                    }
                    return Ok(Some(Piece::Body(slice)));
                }
                State::Skip { remaining } => {
                    take_up_to(input, remaining);
                    if *remaining == 0 {
                        self.state = State::default();
                    }
                }
                State::Rest => return Ok(Some(Piece::Body(std::mem::take(input)))),
            }
        }
        Ok(None)
    }

    /// Acts on a frame's header.
    fn begin(&mut self, number: u64, length: u64) -> Result<Option<Piece>, FrameError> {
        self.state = State::default();
        let Some(kind) = FrameType::from_number(number) else {
            if number % 2 == 1 {
                return Err(FrameError::Unknown { number });
            }
            if length > SKIP_MAX {
                return Err(FrameError::SkipTooLong { number, length });
            }
            if length > 0 {
                self.state = State::Skip { remaining: length };
            }
            return Ok(None);
        };
        match kind {
            FrameType::Rest => {
                self.state = State::Rest;
                Ok(Some(Piece::RestBegins))
            }
            FrameType::Data => {
                if length > 0 {
                    self.state = State::Data { remaining: length };
                }
                Ok(None)
            }
            FrameType::Open | FrameType::Head | FrameType::Trailers | FrameType::Message => {
                let too_long = FrameError::TooLong { kind, length };
                let remaining = usize::try_from(length).map_err(|_| too_long)?;
                if length > kind.limit() {
                    return Err(too_long);
                }
                if remaining == 0 {
                    return Ok(Some(Piece::Whole(kind, Bytes::new())));
                }
                self.state = State::Payload {
                    kind,
                    remaining,
                    buffer: BytesMut::new(),
                };
                Ok(None)
            }
        }
    }

    /// Whether everything that follows is body.
    #[must_use]
    pub fn in_rest(&self) -> bool {
        matches!(self.state, State::Rest)
    }

    /// To be called when the stream has ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match &self.state {
            State::Header(header) if header.is_empty() => Ok(()),
            State::Rest => Ok(()),
            State::Header(_) | State::Payload { .. } | State::Data { .. } | State::Skip { .. } => {
                Err(FrameError::Truncated)
            }
        }
    }
}

/// Splits at most `remaining` bytes off `input` and counts them down.
fn take_up_to(input: &mut Bytes, remaining: &mut u64) -> Bytes {
    let length = usize::try_from(*remaining).map_or(input.len(), |max| max.min(input.len()));
    *remaining -= length as u64;
    input.split_to(length)
}

/// Type and length, arriving byte by byte in the worst case.
#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; 2 * varint::SIZE_MAX],
    length: usize,
}

impl PartialHeader {
    /// Takes what is missing from `input`; the type and length once complete.
    /// REST is complete with its type, and has length 0.
    fn take_from(&mut self, input: &mut Bytes) -> Option<(u64, u64)> {
        loop {
            let seen = self.bytes.get(..self.length)?;
            if let Some((number, size)) = varint::read(seen) {
                if number == FrameType::Rest.number() {
                    return Some((number, 0));
                }
                if let Some((length, _)) = varint::read(seen.get(size..)?) {
                    return Some((number, length));
                }
            }
            if input.is_empty() {
                return None;
            }
            // Two varints take at most 16 bytes, so there is always a slot.
            *self.bytes.get_mut(self.length)? = input.get_u8();
            self.length += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_response_with_trailers_reads_back() {
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&whole(FrameType::Head, b"head"));
        wire.extend_from_slice(&data_header(5));
        wire.extend_from_slice(b"hello");
        wire.extend_from_slice(&data_header(0));
        wire.extend_from_slice(&whole(FrameType::Trailers, b""));
        assert_eq!(
            decode_all(&wire, &[]),
            Ok(vec![
                Piece::Whole(FrameType::Head, "head".into()),
                Piece::Body("hello".into()),
                Piece::Whole(FrameType::Trailers, Bytes::new()),
            ])
        );
    }

    #[test]
    fn after_rest_all_is_body() {
        let wire = [&REST[..], &[0x03, 0x00, 0xff]].concat();
        assert_eq!(
            decode_all(&wire, &[]),
            Ok(vec![
                Piece::RestBegins,
                Piece::Body(Bytes::from_static(&[0x03, 0x00, 0xff])),
            ])
        );
    }

    #[test]
    fn unknown_even_types_are_skipped_and_odd_ones_refused() {
        let mut wire = BytesMut::new();
        varint::write(0x40, &mut wire);
        varint::write(3, &mut wire);
        wire.extend_from_slice(b"???");
        wire.extend_from_slice(&whole(FrameType::Message, b"m"));
        assert_eq!(
            decode_all(&wire, &[]),
            Ok(vec![Piece::Whole(FrameType::Message, "m".into())])
        );
        assert_eq!(
            decode_all(&[0x41, 0x41, 0x00], &[]),
            Err(FrameError::Unknown { number: 0x141 })
        );
    }

    #[test]
    fn each_limit_holds_at_its_value_and_not_above() {
        for (kind, limit) in [
            (FrameType::Open, OPEN_MAX),
            (FrameType::Head, HEAD_MAX),
            (FrameType::Trailers, HEAD_MAX),
            (FrameType::Message, MESSAGE_MAX),
        ] {
            let at = whole(kind, &vec![7; limit]);
            assert_eq!(
                decode_all(&at, &[]),
                Ok(vec![Piece::Whole(kind, vec![7; limit].into())])
            );
            let mut above = BytesMut::new();
            write_header(kind, limit + 1, &mut above);
            let length = limit as u64 + 1;
            assert_eq!(
                decode_all(&above, &[]),
                Err(FrameError::TooLong { kind, length })
            );
        }
        let mut skip = BytesMut::new();
        varint::write(0x40, &mut skip);
        varint::write(SKIP_MAX + 1, &mut skip);
        assert!(matches!(
            decode_all(&skip, &[]),
            Err(FrameError::SkipTooLong { .. })
        ));
    }

    #[test]
    fn whole_frames_in_one_slice_are_not_copied() {
        let wire = whole(FrameType::Head, b"payload");
        let mut input = wire.clone();
        let piece = Decoder::new().decode(&mut input);
        let Ok(Some(Piece::Whole(_, payload))) = piece else {
            panic!("no frame: {piece:?}");
        };
        assert_eq!(payload.as_ptr(), wire[2..].as_ptr());
    }

    fn frames() -> impl Strategy<Value = Vec<(FrameType, Vec<u8>)>> {
        let kind = prop_oneof![
            Just(FrameType::Open),
            Just(FrameType::Head),
            Just(FrameType::Data),
            Just(FrameType::Trailers),
            Just(FrameType::Message),
        ];
        let payload = prop::collection::vec(any::<u8>(), 0..200);
        prop::collection::vec((kind, payload), 0..12)
    }

    fn encode(frames: &[(FrameType, Vec<u8>)]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|(kind, payload)| whole(*kind, payload))
            .collect()
    }

    proptest! {
        #[test]
        fn split_reads_give_the_same_pieces(
            frames in frames(),
            cuts in prop::collection::vec(1_usize..40, 0..200),
        ) {
            let wire = encode(&frames);
            let once = joined(decode_all(&wire, &[]).expect("valid"));
            let split = joined(decode_all(&wire, &cuts).expect("valid"));
            prop_assert_eq!(once, split);
        }

        #[test]
        fn truncation_is_noticed(frames in frames(), cut in any::<prop::sample::Index>()) {
            let wire = encode(&frames);
            prop_assume!(!wire.is_empty());
            let cut = cut.index(wire.len());
            let boundaries: Vec<usize> = (0..=frames.len()).map(|n| encode(&frames[..n]).len()).collect();
            let result = decode_all(&wire[..cut], &[]);
            prop_assert_eq!(result.is_ok(), boundaries.contains(&cut));
        }

        #[test]
        fn perturbed_input_never_panics(
            frames in frames(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cuts in prop::collection::vec(1_usize..40, 0..50),
        ) {
            let mut wire = encode(&frames);
            prop_assume!(!wire.is_empty());
            for (at, value) in flips {
                let at = at.index(wire.len());
                wire[at] = value;
            }
            let _ = decode_all(&wire, &cuts);
        }

        #[test]
        fn arbitrary_input_never_panics(wire in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_all(&wire, &[]);
        }
    }

    /// Decodes `wire` in slices of the sizes in `cuts`, then the remainder.
    fn decode_all(wire: &[u8], cuts: &[usize]) -> Result<Vec<Piece>, FrameError> {
        let mut decoder = Decoder::new();
        let mut pieces = Vec::new();
        let mut rest = Bytes::copy_from_slice(wire);
        let whole = std::iter::once(usize::MAX);
        for cut in cuts.iter().copied().chain(whole) {
            let mut slice = rest.split_to(cut.min(rest.len()));
            while let Some(piece) = decoder.decode(&mut slice)? {
                pieces.push(piece);
            }
        }
        decoder.finish()?;
        Ok(pieces)
    }

    /// Joins neighbouring body slices, whose borders depend on the cuts.
    fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
        let mut out: Vec<Piece> = Vec::new();
        for piece in pieces {
            if let (Some(Piece::Body(last)), Piece::Body(next)) = (out.last_mut(), &piece) {
                *last = [&last[..], &next[..]].concat().into();
                continue;
            }
            out.push(piece);
        }
        out
    }
}
