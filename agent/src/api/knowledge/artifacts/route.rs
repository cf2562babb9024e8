//! The paths of artifacts.

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::InvalidName;
use http::Method;

use crate::api::knowledge::NoKnowledgeRoute;
use crate::api::percent;

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum ArtifactsRoute {
    List,
    Show(Artifact),
    Set(Artifact),
    Remove(Artifact),
    Use,
    Verify,
    Repair,
    MakeRoom,
    Import,
}

impl ArtifactsRoute {
    /// `parts` are those of the path behind `/v1/artifacts`.
    pub(in crate::api) fn find(method: &Method, parts: &[&str]) -> Result<Self, NoKnowledgeRoute> {
        let post = |route: Self| match *method {
            Method::POST => Ok(route),
            _ => Err(NoKnowledgeRoute::BadMethod("POST")),
        };
        // No artifact has one of these names: those have a slash in them.
        match parts {
            [] => match *method {
                Method::GET => Ok(Self::List),
                _ => Err(NoKnowledgeRoute::BadMethod("GET")),
            },
            ["use"] => post(Self::Use),
            ["verify"] => post(Self::Verify),
            ["repair"] => post(Self::Repair),
            ["gc"] => post(Self::MakeRoom),
            ["import"] => post(Self::Import),
            name => {
                let name = artifact(&name.join("/"))?;
                match *method {
                    Method::GET => Ok(Self::Show(name)),
                    Method::PUT => Ok(Self::Set(name)),
                    Method::DELETE => Ok(Self::Remove(name)),
                    _ => Err(NoKnowledgeRoute::BadMethod("GET, PUT, DELETE")),
                }
            }
        }
    }

    /// Whether the answer may go on until its caller goes.
    pub(in crate::api) fn goes_on(&self) -> bool {
        matches!(self, Self::Verify | Self::Repair | Self::Import)
    }
}

/// The artifact that a path names. What is encoded in it is decoded first, so
/// that `%2e%2e` is what it stands for.
pub(in crate::api) fn artifact(text: &str) -> Result<Artifact, NoKnowledgeRoute> {
    let decoded = percent::decode(text).ok_or_else(|| {
        let message = format!("name is not encoded well, or not UTF-8, name={text:?}");
        NoKnowledgeRoute::BadId(message)
    })?;
    decoded
        .parse()
        .map_err(|error: InvalidName| NoKnowledgeRoute::BadId(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths() {
        let find = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            ArtifactsRoute::find(&Method::GET, &parts)
        };
        for name in [
            "models/phi.gguf",
            "models/~/phi.gguf",
            "models/use",
            "training/datasets/j1",
        ] {
            let shown = ArtifactsRoute::Show(name.parse().expect(name));
            assert_eq!(find(name), Ok(shown), "{name}");
        }
        let encoded = find("models/%7E/a%2Bb.gguf");
        let name = "models/~/a+b.gguf".parse().expect("a name");
        assert_eq!(encoded, Ok(ArtifactsRoute::Show(name)));
        for wrong in [
            "models",
            "models/",
            "models/..",
            "models/%2e%2e",
            "models/%2e%2e%2fx",
            "models/a%00b",
            "models/%zz",
            "models/~/a/b",
            "phi.gguf",
            &format!("models/{}", "a".repeat(2048)),
        ] {
            let found = find(wrong);
            let refused = matches!(found, Err(NoKnowledgeRoute::BadId(_)));
            assert!(refused, "{wrong}: {found:?}");
        }
        assert_eq!(find("verify"), Err(NoKnowledgeRoute::BadMethod("POST")));
    }
}
