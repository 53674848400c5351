//! A running process, as its application sees it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use journal::{Cursors, Level, Offset, Reader, Retention, Start, Writer};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::beyond::Reach;
use crate::calls::{Caller, Interface, OfferError, Serving};
use crate::codec;
use crate::core::{Core, Hearing, Retries};
use crate::death;
use crate::error::{Error, Result};
use crate::event::{Any, Event, Message, Payload};
use crate::folders::Folders;
use crate::letters;
use crate::names::Instance;
use crate::notify;
use crate::ordering::{EventTime, Heartbeat, Input, Model, RunModel};
use crate::outlet::{Batch, Outlet};
use crate::services::{self, Pulse};
use crate::settings::{self, CallSettings, ProcessSettings, Settings};
use crate::signals::Signals;
use crate::starts;
use crate::subscribe::{Delivery, Sources, Subscribe};
use crate::varlink::{self, Server, Service};
use crate::waiting::{Waiting, Waits};

/// Everything that is known before the process touches its state.
#[derive(Debug)]
pub(crate) struct Setup<S> {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) instance: Instance,
    pub(crate) folders: Folders,
    pub(crate) settings: S,
    pub(crate) framework: ProcessSettings,
    /// Cancelled when the process is to stop.
    pub(crate) shutdown: CancellationToken,
    /// When the program began.
    pub(crate) began: Instant,
}

/// A running process: says things in its own journal, hears other processes, serves its socket.
///
/// Cheap to clone, and to be used from any task or thread.
pub struct Process<S> {
    core: Arc<Core>,
    settings: Arc<S>,
    server: Arc<Server>,
    calls: Arc<CallSettings>,
}

impl<S> Clone for Process<S> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            settings: Arc::clone(&self.settings),
            server: Arc::clone(&self.server),
            calls: Arc::clone(&self.calls),
        }
    }
}

impl<S> fmt::Debug for Process<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("instance", &self.core.instance).finish_non_exhaustive()
    }
}

impl<S: Settings> Process<S> {
    /// Takes the instance over: lock and journal, then the socket. Not ready yet.
    pub(crate) fn start(setup: Setup<S>) -> Result<Self> {
        let Setup { name, version, instance, folders, settings, framework, shutdown, began } = setup;
        let socket = folders.socket(&instance)?;
        folders.create(&instance)?;
        let folder = folders.instance(&instance);
        let options = journal_options(&framework);
        let writer = Writer::open(&folder, &options)?;
        let cursors = Cursors::open(&folder, &writer)?;
        let waits = Waits::until(shutdown.clone());
        let outlet = Outlet::new(writer, options.sync, &waits);
        death::will_be_noted(&folder, outlet.watch.marks().epoch.0);
        starts::note(&folder, SystemTime::now());
        let hearing = Hearing {
            retries: Retries::new(&framework.subscription),
            faults: framework.subscription.faults.clone(),
            reach: Reach::new(options.segment_bytes),
            segment_bytes: options.segment_bytes,
            segments_max: options.retention.bytes_max.map(|bytes| bytes / options.segment_bytes),
        };
        let (pulse, beat) = Pulse::new();
        tokio::spawn(beat);
        let shutting_down = shutdown.clone();
        let core = Arc::new(Core::new(
            name,
            version,
            instance,
            folders,
            outlet,
            cursors,
            hearing,
            shutting_down,
            pulse,
            waits,
            began,
        ));
        if let Err(error) = core.forget_leftovers() {
            tracing::warn!(%error, "what is kept of subscriptions that are no more stays for now");
        }
        for (key, grantee) in framework.socket.unknown() {
            tracing::warn!(
                "`process.socket.{key}` names {grantee}, whom this machine doesn't have: nobody, for now"
            );
        }
        let options_of_socket = socket_options(&framework, name, version);
        // Before anybody can see that it is there: who is told to stop then ends as ever. Not before recovery, which a
        // signal may cut short.
        let signals = Signals::catch().map_err(|source| Error::Io {
            action: "catch signals for",
            path: core.folders.instance(&core.instance),
            source,
        })?;
        let server = Server::start_own(socket, services::all(&core), options_of_socket, core.waits.clone())?;
        let stopping = Arc::clone(&core);
        let note = move || stopping.stop_deliveries();
        server.runtime().spawn(signals.watch(shutdown, framework.shutdown_timeout, note));
        server.runtime().spawn(core.waits.announce(Arc::downgrade(&core)));
        letters::count_earlier(&core, server.runtime());
        server.runtime().spawn(letters::settle_owed(Arc::downgrade(&core), Arc::clone(&core.outlet.letters)));
        server.runtime().spawn(services::keep_leases(Arc::downgrade(&core), options.retention.lease));
        let calls = Arc::new(framework.calls);
        Ok(Self { core, settings: Arc::new(settings), server: Arc::new(server), calls })
    }

    /// Says that the process does its work now: when its application waits for the first time.
    pub(crate) fn set_ready(&self) {
        self.core.set_ready();
        self.server.set_complete();
        notify::ready(&self.core.waits.status_line());
        let epoch = self.core.outlet.watch.marks().epoch.0;
        tracing::info!(epoch, next = self.core.outlet.watch.marks().committed.0, after = ?self.core.began.elapsed(), "ready");
    }

