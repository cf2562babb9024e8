//! `ginnel models import`: where other programs keep their models.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use ginnel_daemon::environment::{Environment, set};

use super::work::{Shown, is_for_people};
use super::{Import, artifact};
use crate::api::knowledge::artifacts::Work;
use crate::api::knowledge::artifacts::view::ImportRequest;
use crate::cli::knowledge::Asked;

/// Programs whose folders are known.
const PROGRAMS: [&str; 3] = ["ollama", "lmstudio", "huggingface"];

pub(super) async fn run(
    import: Import,
    asked: &Asked,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let rename = import.name.as_deref().map(artifact).transpose()?;
    let request = ImportRequest {
        only: import.only.clone(),
        rename: rename.map(|name| name.to_string()),
        copy: import.copy,
        list: import.list,
        ..ImportRequest::default()
    };
    let Some(from) = &import.from else {
        if !import.list {
            bail!(
                "it is not said where to look; hint: --from ollama, lmstudio, huggingface or a path; --list shows what there is"
            );
        }
        return list_all(&import, &request, asked, environment, out).await;
    };
    let (kind, path) = place(from, environment)?;
    let request = ImportRequest {
        kind,
        path,
        ..request
    };
    let shown = Shown::new(import.json, environment, out);
    shown.follow(asked, Work::Import(request)).await
}

/// Shows what all programs have that are here.
async fn list_all(
    import: &Import,
    request: &ImportRequest,
    asked: &Asked,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut none = true;
    for program in PROGRAMS {
        let Some(path) = folder(program, environment) else {
            continue;
        };
        none = false;
        if is_for_people(import.json) {
            writeln!(out, "{program}, {}:", path.display())?;
        }
        let request = ImportRequest {
            kind: Some(program.to_owned()),
            path: text(&path)?,
            ..request.clone()
        };
        let shown = Shown::new(import.json, environment, out);
        let ended = shown.follow(asked, Work::Import(request)).await?;
        if ended != ExitCode::SUCCESS {
            code = ended;
        }
    }
    if none && is_for_people(import.json) {
        writeln!(
            out,
            "Neither Ollama, LM Studio nor a Hugging Face cache was found"
        )?;
        writeln!(out, "hint: ginnel models import --from FOLDER")?;
    }
    Ok(code)
}

/// The program whose folder it is, if it is one's, and the folder.
fn place(from: &Path, environment: Environment<'_>) -> anyhow::Result<(Option<String>, String)> {
    let program = from.to_str().filter(|text| PROGRAMS.contains(text));
    match program {
        None => Ok((None, text(&std::path::absolute(from)?)?)),
        Some(program) => {
            let folder = folder(program, environment).with_context(|| {
                format!("no folder of {program} was found; hint: name it with --from FOLDER")
            })?;
            Ok((Some(program.to_owned()), text(&folder)?))
        }
    }
}

/// Where a program keeps its models: where its variables say, or the first of
/// its usual places that is there.
fn folder(program: &str, environment: Environment<'_>) -> Option<PathBuf> {
    let variable = |name: &str| set(environment, name).map(PathBuf::from);
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let places = match program {
        // https://docs.ollama.com/faq
        "ollama" => vec![
            variable("OLLAMA_MODELS"),
            in_home(".ollama/models"),
            Some("/usr/share/ollama/.ollama/models".into()),
        ],
        // https://lmstudio.ai/docs/app/basics/import-model
        "lmstudio" => vec![
            in_home(".lmstudio/models"),
            in_home(".cache/lm-studio/models"),
        ],
        // https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
        _ => vec![
            variable("HF_HUB_CACHE"),
            variable("HF_HOME").map(|home| home.join("hub")),
            variable("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")),
            in_home(".cache/huggingface/hub"),
        ],
    };
    let mut places = places.into_iter().flatten();
    places.find(|place| place.is_dir())
}

pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    let text = text.with_context(|| format!("path is not UTF-8, path={}", path.display()))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;

    #[test]
    fn programs_are_looked_for_where_they_say() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |path: &str| home.path().join(path);
        for folder in [
            ".ollama/models",
            ".cache/lm-studio/models",
            ".cache/huggingface/hub",
            "elsewhere",
            "hf/hub",
        ] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        let find = |program: &str, variables: &[(&str, PathBuf)]| {
            let environment = |name: &str| -> Option<OsString> {
                let found = variables.iter().find(|(known, _)| *known == name);
                let found = found.map(|(_, value)| value.clone().into_os_string());
                found.or_else(|| (name == "HOME").then(|| home.path().into()))
            };
            folder(program, &environment)
        };
        assert_eq!(find("ollama", &[]), Some(at(".ollama/models")));
        let set = [("OLLAMA_MODELS", at("elsewhere"))];
        assert_eq!(find("ollama", &set), Some(at("elsewhere")));
        assert_eq!(find("lmstudio", &[]), Some(at(".cache/lm-studio/models")));
        assert_eq!(find("huggingface", &[]), Some(at(".cache/huggingface/hub")));
        assert_eq!(
            find("huggingface", &[("HF_HOME", at("hf"))]),
            Some(at("hf/hub"))
        );
        assert_eq!(
            find("huggingface", &[("HF_HUB_CACHE", at("elsewhere"))]),
            Some(at("elsewhere"))
        );
    }
}
