//! A model of a disk that loses its power, after ALICE (Pillai et al., OSDI 2014).
//!
//! It looks on while a journal works on real files, and knows what of them is durable: the bytes of a file as of its
//! last sync, the names in a folder as of the folder's. Of all else any part may have reached the disk: of each page
//! (or sector: a page may be torn) any of the versions since, and each creation, rename and removal, or not.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use journal::fault::{Event, Observation, Operation, observe};
use journal::{Offset, journal_folder, marks_path};

use crate::support::Random;

/// Contents of files by name.
pub(super) type Image = BTreeMap<PathBuf, Vec<u8>>;

/// Versions of a file between two syncs that are remembered.
const VERSIONS_MAX: usize = 4;

/// An instance's folder, under observation.
pub(super) struct Disk {
    inner: Arc<Mutex<Inner>>,
    _observation: Observation,
}

struct Inner {
    instance: PathBuf,
    files: Vec<Known>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable, oldest first.
    pending: Vec<Change>,
    syncing_folders: HashMap<PathBuf, usize>,
    /// How far the cursor that only the table knows was stored when a sync last began that is done.
    acknowledged: u64,
    crashes: Vec<Crash>,
    crashes_max: usize,
    moments: usize,
    random: Random,
}

/// A file, whatever its name is.
struct Known {
    file: File,
    durable: Vec<u8>,
    /// What it has been since.
    versions: Vec<Vec<u8>>,
    /// What it was when the sync began that is under way.
    syncing: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf, usize),
}

impl Change {
    fn folder(&self) -> &Path {
        let (Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path, _)) = self;
        path.parent().expect("a file lies in a folder")
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        let forget = |names: &mut BTreeMap<PathBuf, usize>, path: &PathBuf, file: &usize| {
            if names.get(path) == Some(file) {
                names.remove(path);
            }
        };
        match self {
            Self::Create(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(path, to, file) => {
                forget(names, path, file);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path, file) => forget(names, path, file),
        }
    }
}

/// A moment at which the power may go.
#[derive(Clone)]
pub(super) struct Crash {
    /// What was just being done.
    pub(super) moment: String,
    instance: PathBuf,
    /// Of each file its durable bytes, and what it has been since.
    files: Vec<Vec<Vec<u8>>>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending: Vec<Change>,
    /// The marks that everybody could see.
    pub(super) committed: Offset,
    pub(super) durable: Offset,
    pub(super) trimmed: Offset,
    pub(super) epoch: u64,
    pub(super) acknowledged: u64,
}

impl Disk {
    /// Looks on at an instance whose files are all durable now. Remembers so many moments of chance.
    pub(super) fn watch(instance: &Path, crashes_max: usize, random: &mut Random) -> Self {
        let mut inner = Inner {
            instance: instance.to_owned(),
            files: Vec::new(),
            by_inode: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            syncing_folders: HashMap::new(),
            acknowledged: 0,
            crashes: Vec::new(),
            crashes_max,
            moments: 0,
            random: Random(random.next()),
        };
        for path in files_of(instance) {
            let file = inner.know(&path);
            inner.files[file].durable = read(&inner.files[file].file);
            inner.names.insert(path, file);
        }
        inner.durable_names = inner.names.clone();
        Self::observe(inner)
    }

    fn observe(inner: Inner) -> Self {
        let instance = inner.instance.clone();
        let inner = Arc::new(Mutex::new(inner));
        let told = Arc::clone(&inner);
        let observation = observe(&instance, move |event| {
            told.lock().unwrap_or_else(PoisonError::into_inner).tell(event);
        });
        Self { inner, _observation: observation }
    }

