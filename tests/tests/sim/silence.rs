//! Callers that announce a body and send nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use ginnel_tests::sim;
use ginnel_tests::sim::ask::{Ask, send};
use http::Version;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_body_that_does_not_come_is_given_up_after_a_minute() {
    sim::run(1, async |world| {
        let laptop = world.device("laptop").await;
        let relay = world.relay();
        let silent = StreamBody::new(stream::pending()).boxed_unsync();
        let request = Ask::Upload(1000).request(&laptop.name).map(|_| silent);
        let began = world.now();
        let response = send(&relay.relay, request).await;
        let took = world.now() - began;
        assert_eq!(response.status(), 504, "{response:?}");
        assert_eq!(response.headers()["ginnel-reason"], "idle_timeout");
        assert!(took >= MINUTE && took < MINUTE + SECOND, "{took:?}");
        world.run_for(SECOND).await;
        let agent = laptop.status().expect("it runs");
        assert_eq!(agent.queue, 0, "its place is free again");
    });
}

/// gRPC's streams may well be silent: they announce no length. A body that
/// does is as late over HTTP/2 as over HTTP/1.1.
#[test]
fn only_a_body_without_a_length_may_be_silent_over_http_2() {
    sim::run(1, async |world| {
        let laptop = world.device("laptop").await;
        let relay = world.relay();
        let silent = StreamBody::new(stream::pending()).boxed_unsync();
        let mut request = Ask::Upload(1000).request(&laptop.name).map(|_| silent);
        *request.version_mut() = Version::HTTP_2;
        let asked = tokio::time::timeout(10 * MINUTE, send(&relay.relay, request)).await;
        assert!(asked.is_err(), "{asked:?}");

        let announced = Announced(1000).boxed_unsync();
        let mut request = Ask::Upload(1000).request(&laptop.name).map(|_| announced);
        *request.version_mut() = Version::HTTP_2;
        let asked = tokio::time::timeout(2 * MINUTE, send(&relay.relay, request)).await;
        let response = asked.expect("given up");
        assert_eq!(response.headers()["ginnel-reason"], "idle_timeout");
    });
}

/// A body of which nothing comes.
struct Announced(u64);

impl Body for Announced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
