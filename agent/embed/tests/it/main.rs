//! Models built by the tests, and the real one where it is installed.

mod answers;
mod hostile;
mod minilm;
mod options;
mod reference;
mod refused;
mod tiny;
mod tokens;
