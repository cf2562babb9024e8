//! Taking over what other programs keep. The folders are laid out as those
//! programs lay them out.

use std::os::unix::fs::{MetadataExt as _, symlink};

use ginnel_store::blob::adopt::Sharing;

use super::*;
use crate::models::event::Candidate;
use crate::models::import::{ImportRequest, Kind, Place};

impl World {
    fn request(&self, path: &str) -> ImportRequest {
        let path = self.at(path);
        ImportRequest {
            place: Place {
                kind: Kind::of(&path),
                path,
            },
            only: Vec::new(),
            rename: None,
            sharing: Sharing::Required,
        }
    }

    async fn found(&self, request: &ImportRequest) -> Vec<Candidate> {
        let events = told(async |events| self.models.find_foreign(request, &events).await).await;
        let events = events.expect("found").into_iter();
        let found = events.filter_map(|event| {
            let Event::Found(candidate) = event else {
                return None;
            };
            Some(candidate)
        });
        found.collect()
    }

    async fn import(&self, request: &ImportRequest) -> Vec<Event> {
        let events = told(async |events| self.models.import(request, &events).await).await;
        events.expect("imported")
    }

    /// A model as Ollama keeps it.
    fn ollama(&self, path: &str, layers: &[(&str, &[u8])]) {
        let mut described = Vec::new();
        for (kind, bytes) in layers {
            // It is called by its SHA-256, of which only the form matters.
            let digest = ginnel_blob::hash::Hash::of(bytes);
            self.write(&format!("ollama/blobs/sha256-{digest}"), bytes);
            described.push(format!(
                r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{digest}","size":{}}}"#,
                bytes.len()
            ));
        }
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
                "config":{{"digest":"sha256:0"}},"layers":[{}]}}"#,
            described.join(",")
        );
        let path = format!("ollama/manifests/registry.ollama.ai/{path}");
        self.write(&path, manifest.as_bytes());
    }

    /// A model as the Hugging Face cache keeps it.
    fn hugging_face(&self, repository: &str, commit: &str, file: &str, bytes: &[u8]) {
        let root = format!("hub/models--{}", repository.replace('/', "--"));
        let hash = ginnel_blob::hash::Hash::of(bytes);
        self.write(&format!("{root}/blobs/{hash}"), bytes);
        self.write(&format!("{root}/refs/main"), commit.as_bytes());
        let link = self.at(&format!("{root}/snapshots/{commit}/{file}"));
        fs::create_dir_all(link.parent().expect("a folder")).expect("made");
        let up = "../".repeat(2 + file.matches('/').count());
        symlink(format!("{up}blobs/{hash}"), link).expect("linked");
    }

    fn inode(&self, path: &str) -> u64 {
        fs::metadata(self.at(path)).expect(path).ino()
    }
}

fn brief(candidate: &Candidate) -> (&str, &str, bool) {
    let Candidate { origin, name, .. } = candidate;
    (origin, name, candidate.problem.is_none())
}

#[tokio::test]
async fn from_ollama() {
    let world = World::new();
    let model = gguf();
    let projector = [gguf(), vec![0; 32]].concat();
    world.ollama(
        "library/llama3/latest",
        &[("license", b"x"), ("model", &model)],
    );
    world.ollama(
        "library/llama3/8b-q4",
        &[("model", &model), ("projector", &projector)],
    );
    world.ollama("ada/own/latest", &[("model", &safetensors(64, 1))]);
    world.ollama("library/gone/latest", &[("model", &safetensors(64, 2))]);
    let gone = ginnel_blob::hash::Hash::of(&safetensors(64, 2));
    fs::remove_file(world.at(&format!("ollama/blobs/sha256-{gone}"))).expect("removed");
    let manifests = "ollama/manifests/registry.ollama.ai/library";
    let evil = br#"{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../etc/passwd"}]}"#;
    world.write(&format!("{manifests}/evil/latest"), evil);
    world.write(&format!("{manifests}/broken/latest"), b"{");
    let request = world.request("ollama");
    assert_eq!(request.place.kind, Kind::Ollama);
    let found = world.found(&request).await;
    let briefly: Vec<_> = found.iter().map(brief).collect();
    assert_eq!(
        briefly,
        [
            ("ada/own:latest", "models/ada-own.safetensors", true),
            ("broken:latest", "", false),
            ("evil:latest", "", false),
            ("gone:latest", "", false),
            ("llama3:8b-q4", "models/llama3-8b-q4.gguf", true),
            (
                "llama3:8b-q4/projector",
                "models/llama3-8b-q4-projector.gguf",
                true
            ),
            ("llama3:latest", "models/llama3.gguf", true),
        ]
    );
    let problem = |at: usize| found[at].problem.as_deref().expect("one");
    assert!(problem(1).contains("manifest cannot be read"), "{found:?}");
    assert!(problem(2).contains("no SHA-256"), "{found:?}");
    assert!(problem(3).contains("blob is missing"), "{found:?}");
    assert!(
        !world.at("models/llama3.gguf").exists(),
        "it was only listed"
    );

    let only = ImportRequest {
        only: vec!["llama3".to_owned()],
        ..request.clone()
    };
    let events = world.import(&only).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 3, bad: 0 }));
    let digest = ginnel_blob::hash::Hash::of(&model);
    let there = world.inode(&format!("ollama/blobs/sha256-{digest}"));
    let Event::Imported { how, .. } = &events[0] else {
        panic!("{events:?}");
    };
    let is_same = world.inode("models/llama3.gguf") == there;
    assert!((how == "hard link") == is_same && how != "copy", "{how}");
    let listed = world.listed("models/llama3.gguf").await;
    assert_eq!(listed.entry.file.expect("noted").blob, Some(digest));
    let events = world.import(&request).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 4, bad: 3 }));
    let present = world.found(&request).await;
    assert_eq!(present.iter().filter(|found| found.present).count(), 4);
}

