//! `ginnel models`, where no daemon runs.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;
use crate::models::tests::{gguf, safetensors};

fn write(dir: &TempDir, path: &str, bytes: &[u8]) -> PathBuf {
    let place = dir.path().join(path);
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    std::fs::write(&place, bytes).expect("written");
    let file = std::fs::File::options().write(true).open(&place);
    let before = SystemTime::now() - Duration::from_secs(100);
    file.expect("opened").set_modified(before).expect("set");
    place
}

fn lines(said: &str) -> Vec<Value> {
    said.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

async fn refused(dir: &TempDir, line: &str) -> String {
    run_in(dir, line).await.expect_err(line).to_string()
}

#[tokio::test]
async fn models_are_listed_shown_and_removed() {
    let dir = tempfile::tempdir().expect("folder");
    let said = say(&dir, "models ls").await;
    assert!(said.starts_with("There are no models in "), "{said}");
    write(&dir, "models/phi.gguf", &gguf());
    write(&dir, "models/two words.gguf", &gguf());
    let said = say(&dir, "models ls").await;
    let mut told = said.lines();
    assert_eq!(
        told.next(),
        Some("models/phi.gguf  local  260 B  gguf"),
        "{said}"
    );
    let stray = told.next().expect("a stray");
    assert!(
        stray.starts_with("not a model: two words.gguf: "),
        "{stray}"
    );
    let said = say(&dir, "models show phi.gguf").await;
    for part in [
        "architecture    llama",
        "parameters      64",
        "quantization    Q8_0",
        "context length  4096 tokens",
        "token_embd.weight  Q8_0  2 × 32  68 B",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = say(&dir, "models path phi.gguf").await;
    assert_eq!(std::fs::read(said.trim()).expect("a file"), gguf());
    assert_eq!(
        say(&dir, "models pin phi.gguf").await,
        "Pinned models/phi.gguf\n"
    );
    let error = refused(&dir, "models rm phi.gguf").await;
    assert!(
        error.contains("pinned") && error.contains("--force"),
        "{error}"
    );
    say(&dir, "models unpin models/phi.gguf").await;
    let error = refused(&dir, "models rm phi.gguf").await;
    assert!(error.contains("not published"), "{error}");
    let said = say(&dir, "models rm --force phi.gguf").await;
    assert_eq!(said, "Removed models/phi.gguf (260 B)\n");
    let error = refused(&dir, "models show phi.gguf").await;
    assert!(error.contains("no such artifact"), "{error}");
    let error = refused(&dir, "models show ../x").await;
    assert!(error.contains("is none of models/FILE"), "{error}");
}

#[tokio::test]
async fn files_are_verified_and_repaired() {
    let dir = tempfile::tempdir().expect("folder");
    let bytes = safetensors(125_000, 1);
    let place = write(&dir, "models/mini.safetensors", &bytes);
    let said = lines(&say(&dir, "models verify --json").await);
    assert_eq!(said.last().expect("the end")["good"], 1);
    let written = std::fs::metadata(&place).expect("there").modified();
    let mut file = std::fs::File::options()
        .write(true)
        .open(&place)
        .expect("opened");
    io::Seek::seek(&mut file, io::SeekFrom::End(-1)).expect("sought");
    Write::write_all(&mut file, &[bytes[bytes.len() - 1] ^ 1]).expect("written");
    file.set_modified(written.expect("known")).expect("set");
    let (code, said) = run_in(&dir, "models verify mini.safetensors")
        .await
        .expect("told");
    assert_eq!(code, ExitCode::FAILURE);
    let said = lines(&said);
    let verified = &said[said.len() - 2];
    assert_eq!(verified["outcome"], "damaged");
    assert_eq!(verified["bad"][0]["to"], bytes.len());
    assert!(say(&dir, "models ls").await.contains("damaged"));
    // Another file has what is lacking.
    write(&dir, "elsewhere/copy.safetensors", &bytes);
    let said = lines(&say(&dir, "models import --from DIR/elsewhere").await);
    assert_eq!(said.last().expect("the end")["good"], 1, "{said:?}");
    let said = lines(&say(&dir, "models repair").await);
    assert_eq!(said.last().expect("the end")["bad"], 0, "{said:?}");
    assert_eq!(std::fs::read(place).expect("read"), bytes);
}

#[tokio::test]
async fn room_is_made_within_the_budget() {
    let dir = tempfile::tempdir().expect("folder");
    write(&dir, "models/phi.gguf", &gguf());
    let said = say(&dir, "models gc").await;
    assert!(
        said.starts_with("Models take 260 B, there is no budget"),
        "{said}"
    );
    let said = say(&dir, "models gc --budget 0.1kB").await;
    assert_eq!(
        said,
        "Models take 260 B of 100 B\nWhat is left cannot go: 260 B not published as they are\n"
    );
    std::fs::write(dir.path().join("config.toml"), "[models]\nbudget = '1 KiB'").expect("written");
    let said = say(&dir, "models gc --dry-run --json").await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&said["budget"], &said["before"]),
        (&1024.into(), &260.into())
    );
    let error = refused(&dir, "models gc --budget many").await;
    assert!(error.contains("200 GB"), "{error}");
}

#[tokio::test]
async fn models_may_be_elsewhere() {
    let dir = tempfile::tempdir().expect("folder");
    write(&dir, "big disk/phi.gguf", &gguf());
    let folder = dir.path().join("big disk");
    let settings = format!("[models]\nfolder = '{}'", folder.display());
    std::fs::write(dir.path().join("config.toml"), settings).expect("written");
    let said = say(&dir, "models path phi.gguf").await;
    assert_eq!(std::fs::read(said.trim()).expect("a file"), gguf());
}

#[tokio::test]
async fn it_has_to_be_said_where_to_import_from() {
    let dir = tempfile::tempdir().expect("folder");
    let error = refused(&dir, "models import").await;
    assert!(error.contains("--from ollama"), "{error}");
    let error = refused(&dir, "models import --from ollama").await;
    let there = PathBuf::from("/usr/share/ollama/.ollama/models").is_dir();
    assert!(there || error.contains("no folder of ollama"), "{error}");
    let error = refused(&dir, "models import --from DIR/nowhere").await;
    assert!(error.contains("nothing to import"), "{error}");
}
