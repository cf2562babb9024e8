use super::*;

/// Runs a shell's command in place of a reader.
fn run_shell(command: &str, bytes: &[u8], time_max: Duration) -> Result<Extracted, String> {
    let shell = Path::new("/bin/sh");
    run(shell, &["-c", command], bytes, time_max).map_err(|error| error.to_string())
}

const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn check_fails(command: &str, reason: &str) {
    let error = run_shell(command, b"%PDF-1.7", LONG).expect_err("no reader");
    assert_eq!(error, format!("the PDF could not be read: {reason}"));
}

fn answer(text: &str, end: usize) -> String {
    format!(
        r#"{{"Read":{{"title":null,"text":"{text}","metadata":{{}},"blocks":[{{"kind":"Paragraph","start":0,"end":{end}}}]}}}}"#
    )
}

#[test]
fn an_answer_is_taken_and_checked() {
    let command = format!("cat > /dev/null; echo '{}'", answer("abc", 3));
    let read = run_shell(&command, &vec![b'x'; 1 << 20], LONG).expect("read");
    assert_eq!((read.text.as_str(), read.mime), ("abc", "application/pdf"));
    let wrong = "its reader's answer is wrong";
    for answer in [
        answer("abc", 4),
        answer("abc", 2),
        answer(" bc", 3),
        answer("äb", 1),
    ] {
        check_fails(&format!("echo '{answer}'"), wrong);
    }
}

/// Whatever the tests were started with, such as `HOME` and `PATH`, or keys.
#[test]
fn a_reader_is_told_nothing_of_our_environment() {
    assert!(std::env::vars_os().count() > 1, "there is some");
    let command = "printf '{\"Refused\":{\"kind\":\"Invalid\",\"reason\":\"'; \
        tr '\\0' ' ' < /proc/$$/environ; printf '\"}}'";
    let kept = ENVIRONMENT.map(std::env::var_os);
    if cfg!(target_os = "linux") && kept.iter().all(Option::is_none) {
        check_fails(command, "RUST_BACKTRACE=0 ");
    }
}

#[test]
fn a_reader_that_does_not_end_is_ended() {
    for command in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000"] {
        let error = run_shell(command, &vec![b'x'; 1 << 20], Duration::from_millis(200));
        let error = error.expect_err("it sleeps");
        assert!(
            error.starts_with("the PDF could not be read: it"),
            "{error}"
        );
    }
    let error = run_shell("exec sleep 1000", b"", Duration::from_millis(200));
    assert_eq!(
        error.expect_err("it sleeps"),
        "the PDF could not be read: it took longer than 0.2 s"
    );
}

#[test]
fn a_reader_that_says_too_much_is_ended() {
    check_fails(
        "exec yes",
        &format!("its text is too long, limit={ANSWER_BYTES_MAX}"),
    );
    let command = format!("yes | head -c 10000000 >&2; echo '{}'", answer("abc", 3));
    assert!(run_shell(&command, b"", LONG).is_ok(), "it may complain");
}

#[test]
fn how_a_reader_breaks_down_is_told() {
    check_fails(
        "exit 3",
        "its reader ended without an answer, exit status: 3",
    );
    check_fails(
        "kill -SEGV $$",
        "its reader ended without an answer, signal: 11 (SIGSEGV)",
    );
    check_fails("kill -XCPU $$", "it takes too much processor time");
    check_fails(
        "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$",
        &format!("it needs more memory, limit={PDF_MEMORY_MAX}"),
    );
    check_fails(
        "echo \"thread 'pdf' has overflowed its stack\" >&2; kill -ABRT $$",
        "it is nested too deeply",
    );
    check_fails(
        r#"echo '{"Refused":{"kind":"Invalid","reason":"it is odd"}}'"#,
        "it is odd",
    );
    let error = run(Path::new("/nowhere/reader"), &[], b"", LONG).expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}

#[test]
fn an_empty_document_is_no_failure() {
    let command = r#"echo '{"Refused":{"kind":"Empty","reason":"no text in it"}}'"#;
    let error = run(Path::new("/bin/sh"), &["-c", command], b"", LONG).expect_err("empty");
    assert!(error.is_skip());
    assert_eq!(error.to_string(), "no text in it");
}
