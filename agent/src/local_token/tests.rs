use super::*;

#[test]
fn the_token_is_made_once_and_private() {
    let dir = tempfile::tempdir().expect("folder");
    LocalToken::read(dir.path()).expect_err("none yet");
    let token = LocalToken::open(dir.path()).expect("made");
    let again = LocalToken::read(dir.path()).expect("read");
    assert_eq!(token.digits, again.digits);
    let other = tempfile::tempdir().expect("folder");
    let other = LocalToken::open(other.path()).expect("made");
    assert_ne!(token.digits, other.digits);

    let shown = format!("{token:?} {:?}", token.to_header());
    assert!(!shown.contains(&*token.digits), "{shown}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(FILE_NAME);
        let mode = std::fs::metadata(&path)
            .expect("exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(LocalToken::open(dir.path()).is_err());
    }
}

#[test]
fn a_file_that_holds_no_token_is_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let long = "a".repeat(TOKEN_DIGITS + 1);
    for text in ["", "\n", "abc", &"A".repeat(TOKEN_DIGITS), &long] {
        private_file::write(&dir.path().join(FILE_NAME), text.as_bytes()).expect("written");
        assert!(LocalToken::open(dir.path()).is_err(), "{text:?}");
    }
}

#[test]
fn only_the_token_opens() {
    let token = token();
    let good = &*token.digits;
    let wrong = good.replace(|c: char| c != 'f', "f");
    for (headers, expected) in [
        (vec![], Err(Refusal::NoToken)),
        (vec![("authorization", format!("Bearer {good}"))], Ok(())),
        (vec![("authorization", format!("bEARER  {good}"))], Ok(())),
        (vec![("x-api-key", good.to_owned())], Ok(())),
        (
            vec![("authorization", good.to_owned())],
            Err(Refusal::NoToken),
        ),
        (
            vec![("authorization", format!("Basic {good}"))],
            Err(Refusal::NoToken),
        ),
        (
            vec![("authorization", "Bearer ".to_owned())],
            Err(Refusal::WrongToken),
        ),
        (
            vec![("authorization", "Be".to_owned())],
            Err(Refusal::NoToken),
        ),
        (vec![("x-api-key", wrong.clone())], Err(Refusal::WrongToken)),
        (
            vec![("x-api-key", good[1..].to_owned())],
            Err(Refusal::WrongToken),
        ),
        (
            vec![("x-api-key", format!("{good}0"))],
            Err(Refusal::WrongToken),
        ),
        (vec![("x-api-key", String::new())], Err(Refusal::WrongToken)),
        (
            vec![
                ("x-api-key", wrong),
                ("authorization", format!("Bearer {good}")),
            ],
            Ok(()),
        ),
    ] {
        assert_eq!(token.authorize(&map(&headers)), expected, "{headers:?}");
    }
}

#[test]
fn nothing_that_may_hold_the_token_is_left() {
    let mut headers = map(&[
        ("authorization", "Bearer a".to_owned()),
        ("authorization", "Basic b".to_owned()),
        ("x-api-key", "c".to_owned()),
        ("accept", "d".to_owned()),
    ]);
    strip(&mut headers);
    assert_eq!(headers, map(&[("accept", "d".to_owned())]));
}

#[test]
fn only_requests_to_this_machine_are_served() {
    for (host, accepted) in [
        ("127.0.0.1:7411", true),
        ("127.9.9.9:7411", true),
        ("localhost:7411", true),
        ("LOCALHOST:7411", true),
        ("[::1]:7411", true),
        ("localhost", false),
        ("localhost:80", false),
        ("localhost.evil.example:7411", false),
        ("127.0.0.1.evil.example:7411", false),
        ("evil.example:7411", false),
        ("evil@localhost:7411", false),
        ("0.0.0.0:7411", false),
        ("192.168.0.2:7411", false),
        ("", false),
    ] {
        let headers = map(&[("host", host.to_owned())]);
        assert_eq!(check("/", &headers).is_ok(), accepted, "{host}");
    }
    assert_eq!(check("/", &HeaderMap::new()), Err(Refusal::ForeignHost));
    let two = [
        ("host", "localhost:7411".to_owned()),
        ("host", "evil:1".to_owned()),
    ];
    assert_eq!(check("/", &map(&two)), Err(Refusal::ForeignHost));
    let ours = map(&two[..1]);
    assert_eq!(check("http://localhost:7411/", &ours), Ok(()));
    let foreign = check("http://evil.example:7411/", &ours);
    assert_eq!(foreign, Err(Refusal::ForeignHost));
}

#[test]
fn pages_of_other_sites_are_refused() {
    for (origin, accepted) in [
        ("http://localhost:3000", true),
        ("https://127.0.0.1", true),
        ("http://[::1]:5173", true),
        ("null", false),
        ("", false),
        ("http://evil.example", false),
        ("http://localhost.evil.example", false),
        ("http://localhost@evil.example", false),
        ("file://localhost", false),
        ("localhost", false),
    ] {
        let host = ("host", "localhost:7411".to_owned());
        let headers = map(&[host, ("origin", origin.to_owned())]);
        assert_eq!(check("/", &headers).is_ok(), accepted, "{origin}");
    }
}

fn check(uri: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let local = "127.0.0.1:7411".parse().expect("an address");
    check_origin(&uri.parse().expect("a uri"), headers, local)
}

fn token() -> LocalToken {
    let dir = tempfile::tempdir().expect("folder");
    LocalToken::open(dir.path()).expect("made")
}

fn map(headers: &[(&'static str, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}
