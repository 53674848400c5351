//! The flags of `run`: one per setting, made from the schema.

use std::collections::HashSet;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction};

use super::layers::variable_part;
use super::schema::{Field, Kind, Known};
use super::text;

/// Flags that every program has anyway.
const BUILT_IN: [&str; 3] = ["instance", "help", "version"];
const FRAMEWORK_HEADING: &str = "Options of every process (table [process] in the files)";

/// A setting that isn't a table, with its path from the top.
pub(super) struct Leaf<'a> {
    pub(super) path: Vec<&'a str>,
    pub(super) field: &'a Field,
}

pub(super) fn leaves(fields: &[Field]) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    for field in fields {
        match &field.kind {
            Kind::Table(inner) => found.extend(leaves(inner).into_iter().map(|mut leaf| {
                leaf.path.insert(0, &field.key);
                leaf
            })),
            _ => found.push(Leaf { path: vec![&field.key], field }),
        }
    }
    found
}

impl Leaf<'_> {
    /// The flag without its dashes: `journal-sync`.
    pub(super) fn flag(&self) -> String {
        self.path.join("-").replace(['_', '.'], "-").to_lowercase()
    }

    /// Whether a second occurrence of the flag adds to the first.
    pub(super) fn repeats(&self) -> bool {
        match &self.field.kind {
            Kind::List(inner) | Kind::Map(inner) => matches!(**inner, Kind::Scalar(_)),
            _ => false,
        }
    }
}

/// # Panics
/// When two settings would share a flag.
pub(super) fn assert_distinct(known: &Known) {
    let mut taken: HashSet<String> = BUILT_IN.map(str::to_owned).into();
    for leaf in leaves(&known.own).iter().chain(&leaves(&known.process)) {
        let flag = leaf.flag();
        assert!(!taken.contains(&flag), "two settings would have the flag --{flag}");
        taken.insert(flag);
    }
}

/// The flags of the process called `name`, its own first.
pub(crate) fn arguments(known: &Known, name: &str) -> Vec<Arg> {
    let own = leaves(&known.own);
    let own = own.iter().map(|leaf| argument(leaf, name));
    let process = leaves(&known.process);
    let process = process.iter().map(|leaf| argument(leaf, "process").help_heading(FRAMEWORK_HEADING));
    own.chain(process).collect()
}

fn argument(leaf: &Leaf<'_>, section: &str) -> Arg {
    let field = leaf.field;
    let flag = leaf.flag();
    let variable: Vec<String> = leaf.path.iter().map(|part| variable_part(part)).collect();
    let variable = format!("PROCESSION_{}__{}", variable_part(section), variable.join("__"));
    let (summary, rest) = field.help.split_once("\n\n").unwrap_or((&field.help, ""));
    let summary = summary.replace('\n', " ");
    let default = text::write(&field.default);
    let default = default.map_or_else(String::new, |value| format!(" [default: {value}]"));
    let rest = if rest.is_empty() { String::new() } else { format!("\n\n{rest}") };
    let arg = Arg::new(flag.clone())
        .long(flag)
        .help(format!("{summary}{default}"))
        .long_help(format!("{summary}{rest}{default}\n[variable: {variable}]"))
        .value_name(value_name(&field.kind))
        .action(if leaf.repeats() { ArgAction::Append } else { ArgAction::Set });
    match &field.kind {
        Kind::Scalar(scalar) if scalar.is_boolean() => {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        Kind::Scalar(scalar) if scalar.is_choice() => {
            // The value's name shows them already.
            arg.value_parser(PossibleValuesParser::new(&scalar.choices)).hide_possible_values(true)
        }
        _ => arg.allow_hyphen_values(allows_negative(&field.kind)),
    }
}

fn allows_negative(kind: &Kind) -> bool {
    matches!(kind, Kind::Scalar(scalar) if (scalar.integer || scalar.number) && !scalar.text)
}

fn value_name(kind: &Kind) -> String {
    match kind {
        Kind::Scalar(scalar) => {
            let mut names: Vec<String> = scalar.choices.clone();
            let kinds = [
                (scalar.boolean, "true|false"),
                (scalar.integer || scalar.number, "NUMBER"),
                (scalar.text, "TEXT"),
            ];
            names.extend(kinds.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned()));
            names.join("|")
        }
        Kind::List(inner) if matches!(**inner, Kind::Scalar(_)) => {
            let name = value_name(inner);
            format!("{name}[,{name}…]")
        }
        Kind::Map(inner) if matches!(**inner, Kind::Scalar(_)) => {
            format!("KEY={}[,…]", value_name(inner))
        }
        _ => "JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Sample {
        /// Node URLs,
        /// tried in order.
        ///
        /// The first is preferred.
        nodes: Vec<String>,
        back_off: BackOff,
        loud: bool,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct BackOff {
        /// Longest pause.
        max: String,
    }

    impl Default for Sample {
        fn default() -> Sample {
            let back_off = BackOff { max: "1m".into() };
            Sample { nodes: vec!["http://a".into(), "http://b".into()], back_off, loud: false }
        }
    }

    fn command() -> Command {
        Command::new("run").args(arguments(&Known::of::<Sample>(), "transfer-watch"))
    }

    #[test]
    fn help_shows_the_comment_the_default_and_the_variable() {
        let short = command().render_help().to_string();
        assert!(short.contains("--nodes <TEXT[,TEXT…]>"), "{short}");
        let flat = short.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("Node URLs, tried in order. [default: http://a,http://b]"), "{short}");
        assert!(flat.contains("Longest pause. [default: 1m]"), "{short}");
        assert!(short.contains("--journal-sync") && short.contains(FRAMEWORK_HEADING), "{short}");
        let long = command().render_long_help().to_string();
        assert!(long.contains("The first is preferred."), "{long}");
        assert!(long.contains("PROCESSION_TRANSFER_WATCH__BACK_OFF__MAX"), "{long}");
        assert!(long.contains("PROCESSION_PROCESS__JOURNAL__SYNC"), "{long}");
    }

    #[test]
    fn clap_accepts_the_flags_that_are_made() {
        command().debug_assert();
        let line = ["run", "--loud", "--nodes", "a,b", "--nodes=c", "--back-off-max", "2s"];
        let matches = command().try_get_matches_from(line).unwrap();
        let nodes: Vec<&String> = matches.get_many("nodes").unwrap().collect();
        assert_eq!(nodes, ["a,b", "c"]);
        assert_eq!(matches.get_one::<String>("loud").unwrap(), "true");
        assert!(command().try_get_matches_from(["run", "--back-off-max=a", "--back-off-max=b"]).is_err());
        assert!(command().try_get_matches_from(["run", "--log-format", "xml"]).is_err());
    }
}
