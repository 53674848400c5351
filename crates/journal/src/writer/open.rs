//! How a writer takes a journal over.

use std::path::Path;
use std::sync::Arc;

use super::{STATE_SHARE, Writer};
use crate::ages::Ages;
use crate::bus;
use crate::commit::Commit;
use crate::disk;
use crate::epochs;
use crate::error::{Error, Result};
use crate::fault;
use crate::layout;
use crate::lock::Lock;
use crate::marks::{Marks, MarksWriter};
use crate::names::check_name;
use crate::options::Options;
use crate::prepare::{Preparer, tell_after};
use crate::presence::Presence;
use crate::readers::Readers;
use crate::record::{self, Kind};
use crate::recovery::{self, Recovered};
use crate::retention::Trimmer;
use crate::segment;
use crate::shared::{Shared, SyncThread};
use crate::signal;
use crate::takeover::{self, Named, Opened, Takeover};
use crate::types::{Epoch, OFFSET_MAX, Offset, Time};

/// What only one process has.
struct Held {
    lock: Lock,
    /// The journal's folder.
    names: disk::Folder,
    marks_writer: MarksWriter,
    presence: Presence,
}

impl Held {
    /// Locks an instance, creating it if need be, and opens what is there. Also returns the marks that an earlier writer left.
    fn take(instance: &Path, options: &Options) -> Result<(Self, Option<Marks>)> {
        let folder = layout::journal_folder(instance);
        disk::create_folders(&folder)?;
        takeover::refuse_network_file_system(&folder)?;
        let lock = Lock::take(instance, options.lock_patience)?;
        fault::point("takeover.locked");
        let names = disk::Folder::open(&folder)?;
        let marks_path = layout::marks_path(instance);
        let (marks_writer, marks) = MarksWriter::open(&marks_path)?;
        let [locked, alive] = lock.held(instance);
        let presence =
            Presence::of([locked, alive, (marks_path, marks_writer.file()), (folder, names.handle())])?;
        Ok((Self { lock, names, marks_writer, presence }, marks))
    }
}

/// The epoch after `newest` and all that readers know, for a journal that goes on at `next`.
fn next_epoch(newest: Epoch, instance: &Path, name: &str, next: Offset) -> Result<Epoch> {
    let corrupt = |reason: &str| Error::Corrupt {
        path: layout::journal_folder(instance),
        offset: next,
        reason: reason.to_owned(),
    };
    let newest = epochs::newest(newest, layout::state_folder(instance), name);
    let epoch = newest.0.checked_add(1).ok_or_else(|| corrupt("it has come to the last possible epoch"))?;
    // Half of them are left for this epoch: more than can be said in its time.
    if next.0 > OFFSET_MAX / 2 {
        return Err(corrupt(
            "a segment's name or a mark says that it has come near the last possible offset",
        ));
    }
    Ok(Epoch(epoch))
}

