//! What becomes of the source's files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Marks and segments by name.
pub(super) type Image = BTreeMap<OsString, Vec<u8>>;

const MARKS: &str = "marks";
/// Where the marks name the boot, and where what a listener keeps of its place does.
const BOOT: Range<usize> = 32..48;
const BOOT_OF_PLACES: u64 = 16;

/// The files of a journal as they are, perhaps while its owner writes: the marks first, so that what they say is durable is
/// there.
pub(super) fn capture(journal: &Path) -> io::Result<Image> {
    let mut image = Image::from([(MARKS.into(), fs::read(journal.join(MARKS))?)]);
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|kind| kind == "seg"))
        else {
            continue;
        };
        match fs::read(&path) {
            Ok(bytes) => drop(image.insert(name.to_owned(), bytes)),
            // It has got another name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(image)
}

/// What is on the disk after power loss: `early`, with some of the pages or sectors written until `late`, and the marks
/// of another boot.
pub(super) fn lose_power(early: &Image, late: &Image, random: &mut StdRng) -> Image {
    let unit = if random.random_bool(0.5) { 512 } else { 4096 };
    let written = [0.1, 0.5, 0.9][random.random_range(0..3)];
    let mut image = early.clone();
    for (name, new) in late.iter().filter(|(name, _)| *name != MARKS) {
        if !early.contains_key(name) && random.random_bool(0.5) {
            continue;
        }
        let old = image.entry(name.clone()).or_insert_with(|| vec![0; new.len()]);
        for (old, new) in old.chunks_mut(unit).zip(new.chunks(unit)) {
            if old.len() == new.len() && random.random_bool(written) {
                old.copy_from_slice(new);
            }
        }
    }
    if let Some(marks) = image.get_mut(&OsString::from(MARKS)) {
        random.fill(&mut marks[BOOT]);
    }
    image
}

/// Makes the journal's files those of the image: others of the same names, as after a restart of the machine.
pub(super) fn put(image: &Image, journal: &Path) -> io::Result<()> {
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "seg")
            && !image.contains_key(path.file_name().unwrap_or_default())
        {
            fs::remove_file(path)?;
        }
    }
    for (name, bytes) in image {
        let new = journal.join("put-back");
        fs::write(&new, bytes)?;
        fs::set_permissions(&new, fs::metadata(journal.join(MARKS))?.permissions())?;
        fs::rename(new, journal.join(name))?;
    }
    Ok(())
}

/// What a listener has kept is of another boot: everything of it had reached the disk.
pub(super) fn forget_boot(instance: &Path, random: &mut StdRng) -> io::Result<()> {
    let marks = instance.join("journal").join(MARKS);
    let mut places = vec![(marks, BOOT.start as u64), (instance.join("cursors"), BOOT_OF_PLACES)];
    if let Ok(finished) = fs::read_dir(instance.join("finished")) {
        for entry in finished {
            places.push((entry?.path(), BOOT_OF_PLACES));
        }
    }
    for (path, at) in places {
        let boot: [u8; 16] = random.random();
        match File::options().write(true).open(path) {
            Ok(file) => file.write_all_at(&boot, at)?,
            // It was killed before it came to that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copies a folder with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    // The marks before what they speak of.
    let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(|entry| entry.file_name() != MARKS);
    for entry in entries {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &to)?;
        } else if let Err(error) = fs::copy(&path, &to)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}
