//! Requests from the public side to a local service and back.

use ginnel_tests::caller::text;
use ginnel_tests::lab::Lab;

#[tokio::test]
async fn a_request_reaches_a_local_service_and_comes_back() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    let response = lab.get("web", "/echo?x=1").await;
    assert_eq!(response.status(), 200);
    let body = text(response).await;
    assert!(body.contains("/echo?x=1"), "{body}");
}
