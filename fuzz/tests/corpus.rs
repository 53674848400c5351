//! Every checked-in input, and every input that ever found something, through its target once.

use std::fs;
use std::path::Path;

use procession_fuzz::targets;

fn replay(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["corpus", "regressions"] {
        let Ok(inputs) = fs::read_dir(root.join(folder).join(target)) else { continue };
        for input in inputs {
            let path = input.expect("the folder is there").path();
            println!("{}", path.display());
            run(&fs::read(&path).expect("an input"));
            count += 1;
        }
    }
    assert!(count > 0, "no inputs for {target}");
}

// One test: the targets share a folder to work in.
#[test]
fn every_input_passes() {
    replay("recovery", targets::recovery);
    replay("reader", targets::reader);
    replay("cursors", targets::cursors);
    replay("varlink", targets::varlink);
    replay("settings", targets::settings);
    fs::remove_dir_all(procession_fuzz::home()).expect("nobody needs it any more");
}
