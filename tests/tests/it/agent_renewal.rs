//! A device's certificate ends: who is told, and what helps.

use std::time::{Duration, SystemTime};

use ginnel_agent::join::join;
use ginnel_agent::local_client::LocalClient;
use ginnel_agent::running::{self, DaemonNote};
use ginnel_agent::status::LinkState;
use ginnel_certs::device::Credentials;
use ginnel_proto::id::DeviceName;
use ginnel_tests::device::forge;
use ginnel_tests::lab::{Lab, invite_with, restart_agent};
use ginnel_tests::wait::until_true;

use crate::agent_log::Log;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_in_log_and_status() {
    let (log, _guard) = Log::start();
    let lab = Lab::start().await;
    let state = &lab.agent.state;
    let (client, lock) = lab.agent.client().await;
    assert_eq!(client.status().await.expect("told").warning, None);
    drop(lock);
    assert!(log.lines().is_empty(), "{:?}", log.lines());

    let authority = &lab.relay.relay.authority;
    let life = (SystemTime::now(), 49 * HOUR);
    let credentials = forge(authority, ("localhost", "dev"), ("alice", "laptop"), life);
    credentials.save(state).expect("stored");
    let agent = restart_agent(state).await;
    let told = "the certificate ends in 2 days; hint: at the relay run \
                ginnel-relay invite --user alice --device laptop, then here ginnel join CODE";
    let is_told = || log.lines().iter().any(|line| line.contains(told));
    until_true("the log tells", is_told).await;

    let lock = running::lock(state).await.expect("not taken");
    let (pid, local) = (std::process::id(), agent.local);
    lock.announce(&DaemonNote { pid, local }).expect("written");
    let client = LocalClient::find(state).await.expect("found");
    let status = client.status().await.expect("told");
    assert_eq!(status.warning.as_deref(), Some(told));
}

#[tokio::test]
async fn joining_again_renews_in_place() {
    let lab = Lab::start().await;
    let state = lab.folder.path().join("phone");
    let mut serials = Vec::new();
    let name = || Some(DeviceName::parse("phone").expect("valid"));
    for name in [name(), None] {
        let code = invite_with(&lab.relay, "alice", Some("phone"), HOUR).await;
        let joined = join(&state, &code, name).await.expect("joins");
        assert_eq!(joined, "alice/phone");
        let credentials = Credentials::load(&state).expect("stored");
        serials.push(credentials.leaf().serial.clone());
    }
    assert_ne!(serials[0], serials[1]);
    let agent = restart_agent(&state).await;
    until_true("the link is up", || {
        agent.report.status().state == LinkState::Connected
    })
    .await;
}
