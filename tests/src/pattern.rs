//! Bodies that no mistake leaves looking right: random bytes by a seed, made
//! as they are sent and checked as they arrive.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// How much is made at once, in bytes. Odd, so that no buffer's size fits it.
const PIECE: usize = 48_611;

/// What the pieces are cut from, each at another place.
static RANDOM: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = vec![0; 1 << 20];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes.into()
});

/// A body of random bytes.
#[derive(Debug)]
pub struct Pattern {
    places: fastrand::Rng,
    left: u64,
    length: Option<u64>,
}

impl Pattern {
    /// So many bytes, which tell their number beforehand.
    #[must_use]
    pub fn sized(length: u64) -> Self {
        Self {
            places: fastrand::Rng::with_seed(length),
            left: length,
            length: Some(length),
        }
    }

    /// The same bytes, which do not.
    #[must_use]
    pub fn streamed(length: u64) -> Self {
        Self {
            length: None,
            ..Self::sized(length)
        }
    }

    /// The whole body.
    #[must_use]
    pub fn bytes(length: u64) -> Vec<u8> {
        let mut pattern = Self::sized(length);
        let mut whole = Vec::new();
        while let Some(piece) = pattern.piece() {
            whole.extend_from_slice(&piece);
        }
        whole
    }

    fn piece(&mut self) -> Option<Bytes> {
        let size = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        let place = self.places.usize(..RANDOM.len() - PIECE);
        self.left -= size as u64;
        (size > 0).then(|| RANDOM.slice(place..place + size))
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.length.is_some() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(_) => SizeHint::with_exact(self.left),
            None => SizeHint::default(),
        }
    }
}

/// Checks that a body is the pattern, byte by byte; returns its length.
///
/// # Panics
/// At the first difference.
pub async fn check<B>(body: B, length: u64) -> u64
where
    B: Body + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut expected = Pattern::sized(length);
    let mut ahead = Bytes::new();
    let mut body = body;
    let mut seen = 0;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let Ok(mut data) = frame.expect("a whole body").into_data() else {
            continue;
        };
        while data.has_remaining() {
            if ahead.is_empty() {
                ahead = expected.piece().expect("the body is too long");
            }
            let count = ahead.len().min(data.chunk().len());
            assert!(
                ahead.split_to(count) == data.chunk().get(..count).unwrap_or_default(),
                "a byte differs after {seen}"
            );
            data.advance(count);
            seen += count as u64;
        }
    }
    seen
}
