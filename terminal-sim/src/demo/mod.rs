//! `terminal-sim demo`: a shop's day, from the first sign-on to the clearing files, played through a
//! real daemon against two issuers, and four books that must agree at its end.

mod books;
mod narrator;
mod standing;
mod story;
mod tamper;

use crate::device::StageHsm;
use crate::issuer::{Rule, When};
use crate::stage::{Stage, StageOptions};
use anyhow::{Context, Result, bail};
use clap::Args;
use narrator::Narrator;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tamper::Book;

/// `terminal-sim demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the day's files; a new one among the temporary files when absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Store of the switch, `sqlite:FILE` or `postgres://…` (an empty database); a SQLite file in the folder
    /// when absent.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Where the switch has its keys: its own process, or another one that it sends host commands to. When absent, the
    /// variable TOLLGATE_TEST_HSM chooses.
    #[arg(long)]
    hsm: Option<StageHsm>,
    /// The result as JSON on standard output instead of the story.
    #[arg(long)]
    json: bool,
    /// Leave the daemon running at the end, until a key is pressed.
    #[arg(long)]
    stay: bool,
    /// Copy every frame of both sides to this file, one JSON object a line, for outside judges.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Alter one amount in this book before it is added up, to see that it is noticed.
    #[arg(long, hide = true)]
    tamper: Option<Book>,
}

/// A sale of this amount is never answered by its issuer.
pub(super) const SILENT_MINOR: i64 = 7_777;
/// A sale of this amount is approved by its issuer, too late.
pub(super) const LATE_MINOR: i64 = 8_888;
/// How long an issuer of the demo may take.
const ANSWER_MS: u64 = 1_500;

/// Plays the demo. The exit code: 0 only when everything agrees.
///
/// # Errors
/// What kept the day from being played.
pub async fn run(args: &DemoArgs) -> Result<u8> {
    let dir = folder(args)?;
    let mut narrator = Narrator::new(args.json);
    let mut stage = Stage::build(options(dir.clone(), args)).await.context("cannot set the stage")?;
    narrator.opening(&stage)?;
    let day = story::play(&mut stage, &mut narrator).await?;
    let agreed = books::close(&mut stage, &mut narrator, day, args.tamper).await?;
    copy_record(&stage, args)?;
    narrator.ending(&stage, agreed, args.json)?;
    if args.stay {
        narrator.stay(&stage)?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    }
    stage.stop().await?;
    // Again: what came since belongs to it.
    copy_record(&stage, args)?;
    Ok(if agreed && narrator.all_as_expected() { 0 } else { 1 })
}

fn copy_record(stage: &Stage, args: &DemoArgs) -> Result<()> {
    stage.recorder.flush()?;
    if let Some(copy) = &args.record {
        fs::copy(stage.dir.join("record.jsonl"), copy).with_context(|| copy.display().to_string())?;
    }
    Ok(())
}

fn folder(args: &DemoArgs) -> Result<PathBuf> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("tollgate-demo-{}", std::process::id())),
    };
    if dir.exists() && fs::read_dir(&dir)?.next().is_some() {
        bail!("{} is not empty", dir.display());
    }
    Ok(dir)
}

fn options(dir: PathBuf, args: &DemoArgs) -> StageOptions {
    let sale = |minor| When::amount(minor).and_mti("0200");
    let rules = || {
        vec![
            Rule::silent(sale(SILENT_MINOR)),
            Rule::late(sale(LATE_MINOR), Duration::from_millis(ANSWER_MS + 700)),
        ]
    };
    StageOptions {
        dir,
        store: args.store.clone(),
        hsm: args.hsm,
        rules: [rules(), rules()],
        terminals_per_dialect: 3,
        answer_ms: Some(ANSWER_MS),
        ..StageOptions::default()
    }
}
