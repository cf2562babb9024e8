//! Who may join and link, who may not, and what a refused device is told.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ginnel_agent::join::join;
use ginnel_agent::status::{LinkState, LinkStatus};
use ginnel_certs::authority::Authority;
use ginnel_certs::device::Credentials;
use ginnel_certs::join_code::JoinCode;
use ginnel_link::error::LinkError;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceName, Domain};
use ginnel_tests::device::{Device, end_of, forge};
use ginnel_tests::lab::{Lab, invite, invite_with, restart_agent};
use ginnel_tests::wait::{until, until_true};

use crate::agent_log::Log;

const HOUR: Duration = Duration::from_secs(3600);
const HERE: (&str, &str) = ("localhost", "dev");

fn name(name: &str) -> Option<DeviceName> {
    Some(DeviceName::parse(name).expect("valid"))
}

fn state(lab: &Lab, name: &str) -> PathBuf {
    lab.folder.path().join(name)
}

/// Why a device could not join; nothing may be stored then.
async fn refusal(state: &Path, code: &str, device: Option<DeviceName>) -> String {
    let error = join(state, code, device).await.expect_err("refused");
    assert!(Credentials::load(state).is_err(), "an identity was stored");
    format!("{error:#}")
}

#[tokio::test]
async fn a_code_works_once() {
    let lab = Lab::start().await;
    let code = invite(&lab.relay, "alice").await;
    let joined = join(&state(&lab, "one"), &code, name("one")).await;
    assert_eq!(joined.expect("joins"), "alice/one");
    for again in ["one", "two"] {
        let refusal = refusal(&state(&lab, "again"), &code, name(again)).await;
        assert!(refusal.contains("has been used"), "{refusal}");
    }
}

#[tokio::test]
async fn a_code_expires() {
    let lab = Lab::start().await;
    let code = invite_with(&lab.relay, "alice", None, Duration::from_millis(1)).await;
    let made = lab.relay.relay.now_ms();
    until_true("a millisecond passes", || lab.relay.relay.now_ms() > made).await;
    let refusal = refusal(&state(&lab, "late"), &code, name("late")).await;
    assert!(refusal.contains("has expired"), "{refusal}");
}

#[tokio::test]
async fn a_code_that_was_never_given_out_is_refused() {
    let lab = Lab::start().await;
    let pin = lab.relay.relay.authority.spki_pin();
    let code = JoinCode::generate(&lab.relay.advertise, pin)
        .expect("code")
        .to_string();
    let refusal = refusal(&state(&lab, "new"), &code, name("new")).await;
    assert!(refusal.contains("not valid"), "{refusal}");
}

#[tokio::test]
async fn a_mistyped_code_does_not_leave_the_machine() {
    let lab = Lab::start().await;
    let mut code = invite(&lab.relay, "alice").await;
    let last = code.pop().expect("not empty");
    code.push(if last == '2' { '3' } else { '2' });
    refusal(&state(&lab, "new"), &code, name("new")).await;
    assert_eq!(lab.relay.relay.metrics.joins_refused.get(), 0);
}

/// Somebody else answers at the relay's address.
#[tokio::test]
async fn a_relay_that_is_not_the_codes_is_not_told_the_secret() {
    let lab = Lab::start().await;
    let other = Authority::create(
        &Domain::parse("localhost").expect("valid"),
        SystemTime::now(),
    );
    let pin = other.expect("authority").spki_pin();
    let code = JoinCode::generate(&lab.relay.advertise, pin)
        .expect("code")
        .to_string();
    let refusal = refusal(&state(&lab, "new"), &code, name("new")).await;
    assert!(
        refusal.contains("not the relay that made the join code"),
        "{refusal}"
    );
    assert_eq!(lab.relay.relay.metrics.joins_refused.get(), 0);
}

#[tokio::test]
async fn a_code_may_be_bound_to_a_name() {
    let lab = Lab::start().await;
    let code = invite_with(&lab.relay, "alice", Some("bound"), HOUR).await;
    let refusal = refusal(&state(&lab, "other"), &code, name("other")).await;
    assert!(refusal.contains("for another device name"), "{refusal}");
    // The code is still good, and names the device by itself.
    let joined = join(&state(&lab, "bound"), &code, None).await;
    assert_eq!(joined.expect("joins"), "alice/bound");
}

#[tokio::test]
async fn another_users_device_name_is_taken() {
    let lab = Lab::start().await;
    let code = invite(&lab.relay, "bob").await;
    let refusal = refusal(&state(&lab, "bobs"), &code, name("laptop")).await;
    assert!(refusal.contains("taken"), "{refusal}");
}