    /// As if the process had been killed just now: what it has left is in another folder, to be gone on with, and
    /// not a byte more of it is durable.
    pub(super) fn killed(&self, to: &Path) -> Self {
        let mut inner = self.inner.lock().unwrap();
        inner.look();
        fs::create_dir_all(journal_folder(to)).unwrap();
        let moved = |path: &Path| to.join(path.strip_prefix(&inner.instance).unwrap());
        let moved_names = |names: &BTreeMap<PathBuf, usize>| {
            names.iter().map(|(path, file)| (moved(path), *file)).collect::<BTreeMap<_, _>>()
        };
        let names = moved_names(&inner.names);
        let (mut files, mut by_inode) = (Vec::new(), HashMap::new());
        for (index, known) in inner.files.iter().enumerate() {
            let name = names.iter().find(|(_, file)| **file == index).map(|(path, _)| path);
            let path = name.cloned().unwrap_or_else(|| to.join("removed"));
            fs::write(&path, read(&known.file)).unwrap();
            let file = File::open(&path).unwrap();
            if name.is_none() {
                fs::remove_file(&path).unwrap();
            }
            by_inode.insert(inode(&file), index);
            let (durable, versions) = (known.durable.clone(), known.versions.clone());
            files.push(Known { file, durable, versions, syncing: None });
        }
        let pending = inner.pending.iter().map(|change| match change {
            Change::Create(path, file) => Change::Create(moved(path), *file),
            Change::Rename(path, to, file) => Change::Rename(moved(path), moved(to), *file),
            Change::Remove(path, file) => Change::Remove(moved(path), *file),
        });
        Self::observe(Inner {
            instance: to.to_owned(),
            files,
            by_inode,
            durable_names: moved_names(&inner.durable_names),
            pending: pending.collect(),
            names,
            syncing_folders: HashMap::new(),
            acknowledged: inner.acknowledged,
            crashes: Vec::new(),
            crashes_max: inner.crashes_max,
            moments: 0,
            random: inner.random.clone(),
        })
    }

    /// The cursor that is not in the journal was stored there when a sync began that is done.
    pub(super) fn acknowledged(&self, position: u64) {
        self.inner.lock().unwrap().acknowledged = position;
    }

    /// The moments that were chosen, and how many there were.
    pub(super) fn crashes(self) -> (Vec<Crash>, usize) {
        let mut inner = self.inner.lock().unwrap();
        (std::mem::take(&mut inner.crashes), inner.moments)
    }
}

impl Inner {
    fn tell(&mut self, event: &Event<'_>) {
        self.look();
        match event {
            Event::Point(name) => self.moment(|| (*name).to_owned()),
            Event::Before(operation) => {
                self.moment(|| format!("before {operation:?}"));
                self.begins(operation);
            }
            Event::After(operation) => {
                self.is_done(operation);
                self.moment(|| format!("after {operation:?}"));
            }
        }
    }

    /// Takes note of what files have become.
    fn look(&mut self) {
        for known in &mut self.files {
            let now = read(&known.file);
            if known.versions.last().unwrap_or(&known.durable) != &now {
                if known.versions.len() == VERSIONS_MAX {
                    known.versions.remove(self.random.below(VERSIONS_MAX - 1));
                }
                known.versions.push(now);
            }
        }
    }

    fn begins(&mut self, operation: &Operation<'_>) {
        match operation {
            Operation::Sync { file, .. } => {
                if let Some(known) = self.by_inode.get(&inode(file)) {
                    let known = &mut self.files[*known];
                    known.syncing = Some(read(&known.file));
                }
            }
            Operation::SyncFolder { path } => {
                self.syncing_folders.insert((*path).to_owned(), self.pending.len());
            }
            _ => {}
        }
    }

    fn is_done(&mut self, operation: &Operation<'_>) {
        match operation {
            Operation::Create { path, file } => {
                if self.by_inode.contains_key(&inode(file)) {
                    return;
                }
                let file = self.know(path);
                self.change(Change::Create((*path).to_owned(), file));
            }
            Operation::Sync { file, .. } => {
                let Some(known) = self.by_inode.get(&inode(file)) else { return };
                let known = &mut self.files[*known];
                if let Some(durable) = known.syncing.take() {
                    known.durable = durable;
                    known.versions.clear();
                }
                self.look();
            }
            Operation::SyncFolder { path } => {
                let begun = self.syncing_folders.remove(*path).unwrap_or(0);
                let (mut index, durable) = (0, &mut self.durable_names);
                self.pending.retain(|change| {
                    index += 1;
                    let done = index <= begun && change.folder() == *path;
                    if done {
                        change.apply(durable);
                    }
                    !done
                });
            }
            Operation::Rename { path, to } => {
                if let Some(file) = self.names.get(*path) {
                    self.change(Change::Rename((*path).to_owned(), (*to).to_owned(), *file));
                }
            }
            Operation::Remove { path } => {
                if let Some(file) = self.names.get(*path) {
                    self.change(Change::Remove((*path).to_owned(), *file));
                }
            }
        }
    }

