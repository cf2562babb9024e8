//! Readers of the output that have gone, such as `head`.

use super::*;

/// The output of `ginnel-relay … | true`.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ends_silently(case: &Case, command: &str) {
    let cli = case.parse(command).expect(command);
    let (mut out, mut notes) = (Output::new(Gone), Output::new(Gone));
    let mut terminal = Terminal {
        out: &mut out,
        notes: &mut notes,
    };
    let error = run(cli, &|_| None, &mut terminal).expect_err(command);
    let is_explained = out.explains(&error) || notes.explains(&error);
    assert!(is_explained, "{command}: {error:#}");
}

#[test]
fn no_command_complains() {
    ends_silently(&Case::new(), "init --domain relay.example");
    let case = Case::made();
    for command in [
        "invite --user alice",
        "invite --user alice --json",
        "devices ls",
        "key ls",
        "usage",
    ] {
        ends_silently(&case, command);
    }
    case.join("alice", "laptop");
    case.join("alice", "desk");
    for command in [
        "devices ls",
        "devices ls --json",
        "devices show laptop",
        "devices show laptop --json",
        "devices revoke laptop",
        "devices revoke laptop",
        "key create --user alice --scope forward:*/api",
        "key create --user alice --scope forward:*/api --json",
        "key ls",
        "key ls --json",
        "usage --json",
        "completions bash",
        "man",
    ] {
        ends_silently(&case, command);
    }
}
