//! Where vectors come from, among the settings.

use std::fmt;
use std::path::Path;

use ginnel_certs::private_file;
use ginnel_daemon::environment::set;
use ginnel_ingest::cut::TOKENS_MIN;
use http::Uri;

use super::{Places, path};
use crate::embed::EmbedSettings;
use crate::embed::endpoint::{ApiKey, EndpointSettings, TOKENS_DEFAULT};
use crate::knowledge::settings::MODEL_FOLDER;

/// The secret itself may only be in the environment or a file of its own.
const API_KEY: &str = "GINNEL_EMBED_API_KEY";

/// Most tokens of a passage: more than any embedding model reads well, and a
/// request of such passages stays below 4 MiB.
const TOKENS_MOST: usize = 8192;

/// Longest secret, in bytes.
const API_KEY_MAX: usize = 4096;

pub(super) fn load(places: &mut Places<'_>, state: &Path) -> Option<EmbedSettings> {
    let folder = places.find("embed.folder", &None, path);
    let endpoint = places.find("embed.endpoint", &None, endpoint);
    let model = places.find("embed.model", &None, |text| Ok(text.to_owned()));
    let from_file = places.find("embed.api_key_file", &None, read_key);
    let from_environment =
        set(places.environment, API_KEY).map(|key| key_of(&key.to_string_lossy()));
    let api_key = match from_environment {
        Some(Ok(key)) => Some(key),
        Some(Err(error)) => {
            places.mistakes.add(API_KEY, error);
            None
        }
        None => from_file,
    };
    let tokens_max = places.find("embed.tokens_max", &None, tokens);
    let mut mistake = |what: &dyn fmt::Display| places.mistakes.add("embed", what);
    match (folder, endpoint, model) {
        (Some(_), Some(_), _) => {
            mistake(&"folder and endpoint are both set; hint: take one out");
            None
        }
        (Some(folder), None, _) => Some(EmbedSettings::Folder(folder)),
        (None, Some(url), Some(model)) => Some(EmbedSettings::Endpoint(EndpointSettings {
            url,
            model,
            api_key,
            tokens_max: tokens_max.unwrap_or(TOKENS_DEFAULT),
        })),
        (None, Some(_), None) => {
            mistake(&"endpoint is set without a model; hint: set embed.model");
            None
        }
        (None, None, Some(_)) => {
            mistake(&"model is set without an endpoint; hint: set embed.endpoint");
            None
        }
        (None, None, None) => {
            let folder = state.join(MODEL_FOLDER);
            folder
                .join("config.json")
                .exists()
                .then_some(EmbedSettings::Folder(folder))
        }
    }
}

fn endpoint(text: &str) -> Result<Uri, String> {
    // A value that may hold a password is not repeated.
    if text.contains('@') {
        return Err(
            "holds a name or password, which would be shown; hint: set embed.api_key_file"
                .to_owned(),
        );
    }
    let wrong = || format!("is not of the form https://HOST/v1, value={text:?}");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    match is_http && uri.query().is_none() {
        true => Ok(uri),
        false => Err(wrong()),
    }
}

fn tokens(text: &str) -> Result<usize, String> {
    let tokens = text.parse().ok();
    let allowed = TOKENS_MIN..=TOKENS_MOST;
    tokens
        .filter(|tokens| allowed.contains(tokens))
        .ok_or_else(|| {
            format!("is not a number from {TOKENS_MIN} to {TOKENS_MOST}, value={text:?}")
        })
}

fn read_key(text: &str) -> Result<ApiKey, String> {
    let file = path(text)?;
    let key = private_file::read(&file, API_KEY_MAX).map_err(|error| error.to_string())?;
    key_of(&String::from_utf8_lossy(&key))
}

fn key_of(key: &str) -> Result<ApiKey, String> {
    ApiKey::new(key).map_err(str::to_owned)
}