    /// The application has ended: what was said becomes durable, and the socket goes.
    pub(crate) fn stop(self, has_failed: bool) -> Result<()> {
        self.core.end(has_failed);
        self.core.shutdown.cancel();
        self.core.outlet.settle_all_owed();
        let synced = self.core.outlet.watch.sync();
        // Also where a task that was left behind holds a handle.
        self.server.stop();
        synced.map(drop).map_err(Error::from)
    }

    /// Why nothing can be said any more, once that is so: only a new process mends it.
    pub(crate) fn poisoned(&self) -> impl Future<Output = Error> + use<S> {
        let core = Arc::clone(&self.core);
        async move { core.outlet.poisoned().await }
    }

    /// The application's settings.
    #[must_use]
    pub fn settings(&self) -> &S {
        &self.settings
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.name
    }

    /// The name of this running copy, which is also its journal's.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.core.instance.as_str()
    }

    /// The folders of the application.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.core.folders
    }

    /// Cancelled when the process is to stop.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.core.shutdown.clone()
    }

    /// Says that the process runs, but can't do its work, and why: until what this returns is dropped. Several places
    /// may say so at once, each for itself.
    ///
    /// It is shown by `procession ps`, `health` (exit code 75) and `doctor`, in `io.procession.Process` and in the
    /// service manager's status. Nothing restarts a process for it: a restart would not help.
    pub fn waiting(&self, reason: impl Into<String>) -> Waiting {
        self.core.waits.begin(reason)
    }

    /// Says an event. When it returns, every reader can read it, and it survives the death of any process; with
    /// `sync = "always"` also power loss.
    ///
    /// It never waits for room: where the disk is full, or the journal is at its limit of bytes and `when_full = "wait"`, it
    /// says nothing and returns [`journal::Error::Full`]. [`Self::publish_when_there_is_room`] waits.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Name`] for a topic that is none, [`Error::Journal`]: no room, mostly.
    #[inline]
    pub fn publish<E: Event>(&self, event: &E) -> Result<Offset> {
        self.core.outlet.publish(event)
    }

    /// Says what came of a delivery, and acknowledges it: both or neither, whenever the process is killed. The
    /// delivery is the event's cause.
    ///
    /// # Errors
    /// Those of [`Self::publish`]; [`Error::OutOfOrder`] while an earlier delivery is open.
    pub fn publish_acking<E: Event, P>(&self, event: &E, delivery: &Delivery<P>) -> Result<Offset> {
        let offsets = [delivery.offset];
        let due = delivery.acks().due(&offsets[..])?;
        self.core.outlet.publish_acking(event, &due, delivery.as_cause())
    }

    /// Says an event as soon as there is room for it: with `when_full = "wait"` once the readers have passed the oldest
    /// segment, on a full disk once there is some. Otherwise as [`Self::publish`].
    ///
    /// While it waits, `procession ps` and `health` show why. If it is dropped then, nothing is said. (With
    /// `sync = "always"` it also waits for the disk: what it waits for then is said already.)
    ///
    /// # Errors
    /// Those of [`Self::publish`]; [`journal::Error::Full`] only if there is no room and the process is to stop.
    pub async fn publish_when_there_is_room<E: Event>(&self, event: &E) -> Result<Offset> {
        let outlet = &self.core.outlet;
        let offset = self.core.when_there_is_room(|| outlet.publish_only(event)).await?;
        outlet.settled(offset.plus(1)).await?;
        Ok(offset)
    }

    /// Says what came of a delivery, and acknowledges it, as [`Self::publish_acking`] does, as soon as there is room for it,
    /// as [`Self::publish_when_there_is_room`] does.
    ///
    /// # Errors
    /// Those of both.
    pub async fn publish_acking_when_there_is_room<E: Event, P>(
        &self,
        event: &E,
        delivery: &Delivery<P>,
    ) -> Result<Offset> {
        let outlet = &self.core.outlet;
        let say = || {
            let offsets = [delivery.offset];
            let due = delivery.acks().due(&offsets[..])?;
            outlet.say_acking(event, &due, delivery.as_cause())
        };
        let offset = self.core.when_there_is_room(say).await?;
        outlet.settled(offset.plus(1)).await?;
        Ok(offset)
    }

    /// Says an event, and waits until it is safe from power loss. One sync serves everybody who waits.
    ///
    /// # Errors
    /// Those of [`Self::publish`]; [`journal::Error::Poisoned`] if the disk refuses.
    pub async fn publish_durable<E: Event>(&self, event: &E) -> Result<Offset> {
        let offset = self.core.outlet.publish_only(event)?;
        self.core.outlet.durable(offset.plus(1)).await?;
        Ok(offset)
    }

    /// Says something under a topic that is known only at run time.
    ///
    /// # Errors
    /// Those of [`Self::publish`].
    pub fn publish_message(&self, message: &Message<'_>) -> Result<Offset> {
        self.core.outlet.message(message)
    }

    /// Several things at once, with acknowledgements and checkpoints: all or nothing.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.core.outlet)
    }

    /// The newest value of a checkpoint that a [`Batch`] has stored.
    ///
    /// # Errors
    /// [`Error::Decode`] if it is not a `T`.
    pub fn checkpoint<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.core.outlet.checkpoint(name) else { return Ok(None) };
        codec::decode(journal::Codec::Json, &value)
            .map(Some)
            .map_err(|reason| Error::Decode { what: format!("checkpoint {name}"), reason })
    }

    /// Hears events of a type: `"broadcaster"` for one process and all of its instances, `"*"` for every
    /// process, `["a", "b"]` for several.
    pub fn subscribe<E: Event>(&self, sources: impl Sources) -> Subscribe<E> {
        Subscribe::new(Arc::clone(&self.core), sources)
    }

    /// Hears events of any type: `"broadcaster/*"`, `"*/item-added"`, or several such patterns.
    pub fn subscribe_any(&self, sources: impl Sources) -> Subscribe<Any> {
        Subscribe::new(Arc::clone(&self.core), sources)
    }

    /// Hears payloads of a type that decodes itself: see [`Payload`].
    pub fn subscribe_to<P: Payload>(&self, sources: impl Sources) -> Subscribe<P> {
        Subscribe::new(Arc::clone(&self.core), sources)
    }

    /// Describes a model: what it hears, and how long it waits. Its name goes into the ids of all that it says.
    pub fn model<M: Model>(&self, name: &str) -> RunModel<M>
    where
        M::Input: Input,
    {
        RunModel::new(Arc::clone(&self.core), name)
    }

    /// Promises that this process will not say anything that happened before `at`, so that models which hear it need
    /// not wait. To be called regularly while there is nothing to say.
    ///
    /// # Errors
    /// Those of [`Self::publish`].
    pub fn heartbeat(&self, at: EventTime) -> Result<Offset> {
        self.publish(&Heartbeat { at })
    }

    /// Reads what this process has said itself.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn read_own(&self, start: Start) -> Result<Reader> {
        let folder = self.core.folders.instance(&self.core.instance);
        let reader = Reader::open(&folder, start, Level::Committed)?;
        Ok(reader.expect("the journal is there: this process has opened it"))
    }

    /// Calls another process: an instance's name, `"basket"` or `"worker@2"`. It needs not run yet.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Folder`] if the path of its socket would be too long.
    pub fn caller(&self, instance: &str) -> Result<Caller> {
        let instance = Instance::new(instance)?;
        self.core.folders.socket(&instance)?;
        Ok(Caller::new(instance.as_str(), self.core.folders.endpoint(&instance), &self.calls))
    }

    /// Answers the calls of an interface from now on, on this runtime.
    ///
    /// # Errors
    /// Its functions are not those of its description, or it is served already.
    ///
    /// # Panics
    /// Outside of the application's runtime.
    pub fn offer<T: Send + Sync + 'static>(&self, interface: Interface<T>) -> Result<Serving, OfferError> {
        let runtime = tokio::runtime::Handle::current();
        let (service, serving) = interface.into_service(&self.calls, runtime, self.core.shutdown.clone())?;
        self.server.add(service)?;
        Ok(serving)
    }

    /// Serves an interface of the application's own on the process's socket.
    ///
    /// # Errors
    /// It is served already.
    pub fn serve(&self, service: Arc<dyn Service>) -> Result<(), varlink::DuplicateInterface> {
        self.server.add(service)
    }
}

