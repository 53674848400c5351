//! As much of Varlink's interface language as is needed to compare a description with the functions.

/// The interface's name; empty if there is none.
pub(super) fn name(description: &str) -> &str {
    description.lines().find_map(|line| line.strip_prefix("interface ")).map_or("", str::trim)
}

/// The names of its methods.
pub(super) fn methods(description: &str) -> impl Iterator<Item = &str> {
    let declared = description.lines().filter_map(|line| line.strip_prefix("method "));
    declared.filter_map(|method| method.split(['(', ' ']).next())
}
