//! The way of commands to what this device knows: through the running daemon,
//! or, where none runs, by opening the store themselves.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use anyhow::anyhow;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ginnel_daemon::environment::Environment;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::answer::{BoxError, Problem};
use crate::api::knowledge as api;
use crate::api::knowledge::artifacts::Work;
use crate::api::knowledge::view::AddRequest;
use crate::config::{Config, Flags};
use crate::knowledge::Knowledge;
use crate::knowledge::add::Event;
use crate::local_client::{ClientError, LocalClient};
use crate::models::event::Event as ModelsEvent;

/// Where to ask.
pub(super) enum Asked {
    Daemon(LocalClient),
    /// Nobody else has the store open.
    Here(Knowledge),
}

impl Asked {
    /// Finds the daemon of a state folder, or opens its store.
    pub(super) async fn find(
        state: Option<&Path>,
        environment: Environment<'_>,
    ) -> anyhow::Result<Self> {
        let flags = Flags {
            state: state.map(Path::to_owned),
            ..Flags::default()
        };
        let config = Config::load(&flags, environment)?;
        match LocalClient::find(&config.state).await {
            Ok(client) => Ok(Self::Daemon(client)),
            Err(ClientError::NotRunning(_)) => {
                ginnel_certs::private_file::create_dir_private(&config.state)?;
                let knowledge = Knowledge::open(&config.knowledge("")).await?;
                Ok(Self::Here(knowledge))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a daemon is asked, which alone has a link.
    pub(super) fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    /// Asks as programs ask the API.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        match self {
            Self::Daemon(client) => Ok(client.send_long(method, path, body).await?),
            Self::Here(knowledge) => {
                let asking = api::ask(knowledge, method, path, body);
                let answer = with_vectors(knowledge, asking).await;
                Ok(serde_json::from_value(answer.map_err(told)?)?)
            }
        }
    }

    /// What is at a path, if it is there.
    pub(super) async fn look<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let asked = self.ask(Method::GET, path, &serde_json::Value::Null).await;
        asked
            .map(Some)
            .or_else(|error: anyhow::Error| match error.downcast_ref() {
                Some(ClientError::Refused { status, .. }) if *status == StatusCode::NOT_FOUND => {
                    Ok(None)
                }
                Some(_) | None => Err(error),
            })
    }

    /// Has files added, all at the same time, and calls `each` with every
    /// event, until the first of them ends.
    pub(super) async fn add(
        &self,
        requests: Vec<AddRequest>,
        each: impl FnMut(Event) -> Result<(), BoxError>,
    ) -> anyhow::Result<()> {
        let each = RefCell::new(each);
        let each = |event| (each.borrow_mut())(event);
        match self {
            Self::Daemon(client) => {
                let adding = requests.iter().map(|request| client.add(request, each));
                Ok(first(adding).await.unwrap_or(Ok(()))?)
            }
            Self::Here(knowledge) => {
                let adding = requests.into_iter();
                let adding = adding.map(|request| api::add(knowledge.clone(), request));
                let adding = adding.collect::<Result<Vec<_>, _>>().map_err(told)?;
                let adding = first(adding.into_iter().map(|adding| adding.run(each)));
                let added = with_vectors(knowledge, adding).await.unwrap_or(Ok(()));
                // In a box nobody would see what kind it is.
                added.map_err(|error| match error.downcast::<io::Error>() {
                    Ok(error) => anyhow!(*error),
                    Err(error) => anyhow!(error),
                })
            }
        }
    }

    /// Has long work on models done, and calls `each` with every event.
    pub(super) async fn follow(
        &self,
        work: Work,
        each: impl FnMut(ModelsEvent) -> Result<(), BoxError>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Daemon(client) => Ok(client.follow(work.path(), &work.body()?, each).await?),
            Self::Here(knowledge) => {
                let done = work.run(knowledge.models().clone(), each).await;
                Ok(done.map_err(told)?)
            }
        }
    }

    /// Closes the store, if it was opened here.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Daemon(_) => Ok(()),
            Self::Here(knowledge) => knowledge.close().await,
        }
    }
}

/// What comes of whichever ends first.
async fn first<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Option<T> {
    work.collect::<FuturesUnordered<_>>().next().await
}

/// Makes vectors while something is done that may wait for them.
async fn with_vectors<T>(knowledge: &Knowledge, work: impl Future<Output = T>) -> T {
    tokio::select! {
        out = work => out,
        () = knowledge.keep_embedding(tokio_util::sync::CancellationToken::new()) => {
            unreachable!("it goes on until it is cancelled")
        }
    }
}

/// A problem of the API, as the daemon would have told it.
fn told(problem: Problem) -> ClientError {
    ClientError::Refused {
        status: problem.status,
        code: problem.code.to_owned(),
        message: problem.message,
        hint: problem.hint,
    }
}
