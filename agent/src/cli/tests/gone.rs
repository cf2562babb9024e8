//! Readers of the output that have gone, such as `head`.

use ginnel_daemon::output::Output;

use super::*;

/// The output of `ginnel … | true`.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn ends_silently(dir: &TempDir, line: &str) {
    let folder = dir.path().to_str().expect("utf-8");
    let words = line.split(' ').map(|word| word.replace("DIR", folder));
    let cli = Cli::try_parse_from(["ginnel".to_owned()].into_iter().chain(words));
    let environment = |name: &str| (name == "GINNEL_STATE").then(|| folder.into());
    let mut out = Output::new(Gone);
    let done = execute(cli.expect(line), &environment, &mut out).await;
    let error = done.expect_err(line);
    assert!(out.explains(&error), "{line}: {error:#}");
}

#[tokio::test]
async fn no_command_complains_where_no_daemon_runs() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("a.txt"), "apples").expect("written");
    say(&dir, "share web 3000").await;
    say(&dir, "add DIR/a.txt").await;
    for line in [
        "down",
        "share api 3001",
        "demo",
        "services",
        "services --json",
        "unshare web",
        "add DIR/a.txt",
        "add --json DIR/a.txt",
        "search apples",
        "search --json apples",
        "documents ls",
        "documents ls --json",
        "documents show a.txt",
        "documents show a.txt --json",
        "collections",
        "collections --json",
        "store stats",
        "store stats --json",
        "store check",
        "store check --json",
        "store rebuild-index",
        "store rebuild-index --json",
        "store backup DIR/one.db",
        "store backup DIR/two.db --json",
        "documents rm a.txt",
        "completions bash",
        "man",
        "man DIR/man",
    ] {
        ends_silently(&dir, line).await;
    }
}

#[tokio::test]
async fn no_command_complains_where_a_daemon_runs() {
    let daemon = Daemon::start(LinkState::Connected).await;
    for line in [
        "status",
        "status --json",
        "status --watch",
        "status --watch --json",
        "services --json",
        "share api 3001",
    ] {
        ends_silently(&daemon.state, line).await;
    }
}

/// The pipe to a daemon that died is not that of the output.
#[test]
fn a_daemon_that_has_gone_is_told() {
    let broken = io::Error::from(io::ErrorKind::BrokenPipe);
    let error = ClientError::Failed {
        pid: 7,
        source: broken.into(),
    };
    assert!(!Output::new(io::sink()).explains(&error.into()));
}