fn journal_options(settings: &ProcessSettings) -> journal::Options {
    let journal = &settings.journal;
    journal::Options {
        segment_bytes: journal.segment_bytes.0,
        sync: match journal.sync {
            settings::Sync::Never => journal::SyncPolicy::Never,
            settings::Sync::Every(period) => journal::SyncPolicy::Every(period),
            settings::Sync::Always => journal::SyncPolicy::Always,
        },
        retention: Retention {
            bytes_kept: journal.keep_bytes.0,
            age_kept: journal.max_age,
            bytes_max: journal.max_bytes.map(|bytes| bytes.0),
            when_full: match journal.when_full {
                settings::WhenFull::DropOldest => journal::WhenFull::DropOldest,
                settings::WhenFull::Wait => journal::WhenFull::Wait,
            },
            lease: journal.lease,
        },
        lock_patience: std::time::Duration::ZERO,
    }
}

fn socket_options(settings: &ProcessSettings, name: &str, version: &str) -> varlink::Options {
    let socket = &settings.socket;
    let count = |count: NonZeroU32| usize::try_from(count.get()).unwrap_or(usize::MAX);
    varlink::Options {
        identity: varlink::Identity {
            vendor: "Procession".to_owned(),
            product: name.to_owned(),
            version: version.to_owned(),
            url: String::new(),
        },
        limits: varlink::Limits {
            connections_max: count(socket.connections_max),
            connections_per_user: count(socket.connections_per_user),
            idle_timeout: socket.idle_timeout,
            read_timeout: socket.message_timeout,
            ..varlink::Limits::default()
        },
        rights: socket.rights(),
        // The application's own interfaces come while it is set up.
        incomplete: true,
    }
}
