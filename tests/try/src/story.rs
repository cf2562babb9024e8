//! What `./try` does, step by step.

use std::io::Write as _;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use tokio::process::Child;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::knowledge;
use crate::process::Setup;
use crate::service::{self, LARGE, WORDS};

/// Tells the story; then waits for Ctrl-C, unless `once`.
pub(crate) async fn tell(once: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::new(folder.path())?;
    let tasks = TaskTracker::new();
    let caller = Caller {
        port: setup.public,
        tasks: tasks.clone(),
    };

    say("Ginnel: a relay, a device and a local service on this machine\n");
    let clock = Clock::start();
    let mut relay = setup.relay()?;
    setup.ready().await?;
    clock.step("ginnel-relay dev", "made its authority, listens");

    let samples = knowledge::prepare(&setup).await?;
    let clock = Clock::start();
    let mut agent = setup.agent()?;
    setup.connected().await?;
    clock.step(
        "ginnel up",
        "found the relay, got a certificate, connected over QUIC",
    );

    let port = service::start(&tasks).await?;
    let clock = Clock::start();
    let target = format!("http://127.0.0.1:{port}");
    setup.ginnel(&["share", "web", &target, "--public"]).await?;
    clock.step("ginnel share web --public", &format!("shares {target}"));

    plain(&caller).await?;
    streaming(&caller).await?;
    large(&caller).await?;
    websocket(&caller).await?;
    private(&setup, &caller, &target).await?;
    knowledge::tell(&setup, samples.as_ref()).await?;

    if !once {
        invite_reader(&setup);
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            status = relay.wait() => anyhow::bail!("the relay ended, {}", status?),
            status = agent.wait() => anyhow::bail!("the agent ended, {}", status?),
        }
    }
    let clock = Clock::start();
    setup.ginnel(&["down"]).await?;
    let status = agent.wait().await?;
    ensure!(status.success(), "the agent ended badly, {status}");
    end(&mut relay).await?;
    clock.step("ginnel down", "both stopped cleanly");
    Ok(())
}

async fn plain(caller: &Caller) -> anyhow::Result<()> {
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        let answer = caller.send("web.localhost", "/hello", Bytes::new(), &[]);
        let answer = answer.await?;
        ensure!(answer.status() == 200, "status={}", answer.status());
        ensure!(Caller::length(answer).await? > 0, "an empty answer");
        fastest = fastest.min(began.elapsed());
    }
    let what = format!("200 OK, 20 times, the fastest in {}", show(fastest));
    row("GET web.localhost/hello", &what);
    Ok(())
}

async fn streaming(caller: &Caller) -> anyhow::Result<()> {
    let began = Instant::now();
    let answer = caller.send("web.localhost", "/tokens", Bytes::new(), &[]);
    let pieces = Caller::pieces(answer.await?).await?;
    ensure!(pieces.len() == WORDS.len(), "{} pieces", pieces.len());
    let first = pieces.first().map_or(began, |(_, at)| *at) - began;
    let last = pieces.last().map_or(began, |(_, at)| *at) - began;
    let what = format!(
        "{} words one by one: the first after {}, the last after {}",
        pieces.len(),
        show(first),
        show(last)
    );
    row("GET web.localhost/tokens", &what);
    Ok(())
}

async fn large(caller: &Caller) -> anyhow::Result<()> {
    let began = Instant::now();
    let answer = caller.send("web.localhost", "/large", Bytes::new(), &[]);
    let length = Caller::length(answer.await?).await?;
    ensure!(length == LARGE, "{length} bytes");
    row("GET web.localhost/large", &rate(length, began.elapsed()));

    let body = Bytes::from(vec![b'u'; LARGE]);
    let began = Instant::now();
    let answer = caller.send("web.localhost", "/upload", body, &[]).await?;
    let took = began.elapsed();
    let pieces = Caller::pieces(answer).await?;
    let counted: Vec<u8> = pieces
        .iter()
        .flat_map(|(piece, _)| piece.to_vec())
        .collect();
    ensure!(
        counted == LARGE.to_string().as_bytes(),
        "the service counted wrong"
    );
    row("POST web.localhost/upload", &rate(LARGE, took));
    Ok(())
}

async fn websocket(caller: &Caller) -> anyhow::Result<()> {
    let (echo, took) = caller
        .websocket("web.localhost", "/socket", "ay up")
        .await?;
    ensure!(echo == "ay up", "echo={echo:?}");
    let what = format!("WebSocket echoed {echo:?} in {}", show(took));
    row("GET web.localhost/socket", &what);
    Ok(())
}

async fn private(setup: &Setup, caller: &Caller, target: &str) -> anyhow::Result<()> {
    setup.ginnel(&["share", "inner", target]).await?;
    let answer = caller.send("inner.localhost", "/hello", Bytes::new(), &[]);
    let status = answer.await?.status();
    ensure!(status == 401, "a private service answered, status={status}");
    row(
        "GET inner.localhost/hello",
        "401: a service is private unless shared --public",
    );

    let made = setup
        .ginnel_relay(&[
            "key",
            "create",
            "--user",
            "dev",
            "--name",
            "try",
            "--scope",
            "forward:*/inner",
            "--json",
        ])
        .await?;
    let made: serde_json::Value = serde_json::from_str(&made)?;
    let key = made["key"].as_str().unwrap_or_default();
    let bearer = format!("Bearer {key}");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        // The relay notices a new key within a second.
        let headers = [("authorization", bearer.as_str())];
        let answer = caller.send("inner.localhost", "/hello", Bytes::new(), &headers);
        if answer.await?.status() == 200 {
            break;
        }
        ensure!(Instant::now() < deadline, "the API key is not accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    row("  … with its API key", "200 OK");
    Ok(())
}

fn invite_reader(setup: &Setup) {
    let Setup {
        public,
        admin,
        folder,
        ..
    } = setup;
    say(&format!(
        "\nBoth are still running. In another terminal:\n\n\
         \x20   curl -N http://web.localhost:{public}/tokens\n\
         \x20   curl http://127.0.0.1:{admin}/metrics\n\
         \x20   GINNEL_STATE={} {} search the cat that smiles\n\n\
         Ctrl-C stops them.",
        folder.join("agent").display(),
        setup.programs.join("ginnel").display(),
    ));
}

/// Ends the relay as a service manager would.
async fn end(relay: &mut Child) -> anyhow::Result<()> {
    #[cfg(unix)]
    if let Some(pid) = relay.id() {
        let mut kill = tokio::process::Command::new("kill");
        let told = kill.arg(pid.to_string()).status().await?;
        ensure!(told.success(), "cannot stop the relay, {told}");
        let status = relay.wait().await?;
        ensure!(status.success(), "the relay ended badly, {status}");
        return Ok(());
    }
    relay.kill().await?;
    Ok(())
}

/// Times a step.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn step(&self, command: &str, what: &str) {
        row(command, &format!("{what} ({})", show(self.0.elapsed())));
    }
}

pub(crate) fn row(command: &str, what: &str) {
    say(&format!("  {command:<27} {what}"));
}

fn rate(bytes: usize, took: Duration) -> String {
    let mib = bytes >> 20;
    let seconds = took.as_secs_f64().max(1e-9);
    let per_second = f64::from(u32::try_from(mib).unwrap_or(u32::MAX)) / seconds;
    format!("{mib} MiB in {} ({per_second:.0} MiB/s)", show(took))
}

pub(crate) fn show(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}

/// Prints a line; a closed pipe is no reason to fail.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
