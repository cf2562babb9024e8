//! Holds the generated code in `proto/src/wire/` to the schema.
//!
//! `GINNEL_REGENERATE=1 cargo test -p ginnel-schema` writes it anew after a
//! change of `ginnel.proto`. No `protoc` is needed.

use std::path::Path;

#[test]
fn generated_code_matches_the_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = schema.join("../src/wire/ginnel.v1.rs");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));

    let files = protox::compile(["ginnel.proto"], [schema]).expect("schema compiles");
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(out)
        .compile_fds(files)
        .expect("code is generated");
    let fresh = std::fs::read_to_string(out.join("ginnel.v1.rs")).expect("generated file");

    if std::env::var_os("GINNEL_REGENERATE").is_some() {
        std::fs::write(&checked_in, &fresh).expect("source folder is writable");
    }
    let kept = std::fs::read_to_string(&checked_in).expect("proto/src/wire/ginnel.v1.rs exists");
    assert!(
        kept == fresh,
        "proto/src/wire/ginnel.v1.rs is stale: run with GINNEL_REGENERATE=1"
    );
}
