//! How a writer takes a journal over.

use std::path::Path;
use std::sync::Arc;

use super::{STATE_SHARE, Writer};
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
use crate::types::{Epoch, OFFSET_MAX, Time};

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
        disk::create_folders(&folder)?;
        takeover::refuse_network_file_system(&folder)?;
        let lock = Lock::take(instance, options.lock_patience)?;
        fault::point("takeover.locked");

        let (marks_writer, marks) = MarksWriter::open(&layout::marks_path(instance))?;
        let recovered = recovery::recover(&folder, marks.as_ref())?;
        let Recovered { journal, next, epoch, time, tail, state, torn, cut, damaged } = match recovered {
            Some(recovered) => recovered,
            None => takeover::brand_new(&folder)?,
        };
        takeover::report(&name, next, &torn, cut, &damaged);
        fault::point("takeover.recovered");
        takeover::remove(&torn, &folder)?;
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
        let state_folder = instance.parent().unwrap_or(Path::new("."));
        let epoch = epochs::newest(epoch, state_folder, &name);
        let epoch = epoch.0.checked_add(1).map(Epoch).ok_or_else(|| Error::Corrupt {
            path: folder.clone(),
            offset: next,
            reason: "it has come to the last possible epoch".to_owned(),
        })?;
        // Half of them are left for this epoch: more than can be said in its time.
        if next.0 > OFFSET_MAX / 2 {
            let reason =
                "a segment's name or a mark says that it has come near the last possible offset".to_owned();
            return Err(Error::Corrupt { path: folder, offset: next, reason });
        }
        let trimmed = segment::list(&folder)?.first().map_or(next, |first| first.base);
        let durable = marks.map_or(trimmed, |marks| marks.durable).min(next);
        let tail = tail.map(takeover::Cut::new).transpose()?;
        let pid = std::process::id();
        marks_writer.begin(&Marks {
            journal,
            epoch,
            pid,
            committed: next,
            durable,
            trimmed,
            same_boot: true,
        })?;
        if marks.is_none() {
            takeover::sync_folders(instance, &folder)?;
        }
        fault::point("takeover.marks");

        let shared = Arc::new(Shared::new(folder, lock, marks_writer, options.sync)?);
        let _ = shared.presence.set(Presence::of(instance)?);
        takeover::inherit_unsynced(&shared, durable, tail.as_ref().map(|cut| &cut.tail))?;
        let trimmer = Trimmer {
            shared: Arc::clone(&shared),
            readers: Readers::new(journal, name.clone(), instance, options.retention.lease),
            name: name.clone(),
            retention: options.retention.clone(),
        };
        let segment_bytes = usize::try_from(options.segment_bytes).unwrap_or(usize::MAX);
        let preparer = Preparer::start(trimmer, segment_bytes)?;
        let at = Takeover { shared: &shared, preparer: &preparer, journal, next, epoch };
        let Opened { map, place, declared, segment } = match tail {
            Some(tail) => at.go_on(tail)?,
            None => at.begin((STATE_SHARE * state.bytes()).min(batch_bytes_max))?,
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
        Ok(writer)
    }

    /// Says that an epoch begins, together with the state if the segment is new.
    fn begin_epoch(&mut self, mut segment: Named) -> Result<()> {
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
        segment.name()?;
        self.shared.begin_segment(segment.file);
        if !fresh && !fits {
            match self.roll(0) {
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
