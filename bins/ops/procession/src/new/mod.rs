//! `procession new`: a micro-process that works, to be made one's own.

mod contract;
mod manifest;
mod template;
mod workspace;

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};
use procession::names;
use serde::Serialize;

use crate::deploy::{self, Network};
use crate::output::Output;
use crate::pattern::Pattern;
use crate::report::failure;

use template::Template;
use workspace::Workspace;

/// Make a working process in this workspace: its crate with a test, and its places in deploy/swarm.toml,
/// process-compose.yaml and the systemd units. Nothing is written where anything is in the way.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name: lower-case letters, digits and `-`.
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it hears.
    #[arg(long, value_name = "PROCESS/TOPIC")]
    subscribe: Pattern,
    /// The bounded context that it belongs to [default: that of the process that it hears]
    #[arg(long)]
    context: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    process: &'a str,
    folder: &'a Path,
    written: Vec<PathBuf>,
}

/// Runs `procession new`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let current = env::current_dir().context("the current folder can't be determined")?;
    let root = deploy::root(&current)?;
    let mut workspace = Workspace::read(&root)?;
    workspace.refuse_taken(&args.name)?;
    let publisher = args.subscribe.process().map(names::Instance::process);
    let publisher_context = publisher.and_then(|name| workspace.context_of(name)).map(str::to_owned);
    let context = match args.context.clone().or_else(|| publisher_context.clone()) {
        Some(context) => context,
        None => return Err(no_context(publisher)),
    };
    let offers = workspace.offers()?;
    let contract = publisher_context
        .zip(args.subscribe.topic())
        .and_then(|(context, topic)| contract::find(&context, topic))
        .filter(|contract| offers.has_contracts_of(&root, contract.context));
    let folder = Path::new("bins").join(&context).join(&args.name);
    let template = Template { name: &args.name, subscribe: &args.subscribe, contract, offers };
    refuse_existing(&root.join(&folder))?;
    let addition = deploy::addition(&root, &args.name, &context, &template.description(), Network::Local)?;

    // Whatever could be in the way has been looked for: from here on things are written.
    let mut written = write_crate(&root, &folder, &template)?;
    written.extend(addition.apply(&root)?);
    written.push(workspace.add_member(&folder, &context)?);
    finish(&root, &args.name);
    tell(args, &folder, written, out)?;
    if !template.offers.has_tests() {
        note!("it has no test: that needs `journal` and `testkit` in [workspace.dependencies]");
    }
    Ok(ExitCode::SUCCESS)
}

/// Also a link that leads nowhere is in the way.
fn refuse_existing(at: &Path) -> Result<()> {
    if at.symlink_metadata().is_ok() {
        return Err(failure(format!("{} is there already", at.display()), "choose another name"));
    }
    Ok(())
}

fn no_context(publisher: Option<&str>) -> anyhow::Error {
    let what = match publisher {
        Some(name) => format!("`{name}` isn't in deploy/swarm.toml, so its context isn't known"),
        None => "no single process is heard, whose context the new one could join".to_owned(),
    };
    failure(what, "name the context: --context NAME")
}

fn write_crate(root: &Path, folder: &Path, template: &Template<'_>) -> Result<Vec<PathBuf>> {
    let at = root.join(folder);
    let mut written = Vec::new();
    for (name, text) in template.files() {
        let path = at.join(name);
        let parent = path.parent().unwrap_or(&at);
        fs::create_dir_all(parent).with_context(|| format!("can't create {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        written.push(folder.join(name));
    }
    Ok(written)
}

/// Names of any length keep the code in its format, and locked builds know the crate: both are conveniences, and
/// the crate is whole without them.
fn finish(root: &Path, name: &str) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for arguments in [&["fmt", "--package", name][..], &["update", "--workspace", "--offline", "--quiet"]] {
        let mut command = Command::new(&cargo);
        command
            .args(arguments)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            note!("`cargo {}` failed: run it yourself", arguments.join(" "));
        }
    }
}

fn tell(args: &Args, folder: &Path, written: Vec<PathBuf>, out: &mut Output) -> Result<()> {
    let name = args.name.as_str();
    if args.json {
        return out.json(&Made { process: name, folder, written });
    }
    for path in written {
        writeln!(out, "wrote {}", path.display())?;
    }
    note!("\nnext:");
    note!("  cargo test -p {name}");
    note!("  just up                          # it starts with the others");
    note!("  procession tail {name}/heard");
    note!("  {}/src/main.rs is yours to change", folder.display());
    note!("where the application is installed: its program too, see \"Another process\" in deploy/README.md");
    Ok(())
}

fn parse_name(name: &str) -> Result<String, String> {
    // What names may have in production is less than what processes take.
    deploy::check_name("name", name).map_err(|error| error.to_string())?;
    names::check_process(name).map_err(|error| error.to_string())?;
    if workspace::is_reserved(name) {
        return Err("no program of Rust can have this name".to_owned());
    }
    Ok(name.to_owned())
}
