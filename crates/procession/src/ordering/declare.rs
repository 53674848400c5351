//! What each model hears and says, written down for the others: so a circle of models is noticed before it turns.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::intake::Selection;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::MODEL;
use crate::small_file;

/// A model, as others need to know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Declaration {
    /// Its name.
    pub(super) model: String,
    /// Patterns of its inputs.
    pub(super) hears: Vec<String>,
    /// Topics of its outputs.
    pub(super) says: Vec<String>,
    /// Each of its outputs is later than the input that it follows from.
    pub(super) moves_time_forward: bool,
}

/// Writes this process's model down, and looks for circles that it is part of.
///
/// # Errors
/// [`Error::Subscription`] for a circle in which nobody moves event time forward; [`Error::Io`].
pub(super) fn declare(core: &Core, own: &Declaration) -> Result<()> {
    let folder = core.folders.instance(&core.instance);
    let failed = |source| Error::Io { action: "write", path: MODEL.path(&folder, &[]), source };
    let mut models = others(&core.folders.state, core.instance.as_str());
    models.push((core.instance.to_string(), own.clone()));
    if let Some(circle) = find_circle(&models) {
        let reason = format!(
            "{} hear each other in a circle, so that a correction might never end: break it, or declare one of them \
             with `.moves_time_forward()` if each of its outputs is later than the input",
            circle.join(", ")
        );
        return Err(Error::Subscription { name: own.model.clone(), reason });
    }
    let text = serde_json::to_vec_pretty(own).expect("texts can be encoded");
    small_file::write(&folder, &MODEL, &text).map_err(failed)
}

/// The models of all other instances, as far as they can be read.
fn others(state: &Path, own: &str) -> Vec<(String, Declaration)> {
    let mut found: Vec<(String, Declaration)> = fs::read_dir(state)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().into_string().ok()?, small_file::read(&entry.path(), &MODEL)?))
        })
        .filter(|(instance, _)| instance != own)
        .filter_map(|(instance, text)| Some((instance, serde_json::from_str(&text).ok()?)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// A circle through the last of these models in which none moves event time forward.
fn find_circle(models: &[(String, Declaration)]) -> Option<Vec<String>> {
    let last = models.len().checked_sub(1)?;
    if models[last].1.moves_time_forward {
        return None;
    }
    let hears = |who: usize, whom: usize| {
        let (speaker, says) = (&models[whom].0, &models[whom].1.says);
        Selection::new(models[who].1.hears.clone(), &models[who].0)
            .is_ok_and(|selection| says.iter().any(|topic| selection.takes(speaker, topic)))
    };
    let mut visited = BTreeSet::new();
    let mut paths = vec![vec![last]];
    while let Some(path) = paths.pop() {
        let who = path.last().copied()?;
        for whom in (0..models.len()).filter(|whom| hears(who, *whom)) {
            if whom == last {
                return Some(path.iter().map(|who| models[*who].0.clone()).collect());
            }
            if !models[whom].1.moves_time_forward && visited.insert(whom) {
                paths.push([&path[..], &[whom]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, hears: &[&str], says: &[&str]) -> (String, Declaration) {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (hears, says, model) = (own(hears), own(says), name.to_owned());
        (name.to_owned(), Declaration { model, hears, says, moves_time_forward: false })
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let mut models = vec![
            model("b", &["a/x"], &["y"]),
            model("c", &["b/y", "raw/z"], &["w"]),
            model("a", &["c/w", "raw/z"], &["x"]),
        ];
        assert_eq!(find_circle(&models), Some(vec!["a".to_owned(), "c".to_owned(), "b".to_owned()]));
        models[1].1.moves_time_forward = true;
        assert_eq!(find_circle(&models), None);
    }

    #[test]
    fn hearing_another_topic_of_the_same_process_is_no_circle() {
        let models = [model("b", &["a/x"], &["y"]), model("a", &["b/other"], &["x"])];
        assert_eq!(find_circle(&models), None);
        // Nor are two models that hear the same.
        let models = [model("b", &["raw/x"], &["y"]), model("a", &["raw/x", "b/y"], &["x"])];
        assert_eq!(find_circle(&models), None);
    }

    #[test]
    fn hearing_oneself_is_one() {
        let models = [model("a", &["a/x"], &["x"])];
        assert!(find_circle(&models).is_some());
    }
}
