//! Asks the kernel to prefer this run over everything else on the machine.
//!
//! With Linux's autogroups `nice` only orders processes inside one session, so
//! it is the session's group that is raised. That takes root.

use std::fs;

const FILE: &str = "/proc/self/autogroup";

/// The session's priority, raised until this is dropped.
#[derive(Debug)]
pub struct Priority {
    before: Option<String>,
}

impl Priority {
    /// Raises it if the system allows.
    #[must_use]
    pub fn raise() -> Self {
        // "/autogroup-16 nice 0"
        let before = fs::read_to_string(FILE).ok();
        let before = before.and_then(|text| text.split_whitespace().last().map(str::to_owned));
        let raised = before.is_some() && fs::write(FILE, "-20").is_ok();
        Self {
            before: before.filter(|_| raised),
        }
    }

    /// Whether it was raised, for people.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self.before {
            Some(_) => "raised (autogroup -20)",
            None => "not raised (takes root and autogroups)",
        }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(FILE, before);
        }
    }
}