#[tokio::test]
async fn a_device_is_not_replaced_by_another_that_chose_its_name() {
    let lab = Lab::start().await;
    let code = invite(&lab.relay, "alice").await;
    let refusal = refusal(&state(&lab, "new"), &code, name("laptop")).await;
    assert!(
        refusal.contains("ginnel-relay invite --user alice --device laptop"),
        "{refusal}"
    );
    // The code is still good for another name.
    let joined = join(&state(&lab, "new"), &code, name("other")).await;
    assert_eq!(joined.expect("joins"), "alice/other");
    assert_eq!(lab.agent.daemon.report.status().connects, 1);
}

/// Many machines have the name that their system came with.
#[tokio::test]
async fn machines_of_one_name_are_numbered() {
    let lab = Lab::start().await;
    let mut first = None;
    for number in 1..=9 {
        let code = invite(&lab.relay, "alice").await;
        let joined = join(&state(&lab, &number.to_string()), &code, None).await;
        let joined = joined.expect("joins");
        let first = first.get_or_insert_with(|| joined.clone());
        let expected = match number {
            1 => first.clone(),
            number => format!("{first}-{number}"),
        };
        assert_eq!(joined, expected);
    }
    let code = invite(&lab.relay, "alice").await;
    let refusal = refusal(&state(&lab, "10"), &code, None).await;
    assert!(refusal.contains("hint: choose another name"), "{refusal}");
}

#[tokio::test]
async fn a_device_does_not_get_a_second_name_by_accident() {
    let lab = Lab::start().await;
    let code = invite(&lab.relay, "alice").await;
    let again = join(&lab.agent.state, &code, None).await;
    let error = format!("{:#}", again.expect_err("refused"));
    assert!(error.contains("choose a name"), "{error}");
    let kept = Credentials::load(&lab.agent.state).expect("kept");
    assert_eq!(kept.leaf().identity.device.to_string(), "alice/laptop");
    // At another relay it is new.
    let elsewhere = Lab::start().await;
    let code = invite(&elsewhere.relay, "alice").await;
    join(&lab.agent.state, &code, None).await.expect("joins");
}

/// Runs an agent on a state folder until the relay has refused it.
async fn refused_agent(state: &Path) -> LinkStatus {
    let agent = restart_agent(state).await;
    let status = until("a refusal", || {
        let status = agent.report.status();
        assert_ne!(status.state, LinkState::Connected);
        (status.state == LinkState::Refused).then_some(status)
    })
    .await;
    assert_eq!(status.connects, 0, "it claimed to be connected");
    status
}

#[tokio::test]
async fn a_revoked_device_learns_that_it_is() {
    let lab = Lab::start().await;
    let state = state(&lab, "lost");
    let code = invite(&lab.relay, "alice").await;
    join(&state, &code, name("lost")).await.expect("joins");
    let registry = lab.registry().await;
    let lost = name("lost").expect("named");
    let revoked = registry
        .revoke_device(&lost, lab.relay.relay.now_ms())
        .await;
    assert!(revoked.expect("revoked"));
    let status = refused_agent(&state).await;
    assert!(
        status
            .problem
            .is_some_and(|problem| problem.contains("revoked"))
    );
}

