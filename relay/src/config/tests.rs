//! Settings from all places, right and wrong.

use std::ffi::OsString;
use std::path::Path;

use super::bucket::BucketPlace;
use super::place::RelayPlace;
use super::*;

#[test]
fn development_needs_nothing() {
    let case = Case::new();
    let config = case.dev().expect("valid");
    assert_eq!(config.state, case.state());
    assert_eq!(config.domain.as_str(), "localhost");
    assert_eq!(config.environment.as_str(), "dev");
    assert_eq!(config.link.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(config.public.listen.to_string(), "127.0.0.1:7480");
    assert_eq!(config.admin.to_string(), "127.0.0.1:7490");
    assert_eq!(config.public.tls, None);
    assert_eq!(config.public.connections_max, 10_000);
    assert_eq!(config.grace, Duration::from_secs(30));
    assert_eq!(config.advertise(config.link.listen), "127.0.0.1:7443");
    let url = config.public_url(config.public.listen);
    assert_eq!((url.scheme, url.port), ("http", Some(7480)));
}

#[test]
fn the_internet_needs_a_domain_and_a_certificate() {
    let mistakes = Case::new().serve().expect_err("nothing is set");
    assert_lines(
        &mistakes,
        &[
            "domain: is missing",
            "public.tls: is missing, so callers would speak plain HTTP; hint: ",
        ],
    );

    let case = Case::with("domain = 'relay.example'\n[public]\nplain = true\n");
    let config = case.serve().expect("valid");
    assert_eq!(config.environment.as_str(), "production");
    assert_eq!(config.link.listen.to_string(), "[::]:443");
    assert_eq!(config.public.listen.to_string(), "[::]:443");
    assert_eq!(config.advertise(config.link.listen), "relay.example:443");
    let url = config.public_url(config.public.listen);
    assert_eq!((url.scheme, url.port), ("http", Some(443)));
}

#[test]
fn tls_makes_https_and_its_files_are_beside_the_settings() {
    let case = Case::with(
        "domain = 'relay.example'\n[public]\ntls = { certificate = 'cert.pem', key = '/etc/key.pem' }",
    );
    let config = case.serve().expect("valid");
    let tls = config.public.tls.as_ref().expect("set");
    assert_eq!(tls.certificate, case.state().join("cert.pem"));
    assert_eq!(tls.key, Path::new("/etc/key.pem"));
    let url = config.public_url(config.public.listen);
    assert_eq!((url.scheme, url.port), ("https", None));
    assert_eq!(url.domain.as_str(), "relay.example");

    for (public, what) in [
        (
            "plain = true\ntls = { certificate = 'a', key = 'b' }",
            "public.plain: cannot be true",
        ),
        (
            "tls = { certificate = 'a' }",
            "public.tls: has a certificate and no key",
        ),
        (
            "tls = { key = 'a' }",
            "public.tls: has a key and no certificate",
        ),
    ] {
        let case = Case::with(&format!("domain = 'a.b'\n[public]\n{public}"));
        assert_lines(&case.serve().expect_err(what), &[what]);
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let mut case = Case::with("grace = 5\n[link]\nlisten = '127.0.0.1:1'");
    assert_eq!(case.dev().expect("valid").link.listen.port(), 1);
    case.set("GINNEL_RELAY_LINK_LISTEN", "127.0.0.1:2");
    assert_eq!(case.dev().expect("valid").link.listen.port(), 2);
    case.flags.link = Some("127.0.0.1:3".into());
    assert_eq!(case.dev().expect("valid").link.listen.port(), 3);
    assert_eq!(case.dev().expect("valid").grace, Duration::from_secs(5));
}

#[test]
fn every_key_can_be_set_in_the_file_and_the_environment() {
    let mut in_file = Case::with(
        "domain = 'relay.example'\nenvironment = 'staging'\ngrace = 7\nlog = 'debug'\n\
         log_format = 'json'\n\
         [link]\nlisten = '127.0.0.1:1'\nadvertise = 'edge.example:9'\ncongestion = 'bbr'\n\
         [public]\nlisten = '127.0.0.1:2'\nplain = true\nurl = 'https://relay.example'\n\
         connections_max = 8\n\
         [admin]\nlisten = '127.0.0.1:3'\n\
         [bucket]\nurl = 's3://models'\nendpoint = 'https://s3.example'\nregion = 'eu'\n\
         ca_file = '/ca.pem'\nquota = '5 GB'\n\
         [[tcp]]\nlisten = '127.0.0.1:4'\ndevice = 'laptop'\nservice = 'ssh'\n\
         [[tcp]]\nlisten = '127.0.0.1:5'\ndevice = 'laptop'\nservice = 'db'\n",
    );
    in_file.set("R2_ACCESS_KEY_ID", "id");
    in_file.set("R2_SECRET_ACCESS_KEY", "s3cret");
    let config = in_file.serve().expect("valid");
    let BucketPlace::S3(place) = &config.bucket.at else {
        panic!("it is S3: {config:?}");
    };
    assert_eq!(
        (&*place.bucket, &*place.endpoint, &*place.region),
        ("models", "https://s3.example", "eu")
    );
    assert_eq!(
        (&*place.access_key_id, &*place.secret_access_key),
        ("id", "s3cret")
    );
    assert_eq!(config.bucket.quota, 5_000_000_000);
    assert!(!format!("{config:?}").contains("s3cret"));
    assert_eq!(config.advertise(config.link.listen), "edge.example:9");
    assert_eq!(config.public_url(config.public.listen).scheme, "https");
    assert_eq!(config.public_url(config.public.listen).port, None);
    assert_eq!(config.public.connections_max, 8);
    assert_eq!(config.link.congestion, Congestion::Bbr);
    assert_eq!(config.log_format, LogFormat::Json);
    let ports: Vec<String> = config
        .tcp
        .iter()
        .map(|tcp| tcp.service.to_string())
        .collect();
    assert_eq!(ports, ["ssh", "db"]);

    let mut in_environment = Case::new();
    for (name, value) in [
        ("GINNEL_RELAY_DOMAIN", "relay.example"),
        ("GINNEL_RELAY_ENVIRONMENT", "staging"),
        ("GINNEL_RELAY_GRACE", "7"),
        ("GINNEL_RELAY_LOG", "debug"),
        ("GINNEL_RELAY_LOG_FORMAT", "json"),
        ("GINNEL_RELAY_LINK_LISTEN", "127.0.0.1:1"),
        ("GINNEL_RELAY_LINK_ADVERTISE", "edge.example:9"),
        ("GINNEL_RELAY_LINK_CONGESTION", "bbr"),
        ("GINNEL_RELAY_PUBLIC_LISTEN", "127.0.0.1:2"),
        ("GINNEL_RELAY_PUBLIC_PLAIN", "true"),
        ("GINNEL_RELAY_PUBLIC_URL", "https://relay.example"),
        ("GINNEL_RELAY_PUBLIC_CONNECTIONS_MAX", "8"),
        ("GINNEL_RELAY_ADMIN_LISTEN", "127.0.0.1:3"),
        ("GINNEL_RELAY_BUCKET_URL", "s3://models"),
        ("GINNEL_RELAY_BUCKET_ENDPOINT", "https://s3.example"),
        ("GINNEL_RELAY_BUCKET_REGION", "eu"),
        ("GINNEL_RELAY_BUCKET_CA_FILE", "/ca.pem"),
        ("GINNEL_RELAY_BUCKET_QUOTA", "5 GB"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    ] {
        in_environment.set(name, value);
    }
    let same = Config {
        state: config.state.clone(),
        tcp: config.tcp.clone(),
        ..in_environment.serve().expect("valid")
    };
    assert_eq!(format!("{same:?}"), format!("{config:?}"));
}

#[test]
fn all_mistakes_in_all_places_are_told_at_once() {
    let mut case = Case::with(
        "# first\ndomain = 'Relay'\nlogg = 'info'\ngrace = 1.5\n\n[link]\nlisten = '443'\n\
         mtu = 1500\n[publik]\n[[tcp]]\nlisten = '127.0.0.1:1'\ndevice = 'a_b'\n\
         [upstream.Open]\n",
    );
    case.set("GINNEL_RELAY_LINK_CONGESTION", "reno");
    case.set("GINNEL_RELAY_LOG_FORMAT", "xml");
    case.flags.admin = Some("here".into());
    // Right here, yet the file's is told all the same.
    case.flags.link = Some("127.0.0.1:0".into());
    let mistakes = case.dev().expect_err("twelve mistakes");
    assert_lines(
        &mistakes,
        &[
            "relay.toml:2: domain: domain is not a DNS name",
            "relay.toml:3: logg is not a known key",
            "relay.toml:4: grace cannot be of this type, found=float",
            "relay.toml:7: link.listen: is not of the form ADDRESS:PORT",
            "relay.toml:8: link.mtu is not a known key",
            "relay.toml:9: publik is not a known table",
            "relay.toml:10: service is missing",
            "relay.toml:12: tcp.0.device: device name may hold only",
            "relay.toml:13: upstream name may hold only",
            "relay.toml:13: url is missing",
            "GINNEL_RELAY_LINK_CONGESTION: is neither cubic nor bbr",
            "GINNEL_RELAY_LOG_FORMAT: is neither text nor json",
            "--admin: is not of the form ADDRESS:PORT",
        ],
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_by_line() {
    let mistakes = Case::with("domain = \n[link\n").dev().expect_err("no TOML");
    assert!(mistakes.lines().len() >= 2, "{mistakes}");
    assert!(
        mistakes.to_string().contains("relay.toml:1: "),
        "{mistakes}"
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let mut case = Case::new();
    case.flags.config = Some(case.state().join("other.toml"));
    assert_lines(
        &case.dev().expect_err("absent"),
        &["other.toml: there is no such file"],
    );

    let elsewhere = tempfile::tempdir().expect("folder");
    let path = elsewhere.path().join("other.toml");
    std::fs::write(&path, "state = 'data'").expect("written");
    case.flags.config = Some(path);
    assert_eq!(
        case.dev().expect("valid").state,
        case.state(),
        "the flag wins"
    );
    case.flags.state = None;
    let config = case.dev().expect("valid");
    assert_eq!(config.state, elsewhere.path().join("data"));
}

#[test]
fn two_ports_cannot_be_one() {
    let port = "[[tcp]]\nlisten = '127.0.0.1:1'\ndevice = 'a'\nservice = 'b'\n";
    let mistakes = Case::with(&port.repeat(2))
        .dev()
        .expect_err("the same twice");
    assert_lines(
        &mistakes,
        &["relay.toml:5: listen is that of another [[tcp]]"],
    );
    let any = port.replace(":1'", ":0'").repeat(2);
    assert_eq!(Case::with(&any).dev().expect("any port").tcp.len(), 2);
}

#[test]
fn credentials_come_from_the_environment_or_a_file() {
    let mut case = Case::with(
        "[upstream.openai]\nurl = 'https://api.openai.com/v1'\ncredential_env = 'OPENAI_API_KEY'\n\
         [upstream.anthropic]\nurl = 'https://api.anthropic.com'\nheader = 'X-Api-Key'\n\
         credential_file = 'anthropic.key'\nca_file = 'ca.pem'\n\
         [upstream.odd]\nurl = 'https://odd.example'\nheader = 'authorization'\n\
         prefix = 'Token '\ncredential_env = 'ODD'\n\
         [upstream.local]\nurl = 'http://[::1]:11434'\n",
    );
    case.set("OPENAI_API_KEY", "sk-1\n");
    case.set("ODD", "odd-1");
    let key = case.state().join("anthropic.key");
    private_write(&key, "sk-ant-1\n");

    let config = case.dev().expect("valid");
    let shown = |name: &str| {
        let upstream = config.upstreams.get(name).expect("there");
        let credential = upstream.credential.as_ref()?;
        let value = credential.value.expose();
        assert!(value.is_sensitive());
        Some(format!(
            "{}: {}",
            credential.header,
            value.to_str().expect("ascii")
        ))
    };
    assert_eq!(
        shown("openai").as_deref(),
        Some("authorization: Bearer sk-1")
    );
    assert_eq!(shown("anthropic").as_deref(), Some("x-api-key: sk-ant-1"));
    assert_eq!(shown("odd").as_deref(), Some("authorization: Token odd-1"));
    assert_eq!(shown("local"), None);
    let anthropic = config.upstreams.get("anthropic").expect("there");
    assert_eq!(anthropic.ca_file, Some(case.state().join("ca.pem")));
    let debug = format!("{config:?}");
    assert!(
        !debug.contains("sk-") && debug.contains("Secret(***)"),
        "{debug}"
    );
}

#[test]
fn a_missing_credential_is_told_by_its_name() {
    let mut case = Case::with(
        "[upstream.a]\nurl = 'https://a.example'\ncredential_env = 'A_KEY'\n\
         [upstream.b]\nurl = 'https://b.example'\ncredential_file = 'b.key'\n\
         [upstream.c]\nurl = 'https://c.example'\ncredential_env = 'C_KEY'\n\
         [upstream.d]\nurl = 'https://d.example'\ncredential_env = 'D'\ncredential_file = 'd.key'\n\
         [upstream.e]\nurl = 'https://e.example'\ncredential_env = 'sk-e-secret'\n",
    );
    case.set("C_KEY", "sk-c-secret\u{7}");
    let mistakes = case.dev().expect_err("no credentials");
    assert_lines(
        &mistakes,
        &[
            "relay.toml:1: credential of a is missing, variable=A_KEY; hint: set A_KEY",
            "relay.toml:4: credential of b cannot read file",
            "relay.toml:7: credential of c holds characters that no header can carry, variable=C_KEY",
            "relay.toml:10: has both credential_env and credential_file",
            "relay.toml:16: upstream.e.credential_env: is not the name of a variable",
        ],
    );
    assert!(!mistakes.to_string().contains("secret"), "{mistakes}");
}

#[test]
fn a_credential_may_not_stand_in_the_file() {
    for key in ["credential", "key", "token", "api_key", "secret"] {
        let case = Case::with(&format!(
            "[upstream.open-ai]\nurl = 'https://a.example'\n{key} = 'sk-very-private'\n"
        ));
        let mistakes = case.dev().expect_err("refused");
        let expected = format!("relay.toml:3: upstream.open-ai.{key}: a credential may not stand");
        assert_lines(&mistakes, &[&expected]);
        let text = mistakes.to_string();
        assert!(
            text.contains("credential_env = \"OPEN_AI_API_KEY\""),
            "{text}"
        );
        assert!(!text.contains("private"), "{text}");
    }
}

#[test]
fn upstreams_are_reached_over_tls() {
    for (url, more, accepted) in [
        ("https://a.example", "", true),
        ("https://a.example:8443/v1/", "", true),
        ("http://127.0.0.1:11434", "", true),
        ("http://localhost/v1", "", true),
        ("http://[::1]:1", "", true),
        ("http://a.example", "", false),
        ("http://127.0.0.1.example", "", false),
        ("http://localhost.example", "", false),
        ("http://a.example", "allow_plain = true", true),
        ("http://a.example", "allow_plain = false", false),
        ("https://a.example?key=sk-1", "", false),
        ("https://a.example#sk-1", "", false),
        ("https://user:sk-1@a.example", "", false),
        ("ftp://a.example", "allow_plain = true", false),
        ("a.example", "", false),
        ("/v1", "", false),
        ("", "", false),
    ] {
        let case = Case::with(&format!("[upstream.a]\nurl = '{url}'\n{more}"));
        match case.dev() {
            Ok(_) => assert!(accepted, "{url} {more} was accepted"),
            Err(mistakes) => {
                assert!(!accepted, "{mistakes}");
                assert!(!mistakes.to_string().contains("sk-1"), "{mistakes}");
            }
        }
    }
}

#[test]
fn commands_beside_the_relay_need_no_credentials() {
    let case = Case::with(
        "domain = 'relay.example'\n[admin]\nlisten = '0.0.0.0:7490'\n\
         [upstream.a]\nurl = 'https://a.example'\ncredential_env = 'A_KEY'\n",
    );
    let place = case.place().expect("valid");
    assert_eq!(place.advertise, "relay.example:443");
    assert_eq!(place.state, case.state());

    let place = Case::new().place().expect("valid");
    assert_eq!(place.domain.as_str(), "localhost");
    assert_eq!(place.advertise, "127.0.0.1:7443");

    let mistakes = Case::with("logg = 1").place().expect_err("refused");
    assert_lines(&mistakes, &["logg is not a known key"]);
}

#[cfg(target_os = "linux")]
#[test]
fn linux_follows_the_xdg_specification() {
    for (ours, xdg, expected) in [
        (None, Some("/xdg"), "/xdg/ginnel-relay"),
        (None, Some("relative"), "/home/a/.local/state/ginnel-relay"),
        (None, Some(""), "/home/a/.local/state/ginnel-relay"),
        (None, None, "/home/a/.local/state/ginnel-relay"),
        (Some("/ours"), Some("/xdg"), "/ours"),
    ] {
        let environment = |name: &str| match name {
            "GINNEL_RELAY_STATE" => ours.map(OsString::from),
            "XDG_STATE_HOME" => xdg.map(OsString::from),
            "HOME" => Some("/home/a".into()),
            _ => None,
        };
        let config = Config::dev(&Flags::default(), &environment).expect("valid");
        assert_eq!(config.state, Path::new(expected), "{ours:?} {xdg:?}");
    }
    let mistakes = Config::dev(&Flags::default(), &|_| None).expect_err("no home");
    assert!(mistakes.to_string().contains("hint: give --state DIR"));
}

/// Each line is there, and no other.
fn assert_lines(mistakes: &Mistakes, expected: &[&str]) {
    for text in expected {
        let found = mistakes.lines().iter().any(|line| line.contains(text));
        assert!(found, "{text:?} is not in {mistakes}");
    }
    assert_eq!(mistakes.lines().len(), expected.len(), "{mistakes}");
}

fn private_write(path: &Path, text: &str) {
    ginnel_certs::private_file::write(path, text.as_bytes()).expect("written");
}

/// A state folder, flags and an environment of its own.
struct Case {
    dir: tempfile::TempDir,
    flags: Flags,
    environment: BTreeMap<&'static str, &'static str>,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let flags = Flags {
            state: Some(dir.path().to_owned()),
            ..Flags::default()
        };
        Self {
            dir,
            flags,
            environment: BTreeMap::new(),
        }
    }

    fn with(file: &str) -> Self {
        let case = Self::new();
        std::fs::write(case.state().join(FILE_NAME), file).expect("written");
        case
    }

    fn state(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.environment.insert(name, value);
    }

    fn dev(&self) -> Result<Config, Mistakes> {
        Config::dev(&self.flags, &|name| self.look_up(name))
    }

    fn serve(&self) -> Result<Config, Mistakes> {
        Config::serve(&self.flags, &|name| self.look_up(name))
    }

    fn place(&self) -> Result<RelayPlace, Mistakes> {
        RelayPlace::find(&self.flags, &|name| self.look_up(name))
    }

    fn look_up(&self, name: &str) -> Option<OsString> {
        self.environment.get(name).map(OsString::from)
    }
}

#[test]
fn a_bucket_of_s3_says_what_it_lacks() {
    let mut case = Case::with("[bucket]\nurl = 's3://models'\n");
    let mistakes = case.dev().expect_err("no keys");
    let expected = [
        "bucket.endpoint: is missing",
        "R2_ACCESS_KEY_ID: is missing",
        "R2_SECRET_ACCESS_KEY: is missing",
    ];
    assert_lines(&mistakes, &expected);
    case.set("R2_ACCOUNT_ID", "abc123");
    case.set("R2_ACCESS_KEY_ID", "id");
    case.set("R2_SECRET_ACCESS_KEY", "two words");
    let mistakes = case.dev().expect_err("no key");
    assert_lines(&mistakes, &["R2_SECRET_ACCESS_KEY: is no key"]);
    assert!(!mistakes.to_string().contains("two words"));
    case.set("R2_SECRET_ACCESS_KEY", "s3cret");
    let config = case.dev().expect("valid");
    let BucketPlace::S3(place) = &config.bucket.at else {
        panic!("it is S3: {config:?}");
    };
    assert_eq!(place.endpoint, "https://abc123.r2.cloudflarestorage.com");
    assert_eq!(place.region, "auto");
}
