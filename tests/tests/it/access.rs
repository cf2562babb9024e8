//! Private services: who may call them, and what becomes of the key.

use std::time::Duration;

use bytes::Bytes;
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_relay::registry::api_key::{ApiKey, KeyEnvironment};
use ginnel_tests::caller::text;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::{Heads, Origin};
use ginnel_tests::wire::{field, fields};
use http::Response;
use http_body_util::Empty;
use hyper::body::Incoming;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A lab with a private service, and the heads that it sees.
async fn private() -> (Lab, Origin, Heads) {
    let lab = Lab::start().await;
    let (origin, heads) = Origin::canned(OK).await;
    lab.agent
        .share_as("web", ServiceSpec::new(origin.target()))
        .await;
    (lab, origin, heads)
}

async fn call(lab: &Lab, headers: &[(&str, &str)]) -> Response<Incoming> {
    let mut request = lab.request("web", "/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    lab.caller
        .send(request.body(Empty::<Bytes>::new()).expect("valid"))
        .await
}

fn assert_refused(response: &Response<Incoming>, status: u16, reason: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["ginnel-reason"], reason);
}

#[tokio::test]
async fn without_a_key_it_is_401_and_says_how_to_get_one() {
    let (lab, _origin, mut heads) = private().await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer of-the-service")],
        &[("x-api-key", "sk-of-the-service")],
        &[("cookie", "gnl_live_x=1")],
    ] {
        let response = call(&lab, headers).await;
        assert_refused(&response, 401, "unauthorized");
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer realm=\"ginnel\""
        );
        let told = text(response).await;
        assert!(told.contains("ginnel-relay key create"), "{told}");
    }
    assert!(heads.is_empty(), "the service was asked");
}

#[tokio::test]
async fn a_key_passes_in_each_of_its_places() {
    let (lab, _origin, mut heads) = private().await;
    let key = lab.key("forward:laptop/web").await;
    let bearer = format!("Bearer {key}");
    let lower = format!("bearer  {key}");
    for (name, value) in [
        ("authorization", &bearer),
        ("authorization", &lower),
        ("x-api-key", &key),
        ("x-ginnel-key", &key),
    ] {
        assert_eq!(call(&lab, &[(name, value)]).await.status(), 200, "{name}");
        let seen = heads.next().await;
        assert!(
            !seen.contains("gnl_"),
            "the key reached the service: {seen}"
        );
        assert_eq!(field(&seen, name), None);
    }
}

#[tokio::test]
async fn the_services_own_credentials_pass() {
    let (lab, _origin, mut heads) = private().await;
    let key = lab.key("forward:*/*").await;
    let headers = [
        ("x-ginnel-key", &*key),
        ("authorization", "Bearer of-the-service"),
        ("x-api-key", "sk-of-the-service"),
    ];
    assert_eq!(call(&lab, &headers).await.status(), 200);
    let seen = heads.next().await;
    assert_eq!(field(&seen, "authorization"), Some("Bearer of-the-service"));
    assert_eq!(field(&seen, "x-api-key"), Some("sk-of-the-service"));
    assert_eq!(field(&seen, "x-ginnel-key"), None);
}

/// Also where no key is needed.
#[tokio::test]
async fn a_key_never_reaches_a_public_service() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let key = lab.key("forward:*/*").await;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", &*bearer),
        ("authorization", "Basic x"),
        ("x-api-key", &key),
        ("x-ginnel-key", "gnl_live_wrong"),
    ];
    assert_eq!(call(&lab, &headers).await.status(), 200);
    let seen = heads.next().await;
    assert!(!seen.contains("gnl_"), "{seen}");
    assert_eq!(
        fields(&seen, "authorization").collect::<Vec<_>>(),
        ["Basic x"]
    );
}

#[tokio::test]
async fn a_wrong_or_mistyped_key_is_401() {
    let (lab, _origin, mut heads) = private().await;
    let key = lab.key("forward:laptop/web").await;
    let made_up = ApiKey::generate(KeyEnvironment::Live).expect("made");
    let mut mistyped = key.clone();
    let last = mistyped.pop().expect("not empty");
    mistyped.push(if last == 'a' { 'b' } else { 'a' });
    let cut = key.get(..key.len() - 1).expect("ASCII");
    for wrong in [
        made_up.expose(),
        &mistyped,
        cut,
        "gnl_",
        "gnl_live_",
        "gnl_\u{e9}",
    ] {
        let response = call(&lab, &[("x-ginnel-key", wrong)]).await;
        assert_refused(&response, 401, "unauthorized");
        let told = text(response).await;
        assert!(
            wrong.len() < 20 || !told.contains(wrong),
            "the key is repeated: {told}"
        );
    }
    assert!(heads.is_empty());
}

#[tokio::test]
async fn a_key_for_another_service_is_403() {
    let (lab, _origin, mut heads) = private().await;
    for scope in [
        "forward:laptop/other",
        "forward:desktop/web",
        "forward:desktop/*",
        "admin",
    ] {
        let key = lab.key(scope).await;
        let response = call(&lab, &[("x-ginnel-key", &key)]).await;
        assert_refused(&response, 403, "denied");
    }
    assert!(heads.is_empty());
    for scope in ["forward:laptop/*", "forward:*/web", "forward:*/*"] {
        let key = lab.key(scope).await;
        assert_eq!(
            call(&lab, &[("x-ginnel-key", &key)]).await.status(),
            200,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn another_users_key_is_403() {
    let (lab, _origin, mut heads) = private().await;
    let _bobs = lab.another_agent("bob", "bobs").await;
    let key = lab.key_of("bob", "forward:*/*").await;
    let response = call(&lab, &[("x-ginnel-key", &key)]).await;
    assert_refused(&response, 403, "denied");
    assert!(heads.is_empty());
}

#[tokio::test]
async fn an_expired_key_is_401() {
    let (lab, _origin, _heads) = private().await;
    let key = lab
        .key_for("alice", "forward:*/*", Duration::from_millis(800))
        .await;
    assert_eq!(call(&lab, &[("x-ginnel-key", &key)]).await.status(), 200);
    let headers = [("x-ginnel-key", &*key)];
    let refused = lab.until_refused(|| call(&lab, &headers)).await;
    assert_refused(&refused, 401, "unauthorized");
    assert!(text(refused).await.contains("expired"));
}

/// As the command line does it: beside the running relay.
#[tokio::test]
async fn a_revoked_key_is_401_within_a_second() {
    let (lab, _origin, _heads) = private().await;
    let key = lab.key("forward:*/*").await;
    assert_eq!(call(&lab, &[("x-ginnel-key", &key)]).await.status(), 200);
    let id = ApiKey::parse(&key).expect("valid").id().to_owned();
    let registry = lab.registry().await;
    assert!(
        registry
            .revoke_key(&id, lab.relay.relay.now_ms())
            .await
            .expect("revoked")
    );
    let revoked = std::time::Instant::now();
    let headers = [("x-ginnel-key", &*key)];
    let refused = lab.until_refused(|| call(&lab, &headers)).await;
    assert!(
        revoked.elapsed() < Duration::from_secs(1),
        "{:?}",
        revoked.elapsed()
    );
    assert_refused(&refused, 401, "unauthorized");
}

#[tokio::test]
async fn a_service_that_becomes_private_asks_at_once() {
    let lab = Lab::start().await;
    let (origin, _heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    assert_eq!(call(&lab, &[]).await.status(), 200);
    lab.agent
        .share_as("web", ServiceSpec::new(origin.target()))
        .await;
    let refused = lab.until_refused(|| call(&lab, &[])).await;
    assert_refused(&refused, 401, "unauthorized");
}
