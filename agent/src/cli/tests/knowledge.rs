//! The commands about what this device knows, where no daemon runs.

use std::time::Duration;

use tokio::sync::watch;

use super::*;

/// What a command that goes on may take for one thing.
const IN_TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn several_folders_are_followed_at_once() {
    let dir = tempfile::tempdir().expect("folder");
    for name in ["a", "b"] {
        std::fs::create_dir(dir.path().join(name)).expect("made");
        std::fs::write(dir.path().join(name).join("x.txt"), name).expect("written");
    }
    let (mut said, reader) = Said::new();
    let folder = dir.path().to_str().expect("utf-8");
    let (a, b) = (format!("{folder}/a"), format!("{folder}/b"));
    let cli = Cli::try_parse_from(["ginnel", "add", "--json", "--watch", &a, &b]).expect("valid");
    let environment = |name: &str| (name == "GINNEL_STATE").then(|| folder.into());
    let follows = async {
        says(&reader, r#""source":"a/x.txt","outcome":"added""#).await;
        says(&reader, r#""source":"b/x.txt","outcome":"added""#).await;
        std::fs::write(dir.path().join("b/y.txt"), "new").expect("written");
        says(&reader, r#""source":"b/y.txt","outcome":"added""#).await;
        std::fs::write(dir.path().join("a/y.txt"), "new").expect("written");
        says(&reader, r#""source":"a/y.txt","outcome":"added""#).await;
    };
    tokio::select! {
        ended = execute(cli, &environment, &mut said) => panic!("{ended:?}"),
        () = follows => {}
    }
}

#[tokio::test]
async fn folders_of_one_name_are_not_followed_at_once() {
    let dir = tempfile::tempdir().expect("folder");
    for name in ["a/notes", "b/notes"] {
        std::fs::create_dir_all(dir.path().join(name)).expect("made");
    }
    let line = "add --watch DIR/a/notes DIR/b/notes/";
    let ended = tokio::time::timeout(IN_TIME, run_in(&dir, line)).await;
    let error = ended.expect("in time").expect_err("refused").to_string();
    assert!(error.contains("the same name"), "{error}");
    assert!(error.ends_with("--as NAME"), "{error}");
}

#[tokio::test]
async fn a_bad_path_stops_none_of_the_others() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::create_dir_all(dir.path().join("other")).expect("made");
    for name in ["a.txt", "other/a.txt", "b.txt"] {
        std::fs::write(dir.path().join(name), name).expect("written");
    }
    // One is not there, one takes the name of another.
    let line = "add --json DIR/a.txt DIR/gone.txt DIR/other/a.txt DIR/b.txt";
    let (code, said) = run_in(&dir, line).await.expect("the others go on");
    assert_eq!(code, ExitCode::FAILURE);
    assert!(
        said.contains(r#"gone.txt","outcome":"failed""#) && said.contains("no such file"),
        "{said}"
    );
    assert!(said.contains("another folder of that name"), "{said}");
    assert!(
        said.contains(r#""source":"b.txt","outcome":"added""#),
        "{said}"
    );
    assert_eq!(say(&dir, "documents show b.txt").await, "b.txt\n");
    let error = run_in(&dir, "add --json DIR/gone.txt").await;
    let error = error.expect_err("it is the only one").to_string();
    assert!(error.contains("no such file"), "{error}");
}

#[tokio::test]
async fn a_model_that_is_not_there_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("a.txt"), "apples").expect("written");
    let gone = dir.path().join("gone");
    let settings = format!("[embed]\nfolder = {gone:?}\n");
    std::fs::write(dir.path().join("config.toml"), settings).expect("written");
    let added = tokio::time::timeout(IN_TIME, say(&dir, "add DIR/a.txt")).await;
    let said = added.expect("it ends");
    let last = said.lines().last().expect("told");
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    let problem = last["problem"].as_str().expect("told");
    assert!(problem.contains("gone/config.json"), "{problem}");
    let said = say(&dir, "search apples").await;
    assert!(said.contains("a.txt") && said.contains("note: "), "{said}");
    assert!(said.contains("hint: put config.json, "), "{said}");
    let said = say(&dir, "store stats").await;
    assert!(said.contains("hint: put config.json, "), "{said}");
}

#[tokio::test]
async fn documents_are_found_by_source_among_many_that_begin_so() {
    let dir = tempfile::tempdir().expect("folder");
    let lines: String = (0..1100)
        .map(|line| format!("{{\"text\":\"line {line}\"}}\n"))
        .collect();
    std::fs::write(dir.path().join("big.jsonl"), lines).expect("written");
    std::fs::write(dir.path().join("own.txt"), "by itself").expect("written");
    say(&dir, "add --no-wait DIR/big.jsonl").await;
    say(&dir, "add --no-wait --as big.json DIR/own.txt").await;
    let said = say(&dir, "documents show big.json").await;
    assert_eq!(said, "by itself\n");
    let said = say(&dir, "documents show big.jsonl#1099").await;
    assert_eq!(said, "line 1098\n");

    say(&dir, "add --no-wait --as big.json -c other DIR/own.txt").await;
    let error = run_in(&dir, "documents show big.json").await;
    let error = error.expect_err("two of them").to_string();
    assert!(error.contains("several collections"), "{error}");
    assert!(error.ends_with("hint: name it by its id"), "{error}");
    let error = run_in(&dir, "documents show big").await;
    let error = error.expect_err("none").to_string();
    assert!(error.ends_with("hint: ginnel documents ls"), "{error}");
}

/// Names and titles of files are anybody's.
#[cfg(unix)]
#[tokio::test]
async fn no_command_passes_escapes_on() {
    let dir = tempfile::tempdir().expect("folder");
    let notes = dir.path().join("notes\u{1b}[32m");
    std::fs::create_dir(&notes).expect("made");
    std::fs::write(notes.join("a\u{7}.txt"), "apples \u{1b}]0;x\u{9b}1m").expect("written");
    let page = "<title>x&#27;[31m</title><p>apples</p>";
    std::fs::write(notes.join("b.html"), page).expect("written");
    say(&dir, "add DIR/notes\u{1b}[32m").await;
    for (line, says) in [
        ("search apples", "notes[32m/a.txt"),
        ("search apples", "x[31m"),
        ("documents ls", "notes[32m/b.html"),
        ("documents show notes\u{1b}[32m/a\u{7}.txt", "apples"),
        (
            "documents rm notes\u{1b}[32m/b.html",
            "Deleted notes[32m/b.html",
        ),
    ] {
        let said = say(&dir, line).await;
        assert!(said.contains(says), "{line:?}: {said:?}");
        let escape = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(escape), "{line:?}: {said:?}");
    }
}

#[tokio::test]
async fn upkeep_can_be_read_by_programs() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("a.txt"), "apples").expect("written");
    say(&dir, "add DIR/a.txt").await;
    for (line, has) in [
        ("store rebuild-index --json", "documents"),
        ("store backup DIR/copy.db --json", "bytes"),
        ("documents rm a.txt --json", "deleted"),
    ] {
        let said = say(&dir, line).await;
        let said: serde_json::Value = serde_json::from_str(&said).expect(line);
        assert!(said.get(has).is_some(), "{line}: {said}");
    }
}

/// The reason, and not only that there is one.
#[tokio::test]
async fn a_store_that_could_not_be_opened_is_told() {
    let daemon = Daemon::start(LinkState::NotJoined).await;
    for line in ["store check", "search x"] {
        let error = run_in(&daemon.state, line).await.expect_err("no store");
        let text = report::render(&error, Style::plain());
        assert_eq!(
            text, "error: the store cannot be opened: no luck\nhint: try\n",
            "{line}"
        );
    }
}

/// What a command says while it runs.
struct Said(watch::Sender<String>);

impl Said {
    fn new() -> (Self, watch::Receiver<String>) {
        let (said, reader) = watch::channel(String::new());
        (Self(said), reader)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.send_modify(|said| said.push_str(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn says(reader: &watch::Receiver<String>, what: &str) {
    let mut reader = reader.clone();
    let said = reader.wait_for(|said| said.contains(what));
    let said = tokio::time::timeout(IN_TIME, said).await;
    said.expect("in time").expect("it goes on");
}