#[tokio::test]
async fn a_revocation_cuts_the_live_link_within_a_second() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    let registry = lab.registry().await;
    let revoked = registry
        .revoke_device(&lab.agent.device, lab.relay.relay.now_ms())
        .await;
    assert!(revoked.expect("revoked"));
    let began = Instant::now();
    let report = &lab.agent.daemon.report;
    until_true("the link ends", || {
        report.status().state != LinkState::Connected
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let response = lab.get("web.laptop", "/").await;
    assert_eq!(response.headers()["ginnel-reason"], "device_offline");
    until_true("the agent says why", || {
        let problem = report.status().problem;
        problem.is_some_and(|problem| problem.contains("revoked"))
    })
    .await;
    // For good: the name cannot be had again.
    let code = invite(&lab.relay, "alice").await;
    let refusal = refusal(&state(&lab, "again"), &code, name("laptop")).await;
    assert!(refusal.contains("revoked"), "{refusal}");
}

#[tokio::test]
async fn a_second_agent_with_the_same_identity_takes_over() {
    let lab = Lab::start().await;
    let copy = state(&lab, "copy");
    copy_folder(&lab.agent.state, &copy);
    let second = restart_agent(&copy).await;
    until_true("the second is connected", || {
        second.report.status().state == LinkState::Connected
    })
    .await;
    let report = &lab.agent.daemon.report;
    let status = until("the first gives way", || {
        let status = report.status();
        (status.state == LinkState::Refused).then_some(status)
    })
    .await;
    let problem = status.problem.expect("told");
    assert!(
        problem.contains("another agent runs with this device's identity"),
        "{problem}"
    );
    assert_eq!(second.report.status().state, LinkState::Connected);
    assert_eq!(lab.relay.relay.links.all().len(), 1);
}

fn copy_folder(from: &Path, to: &Path) {
    ginnel_certs::private_file::create_dir_private(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        // Not the store and the socket, which are no part of an identity.
        if !entry.file_type().expect("known").is_file() {
            continue;
        }
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[tokio::test]
async fn joining_again_makes_the_older_certificate_stale() {
    let lab = Lab::start().await;
    let older = state(&lab, "older");
    for state in [&older, &state(&lab, "newer")] {
        let code = invite_with(&lab.relay, "alice", Some("phone"), HOUR).await;
        join(state, &code, None).await.expect("joins");
    }
    let status = refused_agent(&older).await;
    let problem = status.problem.expect("told");
    assert!(problem.contains("joined again elsewhere"), "{problem}");
}

/// Moves credentials into a state folder, as if the device had joined.
fn store(lab: &Lab, credentials: &Credentials) -> PathBuf {
    let state = state(lab, "forged");
    credentials.save(&state).expect("stored");
    let place = ginnel_agent::join::RelayPlace {
        address: lab.relay.advertise.clone(),
    };
    let place = serde_json::to_vec(&place).expect("JSON");
    let file = state.join(ginnel_agent::join::RELAY_FILE);
    ginnel_certs::private_file::write(&file, &place).expect("written");
    state
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_words() {
    let lab = Lab::start().await;
    let past = SystemTime::now() - 48 * HOUR;
    let authority = &lab.relay.relay.authority;
    let credentials = forge(authority, HERE, ("alice", "laptop"), (past, HOUR));
    let status = refused_agent(&store(&lab, &credentials)).await;
    let problem = status.problem.expect("told");
    assert!(problem.contains("expired"), "{problem}");
}

#[tokio::test]
async fn certificates_that_name_no_device_of_this_relay_are_refused() {
    let lab = Lab::start().await;
    let authority = &lab.relay.relay.authority;
    let now = (SystemTime::now(), HOUR);
    for (place, device, code) in [
        (HERE, ("alice", "nobody"), Code::UnknownDevice),
        (HERE, ("bob", "laptop"), Code::UnknownDevice),
        (HERE, ("alice", "laptop"), Code::StaleCertificate),
        (
            ("localhost", "production"),
            ("alice", "laptop"),
            Code::WrongIdentity,
        ),
        (
            ("elsewhere.example", "dev"),
            ("alice", "laptop"),
            Code::WrongIdentity,
        ),
    ] {
        let credentials = forge(authority, place, device, now);
        let device = Device::new(&lab.relay, &credentials);
        let error = device.greet().await.expect_err("refused");
        assert_eq!(error.code(), Some(code), "{error}");
    }
    // Nobody else noticed.
    assert_eq!(lab.agent.daemon.report.status().state, LinkState::Connected);
}

/// Whoever reaches the port can be refused as often as they like.
#[tokio::test]
async fn refused_strangers_do_not_fill_the_log() {
    let (log, _guard) = Log::of("ginnel_relay");
    let lab = Lab::start().await;
    let pin = lab.relay.relay.authority.spki_pin();
    let never_given = JoinCode::generate(&lab.relay.advertise, pin).expect("code");
    let authority = &lab.relay.relay.authority;
    let now = (SystemTime::now(), HOUR);
    let credentials = forge(authority, HERE, ("alice", "nobody"), now);
    let stranger = Device::new(&lab.relay, &credentials);
    for _ in 0..3 {
        refusal(&state(&lab, "new"), &never_given.to_string(), name("new")).await;
        stranger.greet().await.expect_err("refused");
    }
    let metrics = &lab.relay.relay.metrics;
    assert_eq!(metrics.joins_refused.get(), 3);
    until_true("all are refused", || metrics.links_refused.get() == 3).await;
    let mut lines = log.lines();
    lines.retain(|line| line.contains(" refused"));
    let [join, link] = &lines[..] else {
        panic!("not two warnings: {lines:#?}");
    };
    assert!(
        join.contains("joins refused") && join.contains("times=1"),
        "{join}"
    );
    assert!(
        link.contains("links refused") && link.contains("times=1"),
        "{link}"
    );
}

#[tokio::test]
async fn a_foreign_authority_makes_no_devices() {
    let lab = Lab::start().await;
    let domain = Domain::parse("localhost").expect("valid");
    let foreign = Authority::create(&domain, SystemTime::now()).expect("authority");
    let now = (SystemTime::now(), HOUR);
    let credentials = forge(&foreign, HERE, ("alice", "laptop"), now);
    // It would not trust the relay either, so trust is set apart from proof.
    let device = Device::trusting(&lab.relay, &credentials);
    let error = match device.dial().await {
        Ok(link) => end_of(&link).await,
        Err(error) => error,
    };
    assert!(matches!(error, LinkError::Refused { .. }), "{error}");
    assert_eq!(lab.agent.daemon.report.status().state, LinkState::Connected);
}
