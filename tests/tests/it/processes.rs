//! The relay and the agent as processes: they are told to stop or killed, and
//! those that follow on the same state go on.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ginnel_tests::caller::Caller;
use ginnel_tests::origin::{ManualOrigin, Origin};
use ginnel_tests::processes::{Processes, end, limit_files, play, terminate};
use ginnel_tests::wait::{LOOK_AGAIN, in_time, promptly, until_true};
use ginnel_tests::wire::{read_bytes, read_head};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Callers must not be without an answer for longer.
const SOON: Duration = Duration::from_secs(10);

/// A relay that waits for nobody has stopped by then.
const SLOW: Duration = Duration::from_millis(500);

/// Does nothing but in the processes that the tests here start.
#[test]
fn child() -> ExitCode {
    play()
}

/// A relay, an agent and a service `web` that answers at once.
pub(super) async fn started() -> (Processes, Child, Child, Origin) {
    let processes = Processes::new("processes::child");
    let relay = processes.relay().await;
    let (origin, _) = Origin::canned(OK).await;
    processes.share("web", &origin.target()).await;
    let agent = processes.agent();
    processes.until_served("web").await;
    (processes, relay, agent, origin)
}

/// Tells how long callers were without an answer, which must not be long.
async fn assert_served_soon(processes: &Processes, since: Instant, what: &str) {
    processes.until_served("web").await;
    let took = since.elapsed();
    eprintln!("{what}: served again after {took:?}");
    assert!(took < SOON, "{took:?}\n{}", processes.log());
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_finishes_and_the_next_goes_on() {
    let (processes, mut relay, _agent, _origin) = started().await;
    let slow = ManualOrigin::bind().await;
    processes.share("slow", &slow.target()).await;
    let head = "GET / HTTP/1.1\r\nHost: slow.localhost\r\n\r\n";
    let mut caller = Caller::new(processes.public).say(head).await;
    let (mut service, _) = slow.request().await;

    assert!(processes.invites());
    terminate(&relay).await;
    in_time("the relay drains", async {
        while processes.ready().await != Some(503) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    tokio::time::sleep(SLOW).await;
    service.write_all(OK.as_bytes()).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read_bytes(&mut caller, 2).await, b"ok");
    let status = end(&mut relay).await;
    assert!(status.success(), "{status}\n{}", processes.log());
    assert!(
        !processes.invites(),
        "a code that nobody answers to is left"
    );

    let since = Instant::now();
    let _relay = processes.relay().await;
    assert_served_soon(&processes, since, "relay stopped").await;
}

#[tokio::test]
async fn after_a_killed_relay_the_next_goes_on() {
    let (processes, mut relay, _agent, _origin) = started().await;
    let since = Instant::now();
    relay.kill().await.expect("killed");
    let _relay = processes.relay().await;
    assert_served_soon(&processes, since, "relay killed").await;
}

#[tokio::test]
async fn after_a_killed_agent_the_next_goes_on() {
    let (processes, _relay, mut agent, _origin) = started().await;
    let since = Instant::now();
    agent.kill().await.expect("killed");
    let _agent = processes.agent();
    assert_served_soon(&processes, since, "agent killed").await;
}

#[tokio::test]
async fn a_relay_keeps_open_files_for_more_than_its_callers() {
    let processes = Processes::new("processes::child");
    let _relay = processes.relay_with_files(64, 192).await;
    let caller = Caller::new(processes.public);
    let mut unfinished = Vec::new();
    for _ in 0..200 {
        unfinished.push(caller.say("GET / HTTP/1.1\r\n").await);
    }
    let ready = promptly("the relay is ready", processes.ready()).await;
    assert_eq!(ready, Some(200), "{}", processes.log());

    let log = processes.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [line] = lines[..] else {
        panic!("not one warning: {log}");
    };
    for part in [
        "connections_max=10000",
        "connections=96",
        "open_files=192",
        "hint: LimitNOFILE=10096",
        "ulimit -n 10096",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn a_relay_without_open_files_says_so_once_and_goes_on() {
    let processes = Processes::new("processes::child");
    let relay = processes.relay_with_files(64, 192).await;
    let failures = || {
        let log = processes.log();
        let told = log.matches("cannot accept a connection").count();
        (told, log)
    };
    limit_files(&relay, 8, 192);
    let ask = "GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n";
    let mut caller = Caller::new(processes.public).say(ask).await;
    until_true("the log tells", || failures().0 > 0).await;
    // It tries ten times a second.
    tokio::time::sleep(SLOW).await;
    let (told, log) = failures();
    assert_eq!(told, 1, "{log}");
    limit_files(&relay, 192, 192);
    let answer = promptly("an answer", read_head(&mut caller)).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
