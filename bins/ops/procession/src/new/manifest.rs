//! The manifest of a new crate: it takes over what the workspace has for its members, and says the rest itself.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use toml_edit::{DocumentMut, Item};

use crate::report::failure;

/// What the templates are written in; an older one of the workspace would not do.
const EDITIONS: [&str; 2] = ["2021", "2024"];
const VERSION: &str = "version = \"0.1.0\"";
const EDITION: &str = "edition = \"2024\"";
const UNPUBLISHED: &str = "publish = false";
const SERDE: &str = "serde = { version = \"1\", features = [\"derive\"] }";

/// What a workspace has for its members.
#[derive(Debug)]
pub(super) struct Offers {
    workspace: Item,
}

impl Offers {
    /// What the workspace of this manifest has.
    ///
    /// # Errors
    /// It doesn't say where crate `procession` is to be had.
    pub(super) fn of(manifest: &DocumentMut) -> Result<Self> {
        let offers = Self { workspace: manifest.get("workspace").cloned().unwrap_or_default() };
        if offers.dependency("procession").is_none() {
            return Err(failure(
                "nothing was written: [workspace.dependencies] of Cargo.toml has no `procession`, which every process needs",
                "add it, by its `path` or `git`, then run this again",
            ));
        }
        Ok(offers)
    }

    /// Whether a test can be written: it needs crates that only development has.
    pub(super) fn has_tests(&self) -> bool {
        self.dependency("journal").is_some() && self.dependency("testkit").is_some()
    }

    /// Whether the crate `contracts` is there, and has this context: another workspace's may have nothing in common
    /// with ours but its name.
    pub(super) fn has_contracts_of(&self, root: &Path, context: &str) -> bool {
        let path = self.dependency("contracts").and_then(|contracts| contracts.get("path")?.as_str());
        path.is_some_and(|path| {
            let source = root.join(path).join("src");
            source.join(format!("{context}.rs")).is_file() || source.join(context).is_dir()
        })
    }

    /// The manifest of a crate in it.
    pub(super) fn manifest(&self, name: &str, description: &str, with_contracts: bool) -> String {
        let mut text = format!("[package]\nname = \"{name}\"\ndescription = \"{description}.\"\n");
        let edition = self.package("edition").and_then(Item::as_str);
        let edition =
            edition.filter(|edition| EDITIONS.contains(edition)).map(|_| "edition.workspace = true");
        let lines = [
            Some(self.package("version").map_or(VERSION, |_| "version.workspace = true")),
            Some(edition.unwrap_or(EDITION)),
            self.package("rust-version").map(|_| "rust-version.workspace = true"),
            self.package("license").map(|_| "license.workspace = true"),
            Some(self.package("publish").map_or(UNPUBLISHED, |_| "publish.workspace = true")),
        ];
        for line in lines.into_iter().flatten() {
            text.push_str(line);
            text.push('\n');
        }
        write!(text, "\n[[bin]]\nname = \"{name}\"\npath = \"src/main.rs\"\n\n[dependencies]\n")
            .expect("writing to memory doesn't fail");
        if with_contracts {
            text.push_str("contracts.workspace = true\n");
        }
        text.push_str("procession.workspace = true\n");
        text.push_str(self.serde());
        text.push('\n');
        if self.has_tests() {
            text.push_str("\n[dev-dependencies]\njournal.workspace = true\ntestkit.workspace = true\n");
        }
        if self.workspace.get("lints").is_some() {
            text.push_str("\n[lints]\nworkspace = true\n");
        }
        text
    }

    fn serde(&self) -> &'static str {
        let Some(serde) = self.dependency("serde") else { return SERDE };
        let features = serde.get("features").and_then(Item::as_array);
        let derives =
            features.is_some_and(|features| features.iter().any(|name| name.as_str() == Some("derive")));
        if derives {
            "serde.workspace = true"
        } else {
            "serde = { workspace = true, features = [\"derive\"] }"
        }
    }

    fn package(&self, key: &str) -> Option<&Item> {
        self.workspace.get("package")?.get(key)
    }

    fn dependency(&self, name: &str) -> Option<&Item> {
        self.workspace.get("dependencies")?.get(name)
    }
}

#[cfg(test)]
impl Offers {
    /// This repository's own.
    pub(super) fn ours() -> Self {
        let root = crate::deploy::root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
        Self::of(&manifest.parse().unwrap()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Result<Offers> {
        Offers::of(&text.parse().unwrap())
    }

    #[test]
    fn what_the_workspace_has_is_taken_over() {
        let text = Offers::ours().manifest("shout", "Shouts", true);
        for key in
            ["version", "edition", "rust-version", "license", "publish", "contracts", "serde", "testkit"]
        {
            assert!(text.contains(&format!("\n{key}.workspace = true\n")), "{key} in\n{text}");
        }
        assert!(text.ends_with("\n[lints]\nworkspace = true\n"), "{text}");
    }

    #[test]
    fn what_it_has_not_is_said_or_left_out() {
        let least = "[workspace]\nmembers = []\n[workspace.dependencies]\nprocession = { path = 'p' }\n";
        let text = offers(least).unwrap().manifest("shout", "Shouts", false);
        assert_eq!(text.matches("workspace").count(), 1, "{text}");
        for line in [VERSION, EDITION, UNPUBLISHED, SERDE] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.parse::<toml::Table>().is_ok());
        let old = format!("{least}serde = '1'\n[workspace.package]\nedition = '2018'\n");
        let text = offers(&old).unwrap().manifest("shout", "Shouts", false);
        assert!(
            text.contains(EDITION) && text.contains("workspace = true, features = [\"derive\"]"),
            "{text}"
        );
    }

    #[test]
    fn without_the_crate_of_every_process_nothing_can_be_made() {
        let error = offers("[workspace]\nmembers = []\n").unwrap_err().to_string();
        assert!(error.contains("nothing was written") && error.contains("`procession`"), "{error}");
    }
}
