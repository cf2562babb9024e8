use std::ffi::OsString;

use super::*;

#[test]
fn defaults_apply_where_nothing_is_said() {
    let dir = tempfile::tempdir().expect("folder");
    let config = Case::new(dir.path()).load().expect("valid");
    assert_eq!(config, Config::new(dir.path()));
    assert_eq!(config.local.to_string(), "127.0.0.1:7411");
    assert_eq!(config.max_requests, 4096);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().expect("folder");
    let mut case = Case::new(dir.path());
    case.file("max_requests = 1\nlog = 'warn'");
    assert_eq!(case.load().expect("valid").max_requests, 1);
    case.environment.insert("GINNEL_MAX_REQUESTS", "2");
    assert_eq!(case.load().expect("valid").max_requests, 2);
    case.flags.max_requests = Some("3".into());
    assert_eq!(case.load().expect("valid").max_requests, 3);
    assert_eq!(case.load().expect("valid").log, "warn");
}

#[test]
fn every_key_can_be_set_in_every_place() {
    let dir = tempfile::tempdir().expect("folder");
    let in_file = Case::new(dir.path());
    in_file.file(
        "local = '127.0.0.2:1'\nlog = 'debug'\nlog_format = 'json'\n\
         congestion = 'bbr'\nmax_requests = 7",
    );
    let config = in_file.load().expect("valid");
    assert_eq!(config.local.to_string(), "127.0.0.2:1");
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.congestion, Congestion::Bbr);

    let dir = tempfile::tempdir().expect("folder");
    let mut in_environment = Case::new(dir.path());
    in_environment.environment.extend([
        ("GINNEL_LOCAL", "127.0.0.2:1"),
        ("GINNEL_LOG", "debug"),
        ("GINNEL_LOG_FORMAT", "json"),
        ("GINNEL_CONGESTION", "bbr"),
        ("GINNEL_MAX_REQUESTS", "7"),
    ]);
    let mut in_flags = Case::new(dir.path());
    in_flags.flags = Flags {
        state: in_flags.flags.state,
        local: Some("127.0.0.2:1".into()),
        log: Some("debug".into()),
        log_format: Some("json".into()),
        congestion: Some("bbr".into()),
        max_requests: Some("7".into()),
    };
    for case in [in_environment, in_flags] {
        let state = dir.path().to_owned();
        let same = Config {
            models_folder: state.join("models"),
            state,
            ..config.clone()
        };
        assert_eq!(case.load().expect("valid"), same);
    }
}

#[test]
fn models_may_have_another_folder_and_a_budget() {
    let dir = tempfile::tempdir().expect("folder");
    let mut case = Case::new(dir.path());
    let config = case.load().expect("valid");
    let default = config.models();
    assert_eq!(default.folder, dir.path().join("models"));
    assert_eq!((default.budget, default.embedder), (None, None));
    case.file("[models]\nfolder = '/disk'\nbudget = '1.5 GB'\n[embed]\nfolder = '/mini'");
    let models = case.load().expect("valid").models();
    assert_eq!(models.folder, Path::new("/disk"));
    assert_eq!(models.budget, Some(1_500_000_000));
    assert_eq!(models.embedder.as_deref(), Some(Path::new("/mini")));
    case.environment.insert("GINNEL_MODELS_BUDGET", "7");
    assert_eq!(case.load().expect("valid").models().budget, Some(7));
    case.file("[models]\nfolder = 'here'\nbudget = 'all'\nsize = 1");
    case.environment.clear();
    let mistakes = case.load().expect_err("three").to_string();
    for what in [
        "not an absolute path",
        "not an amount",
        "models.size is not a known key",
    ] {
        assert!(mistakes.contains(what), "{what}: {mistakes}");
    }
}

#[test]
fn all_mistakes_in_all_places_are_told_at_once() {
    let dir = tempfile::tempdir().expect("folder");
    let mut case = Case::new(dir.path());
    case.file("# first\nlocal = '0.0.0.0:7411'\nlogg = 'info'\nmax_requests = true\n");
    case.environment.insert("GINNEL_CONGESTION", "reno");
    case.flags.log_format = Some("xml".into());
    case.flags.log = Some("=[".into());
    // Right here, yet the file's is told all the same.
    case.flags.local = Some("127.0.0.1:0".into());
    let mistakes = case.load().expect_err("six mistakes");
    for (place, what) in [
        ("config.toml:2: local: ", "other machines could reach it"),
        ("config.toml:3: ", "logg is not a known key"),
        (
            "config.toml:4: ",
            "max_requests is neither text nor a number",
        ),
        ("GINNEL_CONGESTION: ", "neither cubic nor bbr"),
        ("--log-format: ", "neither text nor json"),
        ("--log: ", "not a log filter"),
    ] {
        let lines = mistakes.lines();
        let found = lines.iter().any(|l| l.contains(place) && l.contains(what));
        assert!(found, "{place} {what} not in {mistakes}");
    }
    assert_eq!(mistakes.lines().len(), 6, "{mistakes}");
}

