//! `./try`: starts a relay and an agent as two real processes, shares a real
//! local HTTP service, sends requests through, adds documents and a book and searches them, and tells
//! what happens.
//!
//! Everything lives in a scratch folder that is removed at the end. Nothing
//! leaves this machine; a model and a book come from packages.

#![forbid(unsafe_code)]

mod caller;
mod knowledge;
mod process;
mod service;
mod story;

use std::process::ExitCode;

fn main() -> ExitCode {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(_) => {
            story::say("usage: ./try [--once]");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(story::tell(once)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            story::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
