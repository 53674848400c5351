//! The workspace that a new process becomes a member of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml_edit::{Array, DocumentMut, Item, Value};

use super::manifest::Offers;
use crate::deploy;
use crate::report::failure;

const MANIFEST: &str = "Cargo.toml";

/// Names that Rust or Cargo keeps for itself, among those that a process could have.
const RESERVED: &str = "abstract alloc as async await become box break build const continue core crate deps do dyn \
    else enum examples extern false final fn for gen if impl in incremental let loop macro match mod move mut \
    override priv proc-macro proc_macro pub ref return self static std struct super test trait true try type typeof \
    unsafe unsized use virtual where while yield";

/// Whether no crate or program can have this name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.split_whitespace().any(|reserved| reserved == name)
}

/// What there is already.
#[derive(Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    manifest: DocumentMut,
    swarm: DocumentMut,
    /// Packages and programs of the members, and packages that they depend on.
    taken: BTreeSet<String>,
}

impl Workspace {
    /// Reads the workspace whose root is given.
    ///
    /// # Errors
    /// A file is missing or isn't TOML.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let manifest = parse(&root.join(MANIFEST))?;
        let swarm = parse(&root.join("deploy/swarm.toml"))?;
        let mut workspace = Self { root: root.to_owned(), manifest, swarm, taken: BTreeSet::new() };
        let members = workspace.members()?;
        for member in members.iter().filter_map(Value::as_str) {
            // A pattern of members is looked into by Cargo, and by us only if it is a path.
            if let Ok(member) = parse(&root.join(member).join(MANIFEST)) {
                workspace.taken.extend(names_of(&member));
            }
        }
        if let Ok(lock) = parse(&root.join("Cargo.lock")) {
            workspace.taken.extend(listed(&lock, "package").map(str::to_owned));
        }
        Ok(workspace)
    }

    /// # Errors
    /// Another process, crate or dependency has this name.
    pub(super) fn refuse_taken(&self, name: &str) -> Result<()> {
        let advice = "choose another name";
        if listed(&self.swarm, "process").any(|process| process == name) {
            return Err(failure(format!("there is a process `{name}` in deploy/swarm.toml already"), advice));
        }
        if self.taken.contains(name) {
            return Err(failure(
                format!("there is a crate or program `{name}` in the workspace already"),
                advice,
            ));
        }
        Ok(())
    }

    /// What it has for its members.
    ///
    /// # Errors
    /// What no process can do without isn't there.
    pub(super) fn offers(&self) -> Result<Offers> {
        Offers::of(&self.manifest)
    }

    /// The bounded context of a process of the swarm.
    pub(super) fn context_of(&self, name: &str) -> Option<&str> {
        let processes = self.swarm.get("process")?.as_array_of_tables()?;
        let process = processes.iter().find(|process| text(process.get("name")) == Some(name))?;
        text(process.get("context"))
    }

    /// Adds a folder to the members, behind those of the same context; returns what was written.
    ///
    /// # Errors
    /// The manifest can't be written.
    pub(super) fn add_member(&mut self, folder: &Path, context: &str) -> Result<PathBuf> {
        let members = members_mut(&mut self.manifest)?;
        insert(members, &folder.display().to_string(), &format!("bins/{context}/"));
        let path = self.root.join(MANIFEST);
        deploy::replace(&path, &self.manifest.to_string())?;
        Ok(MANIFEST.into())
    }

    fn members(&mut self) -> Result<Array> {
        members_mut(&mut self.manifest).cloned()
    }
}

fn members_mut(manifest: &mut DocumentMut) -> Result<&mut Array> {
    let members = manifest.get_mut("workspace").and_then(|workspace| workspace.get_mut("members"));
    match members.and_then(Item::as_array_mut) {
        Some(members) => Ok(members),
        None => bail!("{MANIFEST} has no list `members` in [workspace]"),
    }
}

/// Inserts a member behind the last one that begins alike, in the layout of its neighbours.
fn insert(members: &mut Array, member: &str, like: &str) {
    let is_alike = |other: &Value| other.as_str().is_some_and(|other| other.starts_with(like));
    let alike = members.iter().enumerate().filter(|(_, other)| is_alike(other)).last();
    let index = alike.map_or(members.len(), |(index, _)| index + 1);
    let mut value = Value::from(member);
    let prefix = members.iter().last().and_then(|other| other.decor().prefix()?.as_str()).unwrap_or_default();
    value.decor_mut().set_prefix(prefix.to_owned());
    members.insert_formatted(index, value);
}

/// The names of a member's package and programs.
fn names_of(manifest: &DocumentMut) -> Vec<String> {
    let package = manifest.get("package").and_then(|package| text(package.get("name")));
    package.into_iter().chain(listed(manifest, "bin")).map(str::to_owned).collect()
}

/// The names in an array of tables.
fn listed<'a>(document: &'a DocumentMut, key: &str) -> impl Iterator<Item = &'a str> {
    let tables = document.get(key).and_then(Item::as_array_of_tables);
    tables.into_iter().flatten().filter_map(|table| text(table.get("name")))
}

fn text(item: Option<&Item>) -> Option<&str> {
    item?.as_str()
}

fn parse(path: &Path) -> Result<DocumentMut> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    text.parse().with_context(|| format!("{} isn't right", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(text: &str, member: &str, like: &str) -> String {
        let mut manifest: DocumentMut = text.parse().unwrap();
        insert(members_mut(&mut manifest).unwrap(), member, like);
        manifest.to_string()
    }

    #[test]
    fn a_member_joins_its_like_and_nothing_else_changes() {
        let text = "# Ours\n[workspace] # all\nmembers = [\n    \"a\", # first\n    \"bins/x/b\",\n    \"bins/y/c\",\n]\n\n[x]\ny=1\n";
        let expected = text.replace("    \"bins/y/c\"", "    \"bins/x/new\",\n    \"bins/y/c\"");
        assert_eq!(inserted(text, "bins/x/new", "bins/x/"), expected);
        let expected = text.replace("    \"bins/y/c\",\n", "    \"bins/y/c\",\n    \"bins/z/new\",\n");
        assert_eq!(inserted(text, "bins/z/new", "bins/z/"), expected);
    }

    #[test]
    fn a_list_on_one_line_stays_there() {
        let text = "[workspace]\nmembers = [\"a\", \"b\"]\n";
        assert_eq!(inserted(text, "c", "x/"), "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\n");
    }

    #[test]
    fn names_of_rust_are_no_names_of_programs() {
        assert!(is_reserved("loop") && is_reserved("test") && is_reserved("yield"));
        assert!(!is_reserved("shout"));
    }

    #[test]
    fn what_there_is_in_this_workspace_is_known() {
        let root = crate::deploy::root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let workspace = Workspace::read(&root).unwrap();
        assert_eq!(workspace.context_of("broadcaster"), Some("hive"));
        for taken in ["broadcaster", "procession", "journal", "hive-node", "tokio"] {
            assert!(workspace.refuse_taken(taken).is_err(), "{taken}");
        }
        assert!(workspace.refuse_taken("a-name-that-is-new").is_ok());
    }
}
