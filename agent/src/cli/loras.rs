//! `ginnel loras`: adapters, as the relay's registry has them. Their bytes go
//! by `ginnel models push | pull loras/ID`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use ginnel_daemon::environment::Environment;
use ginnel_proto::id::LoraId;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::knowledge::Asked;
use super::{printable, table};

/// `ginnel loras`.
#[derive(Debug, Subcommand)]
pub enum Loras {
    /// List adapters that the relay knows of
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is said of an adapter
    Show {
        /// Its id
        id: LoraId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Describe an adapter that was pushed; ginnel models push loras/ID comes first
    Describe(Box<Describe>),
    /// Rate another user's adapter
    Rate {
        /// Its id
        id: LoraId,
        /// 1 to 5
        #[arg(value_parser = clap::value_parser!(u8).range(1..=5))]
        stars: u8,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `ginnel loras describe`.
#[derive(Debug, clap::Args)]
pub struct Describe {
    /// Its id
    id: LoraId,
    /// What people call it
    #[arg(long)]
    name: String,
    /// The field that it is made for, such as sql
    #[arg(long)]
    domain: String,
    /// The model that it adapts
    #[arg(long)]
    base_model: String,
    /// Your name for this version
    #[arg(long = "as-version", value_name = "VERSION")]
    version: String,
    /// What it is for, in some sentences
    #[arg(long)]
    description: Option<String>,
    /// Let all users of the relay see and pull it
    #[arg(long)]
    public: bool,
    /// What it costs, in cents
    #[arg(long, default_value_t = 0)]
    price_cents: u32,
    /// A file that says more, in Markdown
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An adapter, as the API shows it.
#[derive(Debug, Serialize, Deserialize)]
struct Lora {
    id: String,
    owner: String,
    mine: bool,
    name: String,
    description: Option<String>,
    domain: String,
    base_model: String,
    r2_key: String,
    version: String,
    is_public: bool,
    price_cents: u32,
    downloads: u64,
    rating: Option<f64>,
    created_unix_ms: i64,
}

/// All of them.
#[derive(Debug, Serialize, Deserialize)]
struct All {
    loras: Vec<Lora>,
}

pub(super) async fn run(
    command: Loras,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let asked = Asked::find(state, environment).await?;
    let done = do_it(command, &asked, out).await;
    asked.close().await?;
    done.map(|()| ExitCode::SUCCESS)
}

async fn do_it(command: Loras, asked: &Asked, out: &mut dyn Write) -> anyhow::Result<()> {
    let (lora, json) = match command {
        Loras::Ls { json } => return list(asked, json, out).await,
        Loras::Show { id, json } => {
            let path = format!("/v1/loras/{id}");
            (asked.ask(Method::GET, &path, &Value::Null).await?, json)
        }
        Loras::Describe(described) => {
            let path = format!("/v1/loras/{}", described.id);
            let body = described.body()?;
            (asked.ask(Method::PUT, &path, &body).await?, described.json)
        }
        Loras::Rate { id, stars, json } => {
            let path = format!("/v1/loras/{id}/rating");
            let body = json!({ "stars": stars });
            (asked.ask(Method::POST, &path, &body).await?, json)
        }
    };
    match json {
        true => write_json(&lora, out),
        false => show(&lora, out),
    }
}

impl Describe {
    fn body(&self) -> anyhow::Result<Value> {
        let readme = match &self.readme {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the text, path={}", path.display()))?,
            ),
            None => None,
        };
        Ok(json!({
            "name": self.name,
            "description": self.description,
            "domain": self.domain,
            "base_model": self.base_model,
            "version": self.version,
            "is_public": self.public,
            "price_cents": self.price_cents,
            "readme": readme,
        }))
    }
}

async fn list(asked: &Asked, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let all: All = asked.ask(Method::GET, "/v1/loras", &Value::Null).await?;
    if json {
        return write_json(&all, out);
    }
    let rows: Vec<_> = all.loras.iter().map(row).collect();
    table::write(out, &rows)?;
    if all.loras.is_empty() {
        writeln!(out, "The relay knows of no adapters")?;
        writeln!(
            out,
            "hint: ginnel models push loras/ID, then ginnel loras describe ID"
        )?;
    }
    Ok(())
}

fn row(lora: &Lora) -> [String; 6] {
    let seen = match lora.is_public {
        true => "public",
        false => "private",
    };
    [
        lora.id.clone(),
        printable::line(&lora.name),
        printable::line(&lora.domain),
        printable::line(&lora.base_model),
        seen.to_owned(),
        format!("{} downloads", lora.downloads),
    ]
}

fn show(lora: &Lora, out: &mut dyn Write) -> anyhow::Result<()> {
    let rating = lora
        .rating
        .map_or_else(|| "none yet".to_owned(), |it| format!("{it:.1} of 5"));
    let rows = [
        ["id".to_owned(), lora.id.clone()],
        ["name".to_owned(), printable::line(&lora.name)],
        ["owner".to_owned(), lora.owner.clone()],
        ["domain".to_owned(), printable::line(&lora.domain)],
        ["base model".to_owned(), printable::line(&lora.base_model)],
        ["version".to_owned(), printable::line(&lora.version)],
        ["public".to_owned(), lora.is_public.to_string()],
        ["price, cents".to_owned(), lora.price_cents.to_string()],
        ["downloads".to_owned(), lora.downloads.to_string()],
        ["rating".to_owned(), rating],
    ];
    table::write(out, &rows)?;
    if let Some(description) = &lora.description {
        writeln!(out, "{}", printable::line(description))?;
    }
    Ok(())
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