#[test]
fn only_this_machine_may_listen() {
    for (text, accepted) in [
        ("127.0.0.1:0", true),
        ("127.1.2.3:7411", true),
        ("[::1]:7411", true),
        ("0.0.0.0:7411", false),
        ("[::]:7411", false),
        ("192.168.0.1:7411", false),
        ("localhost:7411", false),
        ("7411", false),
    ] {
        assert_eq!(local(text).is_ok(), accepted, "{text}");
    }
}

#[test]
fn limits_are_kept_at_and_beyond() {
    for (text, accepted) in [
        ("0", false),
        ("1", true),
        ("4096", true),
        ("4097", false),
        ("-1", false),
        ("many", false),
    ] {
        assert_eq!(max_requests(text).is_ok(), accepted, "{text}");
    }
}

#[test]
fn an_endpoint_holds_no_secrets() {
    let dir = tempfile::tempdir().expect("folder");
    for (url, says) in [
        ("http://127.0.0.1:11434/v1", None),
        ("https://host/v1", None),
        ("http://me:secret@host/v1", Some("embed.api_key_file")),
        ("http://secret@host/v1", Some("embed.api_key_file")),
        ("http://me:secret @host/v1", Some("embed.api_key_file")),
        ("ftp://host/v1", Some("https://HOST/v1")),
    ] {
        let case = Case::new(dir.path());
        case.file(&format!("[embed]\nendpoint = '{url}'\nmodel = 'm'"));
        let told = case.load().map_err(|mistakes| mistakes.to_string());
        match says {
            None => assert!(told.is_ok(), "{url}: {told:?}"),
            Some(says) => {
                let told = told.expect_err(url);
                assert!(told.contains(says), "{url}: {told}");
                assert!(!told.contains("secret"), "{url}: {told}");
            }
        }
    }
}

#[test]
fn passages_for_an_endpoint_are_as_long_as_set() {
    let dir = tempfile::tempdir().expect("folder");
    for (text, expected) in [
        ("", Some(254)),
        ("tokens_max = 512", Some(512)),
        ("tokens_max = 16", Some(16)),
        ("tokens_max = 15", None),
        ("tokens_max = 8193", None),
    ] {
        let case = Case::new(dir.path());
        case.file(&format!(
            "[embed]\nendpoint = 'http://[::1]/v1'\nmodel = 'm'\n{text}"
        ));
        let found = match case.load() {
            Ok(settings) => match settings.embed {
                Some(EmbedSettings::Endpoint(endpoint)) => Some(endpoint.tokens_max),
                Some(EmbedSettings::Folder(_)) | None => None,
            },
            Err(mistakes) => {
                let told = mistakes.to_string();
                assert!(told.contains("from 16 to 8192"), "{told}");
                None
            }
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn the_state_folder_is_absolute() {
    let none = |_: &str| None;
    let relative = state_dir(Some(Path::new("x")), &none).expect("a folder");
    assert!(relative.is_absolute());
    let error = state_dir(None, &none).expect_err("no home");
    assert!(error.to_string().contains("hint: give --state DIR"));
    let set = |name: &str| (name == "GINNEL_STATE").then(|| relative.clone().into_os_string());
    assert_eq!(state_dir(None, &set), Ok(relative.clone()));
}

#[cfg(target_os = "linux")]
#[test]
fn linux_follows_the_xdg_specification() {
    for (xdg, expected) in [
        (Some("/xdg"), "/xdg/ginnel"),
        (Some("relative"), "/home/a/.local/state/ginnel"),
        (Some(""), "/home/a/.local/state/ginnel"),
        (None, "/home/a/.local/state/ginnel"),
    ] {
        let environment = |name: &str| match name {
            "XDG_STATE_HOME" => xdg.map(OsString::from),
            "HOME" => Some("/home/a".into()),
            _ => None,
        };
        let state = state_dir(None, &environment).expect("a folder");
        assert_eq!(state, Path::new(expected), "{xdg:?}");
    }
}

struct Case {
    flags: Flags,
    environment: BTreeMap<&'static str, &'static str>,
}

impl Case {
    fn new(state: &Path) -> Self {
        let flags = Flags {
            state: Some(state.to_owned()),
            ..Flags::default()
        };
        Self {
            flags,
            environment: BTreeMap::new(),
        }
    }

    fn file(&self, text: &str) {
        let state = self.flags.state.as_deref().expect("set");
        std::fs::write(state.join(FILE_NAME), text).expect("written");
    }

    fn load(&self) -> Result<Config, Mistakes> {
        let look_up = |name: &str| self.environment.get(name).map(OsString::from);
        Config::load(&self.flags, &look_up)
    }
}
