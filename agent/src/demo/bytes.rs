//! `/bytes/N`: a body of any length out of one block of memory.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};

use super::{DemoBody, set_type};

/// What is sent at once.
const BLOCK: usize = 64 * 1024;

/// Every byte that is ever sent: the block again and again. Neighbouring bytes
/// and rows differ, so that lost and swapped pieces show.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |at: usize| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap_or_default();
    (0..BLOCK).map(byte).collect()
});

pub(super) fn answer(count: u64) -> Response<DemoBody> {
    let body = Repeated { left: count }.map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    let headers = response.headers_mut();
    set_type(headers, "application/octet-stream");
    // Also told to those who ask with HEAD.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(count));
    response
}

/// The pattern, again and again.
#[derive(Debug)]
struct Repeated {
    left: u64,
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(PATTERN.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_length_is_exact_and_shares_one_block() {
        let block = BLOCK as u64;
        for count in [0, 1, block - 1, block, block + 1, 3 * block + 7] {
            let mut body = answer(count).into_body();
            assert_eq!(body.size_hint().exact(), Some(count));
            let mut sent = 0;
            while let Some(frame) = body.frame().await {
                let data = frame.expect("endless").into_data().expect("data");
                assert_eq!(data.as_ptr(), PATTERN.as_ptr());
                sent += data.len() as u64;
            }
            assert_eq!(sent, count);
            assert!(body.is_end_stream());
        }
    }
}
