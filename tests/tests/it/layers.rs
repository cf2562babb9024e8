//! Which crate may use what: the layers of `docs/ARCHITECTURE.md`.

use std::process::Command;

use serde_json::Value;

/// A dependency, and the members that may name it.
const LAYERS: &[(&str, &[&str])] = &[
    ("quinn", &["ginnel-link", "ginnel-tests", "ginnel-benches"]),
    ("quinn-proto", &["ginnel-link"]),
    ("rcgen", &["ginnel-certs", "ginnel-tests", "ginnel-benches"]),
    (
        "rusqlite",
        &["ginnel-relay", "ginnel-store", "ginnel-benches"],
    ),
    ("sqlite-vec", &["ginnel-store", "ginnel-benches"]),
    ("sqlite-vss", &["ginnel-store"]),
    ("object_store", &["ginnel-relay"]),
    ("ginnel-relay", &["ginnel-tests", "ginnel-benches"]),
    ("ginnel-agent", &["ginnel-tests", "ginnel-benches"]),
];

/// Members whose library does no I/O.
const PURE: &[&str] = &["ginnel-proto", "ginnel-blob"];

const IO: &[&str] = &["tokio", "quinn", "rusqlite", "hyper", "tracing", "fastrand"];

#[test]
fn only_those_who_may_name_a_dependency_do() {
    let mut seen = 0;
    for package in members() {
        let name = package["name"].as_str().expect("a name");
        for dependency in dependencies(&package) {
            seen += 1;
            if let Some((_, allowed)) = LAYERS.iter().find(|(known, _)| *known == dependency) {
                assert!(allowed.contains(&name), "{name} may not name {dependency}");
            }
            let pure = PURE.contains(&name);
            assert!(
                !(pure && IO.contains(&&*dependency)),
                "{name} is pure, but names {dependency}"
            );
        }
    }
    assert!(seen > 50, "the metadata was not understood");
}

/// The workspace's members.
fn members() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// What a member's library and programs name; tests may name more.
fn dependencies(package: &Value) -> Vec<String> {
    let all = package["dependencies"].as_array().expect("dependencies");
    all.iter()
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
        .collect()
}
