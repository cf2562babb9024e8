//! A caller's body that must not stand still for ever.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a caller may send nothing of a body that it announced. It holds a
/// connection, a stream to the device and a place there.
pub const PATIENCE: Duration = Duration::from_secs(60);

pin_project_lite::pin_project! {
    /// A body that breaks off when nothing of it came for too long. Time in
    /// which nobody asked for more does not count.
    #[derive(Debug)]
    pub struct Patient<B> {
        #[pin]
        body: B,
        patience: Option<Duration>,
        #[pin]
        end: Sleep,
        waiting: bool,
        idle: bool,
    }
}

/// Why a [`Patient`] body broke off.
#[derive(Debug)]
pub enum Broken<E> {
    /// Nothing came for too long.
    Idle,
    /// By itself.
    Body(E),
}

impl<B> Patient<B> {
    /// Gives `body` that long for each piece, or as long as it takes.
    pub fn new(body: B, patience: Option<Duration>) -> Self {
        Self {
            body,
            patience,
            end: sleep_until(Instant::now()),
            waiting: false,
            idle: false,
        }
    }

    /// Whether it broke off because nothing came.
    pub fn is_idle(&self) -> bool {
        self.idle
    }
}

impl<B: Body> Body for Patient<B> {
    type Data = B::Data;
    type Error = Broken<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::Body)));
        }
        let Some(patience) = *this.patience else {
            return Poll::Pending;
        };
        if !*this.waiting {
            *this.waiting = true;
            this.end.as_mut().reset(Instant::now() + patience);
        }
        ready!(this.end.poll(cx));
        *this.idle = true;
        Poll::Ready(Some(Err(Broken::Idle)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<E: std::fmt::Display> std::fmt::Display for Broken<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => f.write_str("nothing came for too long"),
            Self::Body(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_silence_that_was_listened_to_counts() {
        let (tell, mut hear) = mpsc::channel::<Bytes>(1);
        let stream = futures_util::stream::poll_fn(move |cx| {
            hear.poll_recv(cx)
                .map(|bytes| bytes.map(|bytes| Ok::<_, std::io::Error>(Frame::data(bytes))))
        });
        let mut body = std::pin::pin!(Patient::new(StreamBody::new(stream), Some(PATIENCE)));
        for _ in 0..3 {
            // Nobody asks.
            sleep(PATIENCE * 2).await;
            // Somebody asks, and gets it late but in time.
            let late = async {
                sleep(PATIENCE - Duration::from_secs(1)).await;
                tell.send(Bytes::from_static(b"x")).await.expect("open");
            };
            let (frame, ()) = tokio::join!(body.frame(), late);
            assert!(frame.expect("some").is_ok());
        }
        let began = Instant::now();
        let frame = body.frame().await.expect("some");
        assert!(matches!(frame, Err(Broken::Idle)) && body.is_idle());
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
