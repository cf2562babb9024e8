//! The library, as another program embeds it: `agent/examples/cloud_tunnel`.

#[path = "../../../agent/examples/cloud_tunnel/tunnel.rs"]
mod tunnel;

use bytes::Bytes;
use ginnel_proto::id::{DeviceName, UpstreamName};
use ginnel_tests::lab::{Lab, invite};
use ginnel_tests::origin::Origin;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tunnel::{CloudTunnel, TunnelConfig, TunnelError};

fn upstream() -> UpstreamName {
    UpstreamName::parse("shout").expect("valid")
}

/// An upstream that answers in capitals, or with an error.
async fn shout() -> Origin {
    Origin::http(|request: http::Request<hyper::body::Incoming>| async move {
        let body = request
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes();
        let mut response = Response::new(Full::new(Bytes::from(body.to_ascii_uppercase())));
        if body.starts_with(b"fail") {
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
        }
        response
    })
    .await
}

async fn connected(lab: &Lab, answer_max: usize) -> CloudTunnel {
    let state = lab.folder.path().join("program");
    let code = invite(&lab.relay, "alice").await;
    let name = DeviceName::parse("program").expect("valid");
    let joined = ginnel_agent::join::join(&state, &code, Some(name)).await;
    assert_eq!(joined.expect("joined"), "alice/program");
    let mut config = TunnelConfig::new(state, upstream());
    config.answer_max = answer_max;
    let mut tunnel = CloudTunnel::new(config).expect("joined");
    let early = tunnel.send(b"early").await;
    assert!(matches!(early, Err(TunnelError::NotConnected)), "{early:?}");
    tunnel.connect().await.expect("connected");
    tunnel
}

#[tokio::test]
async fn a_message_gets_its_answer() {
    let origin = shout().await;
    let file = format!("[upstream.shout]\nurl = \"{}\"\n", origin.target());
    let lab = Lab::start_from(&file).await;
    let tunnel = connected(&lab, 10).await;
    assert_eq!(tunnel.send(b"hello").await.expect("answered"), b"HELLO");
    assert_eq!(tunnel.send(b"").await.expect("answered"), b"");
    let at_limit = tunnel.send(b"0123456789").await.expect("answered");
    assert_eq!(at_limit, b"0123456789");
    let over = tunnel.send(b"0123456789a").await;
    assert!(matches!(over, Err(TunnelError::TooLong(10))), "{over:?}");
    let failed = tunnel.send(b"fail").await;
    assert!(
        matches!(failed, Err(TunnelError::Status(status)) if status == 418),
        "{failed:?}"
    );
}
