//! The files of a new crate.

use super::contract::Contract;
use super::manifest::Offers;
use crate::pattern::Pattern;

const MAIN: &str = include_str!("templates/main.rs.in");
const TEST: &str = include_str!("templates/it.rs.in");

/// Descriptions of processes are one line of bounded length.
const DESCRIPTION_BYTES_MAX: usize = 120;

/// What is filled in.
#[derive(Debug)]
pub(super) struct Template<'a> {
    pub(super) name: &'a str,
    pub(super) subscribe: &'a Pattern,
    /// The type of what is heard, if Rust has one for it.
    pub(super) contract: Option<Contract>,
    /// What the workspace has for its members.
    pub(super) offers: Offers,
}

impl Template<'_> {
    /// One line about the process, without a full stop.
    pub(super) fn description(&self) -> String {
        let description = format!("Hears {} and says heard", self.subscribe);
        if description.len() <= DESCRIPTION_BYTES_MAX {
            description
        } else {
            "Hears and says heard".to_owned()
        }
    }

    /// Paths in the crate's folder, and what they hold.
    pub(super) fn files(&self) -> Vec<(&'static str, String)> {
        let manifest = self.offers.manifest(self.name, &self.description(), self.contract.is_some());
        let mut files = vec![("Cargo.toml", manifest), ("src/main.rs", self.fill(MAIN))];
        if self.offers.has_tests() {
            files.push(("tests/it/main.rs", self.fill(TEST)));
        }
        files
    }

    fn fill(&self, text: &str) -> String {
        let publisher = self.subscribe.process().map_or("publisher", |process| process.as_str());
        let (used, subscribe, payload) = match &self.contract {
            Some(contract) => (
                format!("use {};\n", contract.path()),
                format!("subscribe::<{}>(\"{publisher}\")", contract.name),
                contract.payload,
            ),
            None => (String::new(), format!("subscribe_any(\"{}\")", self.subscribe), r#"{"number":1}"#),
        };
        [
            ("@NAME@", self.name),
            ("@DESCRIPTION@", &self.description()),
            ("@CONTRACTS_USE@", &used),
            ("@SUBSCRIBE@", &subscribe),
            ("@PUBLISHER@", publisher),
            ("@TOPIC@", self.subscribe.topic().unwrap_or("something")),
            ("@PAYLOAD@", payload),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::contract;

    fn files(subscribe: &str, contract: Option<Contract>) -> [String; 3] {
        let subscribe = subscribe.parse().unwrap();
        let template = Template { name: "shout", subscribe: &subscribe, contract, offers: Offers::ours() };
        let texts: Vec<_> = template.files().into_iter().map(|(_, text)| text).collect();
        texts.try_into().expect("there are three")
    }

    #[test]
    fn everything_is_filled_in_and_a_bot_fits_on_a_screen() {
        for (subscribe, contract) in [
            ("broadcaster/comment", contract::find("hive", "comment")),
            ("broadcaster/fill_order", None),
            ("*/*", None),
        ] {
            let [cargo, main, test] = files(subscribe, contract);
            for text in [&cargo, &main, &test] {
                assert!(!text.contains('@'), "{text}");
            }
            assert!(cargo.parse::<toml::Table>().is_ok(), "{cargo}");
            assert!(main.lines().count() <= 60, "{main}");
        }
    }

    #[test]
    fn what_is_heard_has_its_type_where_there_is_one() {
        let [cargo, main, _] = files("broadcaster/vote", contract::find("hive", "vote"));
        assert!(
            main.contains("use contracts::hive::Vote;")
                && main.contains(r#"subscribe::<Vote>("broadcaster")"#)
        );
        assert!(cargo.contains("contracts.workspace"));
        let [cargo, main, _] = files("*/vote", None);
        assert!(main.contains(r#"subscribe_any("*/vote")"#) && !cargo.contains("contracts"));
    }

    #[test]
    fn the_readme_shows_what_is_written() {
        let [_, main, _] = files("broadcaster/comment", contract::find("hive", "comment"));
        let heart = main[main.find("async fn app").unwrap()..].trim_end();
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../README.md")).unwrap();
        assert!(readme.contains(&format!("```rust\n{heart}\n```")), "README.md needs:\n{heart}");
    }

    #[test]
    fn a_long_topic_does_not_make_a_long_description() {
        let subscribe = format!("broadcaster/{}", "x".repeat(128)).parse().unwrap();
        let template =
            Template { name: "shout", subscribe: &subscribe, contract: None, offers: Offers::ours() };
        assert!(template.description().len() <= DESCRIPTION_BYTES_MAX);
    }
}