#[tokio::test]
async fn from_the_hugging_face_cache() {
    let world = World::new();
    world.hugging_face("org/mini", "0ld", "model.safetensors", &safetensors(64, 1));
    world.hugging_face(
        "org/mini",
        "abc123",
        "model.safetensors",
        &safetensors(64, 2),
    );
    world.hugging_face("org/mini", "abc123", "onnx/phi.gguf", &gguf());
    world.hugging_face("org/mini", "abc123", "config.json", b"{}");
    world.hugging_face(
        "org/mini",
        "abc123",
        "pytorch_model.bin",
        b"\x80\x02}q\x00.",
    );
    world.write("secret.gguf", &gguf());
    let link = world.at("hub/models--org--mini/snapshots/abc123/leak.gguf");
    symlink(world.at("secret.gguf"), link).expect("linked");
    let request = world.request("hub");
    assert_eq!(request.place.kind, Kind::HuggingFace);
    let found = world.found(&request).await;
    let briefly: Vec<_> = found.iter().map(brief).collect();
    assert_eq!(
        briefly,
        [
            ("org/mini/leak.gguf", "", false),
            (
                "org/mini/model.safetensors",
                "models/mini-model.safetensors",
                true
            ),
            ("org/mini/onnx/phi.gguf", "models/phi.gguf", true),
            ("org/mini/pytorch_model.bin", "", false),
        ]
    );
    let problem = |at: usize| found[at].problem.as_deref().expect("one");
    assert!(problem(0).contains("out of the cache"), "{found:?}");
    assert!(problem(3).contains("pickle"), "{found:?}");
    let events = world.import(&request).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 2, bad: 2 }));
    // The snapshot of `main`, not the old one; a file, not a link.
    let bytes = fs::read(world.at("models/mini-model.safetensors")).expect("read");
    assert_eq!(bytes, safetensors(64, 2));
    let kind = fs::symlink_metadata(world.at("models/phi.gguf")).expect("there");
    assert!(kind.is_file());
}

#[tokio::test]
async fn from_lm_studio_and_any_folder() {
    let world = World::new();
    world.write("studio/ada/phi-GGUF/phi-q4.gguf", &gguf());
    world.write("studio/ada/mlx/model.safetensors", &safetensors(64, 1));
    world.write("studio/ada/mlx/config.json", b"{}");
    let lm_studio = ImportRequest {
        place: Place {
            kind: Kind::LmStudio,
            path: world.at("studio"),
        },
        ..world.request("studio")
    };
    let expected = [
        (
            "ada/mlx/model.safetensors",
            "models/mlx-model.safetensors",
            true,
        ),
        ("ada/phi-GGUF/phi-q4.gguf", "models/phi-q4.gguf", true),
    ];
    for request in [lm_studio, world.request("studio")] {
        let found = world.found(&request).await;
        let briefly: Vec<_> = found.iter().map(brief).collect();
        assert_eq!(briefly, expected);
    }
    let one = ImportRequest {
        rename: Some(name("models/~/mine.gguf")),
        ..world.request("studio/ada/phi-GGUF/phi-q4.gguf")
    };
    let events = world.import(&one).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 1, bad: 0 }));
    assert!(world.at("models/private/mine.gguf").is_file());
}

#[tokio::test]
async fn names_that_are_taken_or_meet_are_told() {
    let world = World::new();
    world.write("models/phi.gguf", &[gguf(), vec![0; 32]].concat());
    world.write("new/phi.gguf", &gguf());
    world.write("new/a/mini.gguf", &gguf());
    world.write("new/b/Mini.gguf", &gguf());
    let request = world.request("new");
    let found = world.found(&request).await;
    let problems: Vec<bool> = found.iter().map(|one| one.problem.is_some()).collect();
    assert_eq!(problems, [false, true, true], "{found:?}");
    let events = world.import(&request).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 1, bad: 2 }));
    let failed = events.iter().filter_map(|event| {
        let Event::Failed { message, .. } = event else {
            return None;
        };
        Some(message)
    });
    for message in failed {
        assert!(message.contains("--as"), "{message}");
    }
    assert!(!world.at("models/Mini.gguf").exists());
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told() {
    let world = World::new();
    world.write("new/a.gguf", &gguf());
    world.write("new/b.gguf", &gguf());
    let all = world.request("new");
    let nowhere = world.request("none");
    let nothing = ImportRequest {
        only: vec!["c.gguf".into()],
        ..all.clone()
    };
    let two = ImportRequest {
        rename: Some(name("models/x.gguf")),
        ..all.clone()
    };
    for (request, says) in [
        (nowhere, "nothing to import"),
        (nothing, "nothing of that name"),
        (two, "one file"),
    ] {
        let done = told(async |events| world.models.import(&request, &events).await).await;
        let error = done.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(world.models.list().await.expect("read").artifacts.len(), 0);
}