    fn know(&mut self, path: &Path) -> usize {
        let file = File::open(path).unwrap();
        self.by_inode.insert(inode(&file), self.files.len());
        self.files.push(Known { file, durable: Vec::new(), versions: Vec::new(), syncing: None });
        self.files.len() - 1
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// The power may go now: each moment is chosen with the same chance.
    fn moment(&mut self, what: impl FnOnce() -> String) {
        self.moments += 1;
        let place = if self.crashes.len() < self.crashes_max {
            self.crashes.len()
        } else {
            self.random.below(self.moments)
        };
        if place >= self.crashes_max {
            return;
        }
        let mark = |at: usize| {
            let file = self.names.get(&marks_path(&self.instance))?;
            let bytes = read(&self.files[*file].file);
            Some(Offset(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().unwrap()) >> 8))
        };
        let crash = Crash {
            moment: what(),
            instance: self.instance.clone(),
            files: self
                .files
                .iter()
                .map(|known| [std::slice::from_ref(&known.durable), &known.versions].concat())
                .collect(),
            durable_names: self.durable_names.clone(),
            pending: self.pending.clone(),
            committed: mark(1024).unwrap_or_default(),
            durable: mark(2048).unwrap_or_default(),
            trimmed: mark(3072).unwrap_or_default(),
            epoch: mark(64).unwrap_or_default().0,
            acknowledged: self.acknowledged,
        };
        if place < self.crashes.len() {
            self.crashes[place] = crash;
        } else {
            self.crashes.push(crash);
        }
    }
}

impl Crash {
    /// A disk that may be found after the power has gone. `choose` is asked for numbers below a number.
    pub(super) fn image(&self, unit: usize, choose: &mut impl FnMut(usize) -> usize) -> Image {
        let mut names = self.durable_names.clone();
        for change in &self.pending {
            if choose(2) == 1 {
                change.apply(&mut names);
            }
        }
        let mut image = Image::new();
        for (path, file) in names {
            let mut bytes = one_of(&self.files[file], unit, choose);
            // Another boot.
            let boot = if path == marks_path(&self.instance) { 32..48 } else { 16..32 };
            if path.extension().is_none() && bytes.get(boot.clone()).is_some_and(|boot| boot != [0; 16]) {
                bytes[boot].fill(0xb0);
            }
            image.insert(path.strip_prefix(&self.instance).unwrap().to_owned(), bytes);
        }
        image
    }
}

fn one_of(versions: &[Vec<u8>], unit: usize, choose: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut lengths: Vec<usize> = versions.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let length = if lengths.len() > 1 { lengths[choose(lengths.len())] } else { lengths[0] };
    let mut bytes = Vec::with_capacity(length);
    for at in (0..length).step_by(unit) {
        let end = length.min(at + unit);
        let mut kinds: Vec<Vec<u8>> = Vec::new();
        for version in versions {
            let mut kind = version.get(at..end.min(version.len())).unwrap_or_default().to_vec();
            kind.resize(end - at, 0);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        bytes.extend(&kinds[if kinds.len() > 1 { choose(kinds.len()) } else { 0 }]);
    }
    bytes
}

/// Writes an image to a folder of its own.
pub(super) fn write(image: &Image, instance: &Path) {
    let _ = fs::remove_dir_all(instance);
    fs::create_dir_all(journal_folder(instance)).unwrap();
    for (name, bytes) in image {
        fs::write(instance.join(name), bytes).unwrap();
    }
}

fn files_of(instance: &Path) -> Vec<PathBuf> {
    let list =
        |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    list(instance.to_owned())
        .chain(list(journal_folder(instance)))
        .filter(|path| {
            path.is_file() && path.file_name().is_some_and(|name| name != "lock" && name != "alive")
        })
        .collect()
}

fn inode(file: &File) -> u64 {
    file.metadata().unwrap().ino()
}

fn read(file: &File) -> Vec<u8> {
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => bytes,
        // It is being made.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Asks for every sequence of choices, one after the other.
#[derive(Debug, Default)]
pub(super) struct Every {
    /// What was chosen, of how many.
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Every {
    pub(super) fn choose(&mut self, end: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, end));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }

    /// Goes to the next sequence; `false` after the last.
    pub(super) fn next(&mut self) -> bool {
        self.path.truncate(self.at);
        self.at = 0;
        while let Some((chosen, end)) = self.path.pop() {
            if chosen + 1 < end {
                self.path.push((chosen + 1, end));
                return true;
            }
        }
        false
    }
}
