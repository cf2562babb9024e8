//! The paths of transfers, and of what is published.

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::LoraId;
use ginnel_store::transfer::TransferId;
use http::Method;

use crate::api::knowledge::NoKnowledgeRoute;
use crate::api::knowledge::artifacts::artifact;

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum TransfersRoute {
    List,
    Begin,
    Show(TransferId),
    Set(TransferId),
    Forget(TransferId),
    Published,
    Withdraw(Artifact),
    Loras,
    ShowLora(LoraId),
    DescribeLora(LoraId),
    RateLora(LoraId),
}

impl TransfersRoute {
    /// `parts` are those of the path behind `/v1/transfers`.
    pub(in crate::api) fn find(method: &Method, parts: &[&str]) -> Result<Self, NoKnowledgeRoute> {
        match parts {
            [] => match *method {
                Method::GET => Ok(Self::List),
                Method::POST => Ok(Self::Begin),
                _ => Err(NoKnowledgeRoute::BadMethod("GET, POST")),
            },
            [id] => {
                let id = transfer(id)?;
                match *method {
                    Method::GET => Ok(Self::Show(id)),
                    Method::PUT => Ok(Self::Set(id)),
                    Method::DELETE => Ok(Self::Forget(id)),
                    _ => Err(NoKnowledgeRoute::BadMethod("GET, PUT, DELETE")),
                }
            }
            _ => Err(NoKnowledgeRoute::Unknown),
        }
    }

    /// `parts` are those of the path behind `/v1/published`.
    pub(in crate::api) fn find_published(
        method: &Method,
        parts: &[&str],
    ) -> Result<Self, NoKnowledgeRoute> {
        match parts {
            [] => match *method {
                Method::GET => Ok(Self::Published),
                _ => Err(NoKnowledgeRoute::BadMethod("GET")),
            },
            name => match *method {
                Method::DELETE => Ok(Self::Withdraw(artifact(&name.join("/"))?)),
                _ => Err(NoKnowledgeRoute::BadMethod("DELETE")),
            },
        }
    }

    /// `parts` are those of the path behind `/v1/loras`.
    pub(in crate::api) fn find_loras(
        method: &Method,
        parts: &[&str],
    ) -> Result<Self, NoKnowledgeRoute> {
        let id = |text: &str| {
            LoraId::parse(text).map_err(|error| NoKnowledgeRoute::BadId(error.to_string()))
        };
        match parts {
            [] => match *method {
                Method::GET => Ok(Self::Loras),
                _ => Err(NoKnowledgeRoute::BadMethod("GET")),
            },
            [lora] => match *method {
                Method::GET => Ok(Self::ShowLora(id(lora)?)),
                Method::PUT => Ok(Self::DescribeLora(id(lora)?)),
                _ => Err(NoKnowledgeRoute::BadMethod("GET, PUT")),
            },
            [lora, "rating"] => match *method {
                Method::POST => Ok(Self::RateLora(id(lora)?)),
                _ => Err(NoKnowledgeRoute::BadMethod("POST")),
            },
            _ => Err(NoKnowledgeRoute::Unknown),
        }
    }
}

fn transfer(text: &str) -> Result<TransferId, NoKnowledgeRoute> {
    let number = text
        .parse()
        .map_err(|_| NoKnowledgeRoute::BadId(format!("a transfer has a number, found={text:?}")))?;
    Ok(TransferId::from_number(number))
}
