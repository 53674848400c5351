//! The guide `docs/ordering.md` shows code that is there.

use std::fs;
use std::path::Path;

/// Blocks of code in a page: the file that the first line names, and the lines.
fn excerpts(page: &str) -> Vec<(String, Vec<String>)> {
    let mut excerpts = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "```rust") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (first, rest) = block.split_first().expect("a block has lines");
        let file = first.strip_prefix("// ").unwrap_or_else(|| panic!("{first:?} names no file"));
        excerpts.push((file.to_owned(), rest.iter().map(|line| (*line).to_owned()).collect()));
    }
    excerpts
}

/// Whether the lines stand in the text, one after the other.
fn contains(text: &str, lines: &[String]) -> bool {
    let text: Vec<&str> = text.lines().collect();
    !lines.is_empty()
        && text.windows(lines.len()).any(|window| window.iter().zip(lines).all(|(a, b)| *a == b))
}

#[test]
fn each_excerpt_in_the_guide_stands_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let excerpts = excerpts(&fs::read_to_string(root.join("docs/ordering.md")).unwrap());
    assert!(excerpts.len() >= 8, "only {} excerpts were found", excerpts.len());
    for (file, lines) in excerpts {
        let text = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(contains(&text, &lines), "{file} does not say:\n{}", lines.join("\n"));
    }
    assert!(!contains("a\nb\n", &["a".to_owned(), "c".to_owned()]), "the comparison is blind");
}