impl Writer {
    /// Takes over the journal in the folder `instance`, whose name is the journal's, creating it if need be.
    ///
    /// Recovers what an earlier writer left, begins an epoch, and starts two helper threads.
    ///
    /// # Errors
    /// [`Error::Locked`] while another writer lives; [`Error::Corrupt`] and [`Error::ForeignVersion`] for
    /// files that no writer of this format made (damaged records are no error: they become gaps);
    /// [`Error::Full`]; [`Error::Options`]; I/O errors.
    pub fn open(instance: &Path, options: &Options) -> Result<Self> {
        options.check()?;
        signal::survive_file_size_limit();
        bus::name_file();
        let name = instance.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        check_name("journal name", &name)?;
        let folder = layout::journal_folder(instance);
        let (Held { lock, names, marks_writer, presence }, marks) = Held::take(instance, options)?;
        let recovered = recovery::recover(&folder, marks.as_ref())?;
        let Recovered { journal, next, epoch, time, tail, state, torn, cut, damaged } = match recovered {
            Some(recovered) => recovered,
            None => takeover::brand_new(&folder)?,
        };
        takeover::report(&name, next, &torn, cut, &damaged);
        fault::point("takeover.recovered");
        presence.check()?;
        takeover::remove(&torn, &names, &presence)?;
        fault::point("takeover.torn-removed");
        let fitting = options.with_room_for(state.bytes());
        if fitting != *options {
            let (asked, bytes, found) = (options.segment_bytes, fitting.segment_bytes, state.bytes());
            tracing::warn!(
                journal = name,
                "segments of {asked} bytes are too small for {found} bytes of checkpoints: they have {bytes} bytes; raise the segment size"
            );
        }
        let (options, batch_bytes_max) = (&fitting, fitting.batch_bytes_max());
        let epoch = next_epoch(epoch, instance, &name, next)?;
        let trimmed = segment::list(&folder)?.first().map_or(next, |first| first.base);
        let durable = marks.map_or(trimmed, |marks| marks.durable).min(next);
        let tail = tail.map(|tail| takeover::Cut::new(tail, &presence)).transpose()?.flatten();
        let pid = std::process::id();
        marks_writer.begin(&Marks {
            journal,
            epoch,
            pid,
            committed: next,
            durable,
            trimmed,
            same_boot: marks.is_some_and(|marks| marks.same_boot),
        })?;
        if marks.is_none() {
            takeover::sync_folders(instance, &folder)?;
        }
        fault::point("takeover.marks");
        // From here on the writer's threads look as well.
        presence.check()?;

        let shared = Arc::new(Shared::new(lock, names, marks_writer, presence, options.sync));
        takeover::inherit_unsynced(&shared, durable)?;
        let trimmer = Trimmer {
            shared: Arc::clone(&shared),
            readers: Readers::new(journal, name.clone(), instance, options.retention.lease),
            name: name.clone(),
            ages: options.retention.age_kept.map(|most| Ages::load(instance, most)),
            retention: options.retention.clone(),
        };
        let segment_bytes = usize::try_from(options.segment_bytes).unwrap_or(usize::MAX);
        let preparer = Preparer::start(trimmer, segment_bytes)?;
        let at = Takeover { shared: &shared, preparer: &preparer, journal, next, epoch };
        let (Opened { map, place, declared }, segment) = match tail {
            Some(tail) => at.go_on(tail).map(|(opened, segment)| (opened, Some(segment)))?,
            None => at.begin_if_there_is_room((STATE_SHARE * state.bytes()).min(batch_bytes_max))?,
        };
        fault::point("takeover.opened");
        preparer.begin(&map, place.at);
        let mut writer = Self {
            tell_at: tell_after(place.at, map.len()),
            map,
            place,
            next,
            epoch,
            time,
            heard: Time(0),
            heard_nonsense: false,
            declared,
            journal,
            name,
            state,
            batch_bytes_max,
            lease: options.retention.lease,
            _sync_thread: SyncThread::start(&shared)?,
            shared,
            preparer,
        };
        writer.begin_epoch(segment)?;
        fault::point("takeover.begun");
        writer.shared.check_presence()?;
        // Last: who sees it finds the segment in which the journal goes on, and takes nothing for it that a damaged one has
        // behind the place where it was torn.
        if !writer.is_nowhere() {
            writer.shared.marks.show();
        }
        Ok(writer)
    }

    /// Says that an epoch begins, together with the state if the segment is new. Where there is none, the first one says so.
    fn begin_epoch(&mut self, segment: Option<Named>) -> Result<()> {
        let Some(mut segment) = segment else {
            self.shared.mark_dirty();
            return Ok(());
        };
        let fresh = self.place.at == segment::HEADER_BYTES;
        let fits = self.fits(record::stride(0, 0));
        if fresh {
            self.write_state();
        } else if fits {
            let mut commit = Commit::default();
            self.write_control(&mut commit, Kind::EpochBegun, &[], false);
            commit.publish(&self.map);
        }
        fault::point("takeover.epoch-written");
        if !segment.is_named() {
            segment.name()?;
            self.shared.begin_segment(segment.file);
        }
        if !fresh && !fits {
            // The process has not yet said what it needs.
            self.shared.keep_from(Some(Offset::ZERO));
            let rolled = self.roll(0);
            self.shared.keep_from(None);
            match rolled {
                // Nothing fits into this segment, so the next append tries again, and says why if it is in vain. The
                // process must be able to start all the same.
                Ok(()) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.shared.mark_dirty();
        Ok(())
    }
}
