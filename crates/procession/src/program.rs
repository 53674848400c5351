//! A program: its command line, and the life of the process that `run` starts.
//!
//! ```text
//! NAME run [--instance NAME] [--KEY VALUE]…    runs until it is told to stop
//! NAME --help, NAME --version
//! ```
//!
//! Without a verb: usage, exit code 2.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::death;
use crate::exit::{Exit, Report};
use crate::folders::Folders;
use crate::logging::{self, Form};
use crate::names::{self, Instance};
use crate::notify;
use crate::process::{Process, Setup};
use crate::settings::{self, Known, Loaded, Settings};

type BoxError = Box<dyn Error + Send + Sync>;

/// Runs the program called `name`: parses the command line, loads the settings, starts the process
/// and runs `app` in it. The whole of a `main`:
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     procession::run("bot", |process: procession::Process<procession::NoSettings>| async move {
///         process.shutdown().cancelled().await;
///         Ok::<(), std::io::Error>(())
///     })
/// }
/// ```
///
/// See [`Program`] for what else can be said about a program.
///
/// # Panics
/// When `name` isn't a valid name of a process, or two settings would share a flag.
pub fn run<S, F, Fut, E>(name: &'static str, app: F) -> ExitCode
where
    S: Settings,
    F: FnOnce(Process<S>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    Program::new(name).run(app)
}

/// What a program says about itself on its command line.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    about: &'static str,
    version: &'static str,
}

impl Program {
    /// A program called `name`, which is also the name of its process.
    #[must_use]
    pub const fn new(name: &'static str) -> Program {
        Program { name, about: "", version: env!("CARGO_PKG_VERSION") }
    }

    /// One sentence for `--help`; `env!("CARGO_PKG_DESCRIPTION")` serves well.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Program {
        Program { about, ..self }
    }

    /// The version for `--version`; `env!("CARGO_PKG_VERSION")` serves well. Without this call it is
    /// the framework's.
    #[must_use]
    pub const fn version(self, version: &'static str) -> Program {
        Program { version, ..self }
    }

    /// Does what the command line says; see [`run`].
    ///
    /// # Panics
    /// When the name isn't a valid name of a process, or two settings would share a flag.
    pub fn run<S, F, Fut, E>(self, app: F) -> ExitCode
    where
        S: Settings,
        F: FnOnce(Process<S>) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let began = Instant::now();
        if let Err(error) = names::check_process(self.name) {
            panic!("{error}");
        }
        let known = Known::of::<S>();
        let matches = match self.command(&known).try_get_matches() {
            Ok(matches) => matches,
            Err(message) => {
                // Help goes to standard output, mistakes to standard error; neither may matter more
                // than the exit code.
                let _ = message.print();
                return if message.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
            }
        };
        match matches.subcommand() {
            Some(("run", flags)) => match self.set_up(&known, flags, began) {
                Ok(setup) => run_process(setup, app).into(),
                Err(error) => self.refuse(&*error).into(),
            },
            _ => unreachable!("clap lets no other verb pass"),
        }
    }

    fn command(&self, known: &Known) -> Command {
        let name = self.name;
        let instance = Arg::new("instance")
            .long("instance")
            .value_name("NAME")
            .help(format!(
                "Name of this running copy, such as {name}@2; each has a state folder of its own \
                 [default: {name}]"
            ))
            .long_help(format!(
                "Name of this running copy: a name, or name@suffix such as {name}@2; each has a state \
                 folder and a socket of its own. The settings stay those of {name}. [default: {name}]"
            ))
            .value_parser(str::parse::<Instance>);
        let run = Command::new("run")
            .about("Run until told to stop")
            .after_help(format!(
                "Each option can also be set in {name}.toml or procession.toml, and by a variable; \
                 --help names them. Order: defaults, procession.toml, {name}.toml, variables, options."
            ))
            .arg(instance)
            .args(settings::arguments(known, name));
        Command::new(name)
            .about(self.about)
            .version(self.version)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .subcommand(run)
    }

    fn set_up<S: Settings>(
        &self,
        known: &Known,
        flags: &ArgMatches,
        began: Instant,
    ) -> Result<Setup<S>, BoxError> {
        let instance = match flags.get_one::<Instance>("instance") {
            Some(instance) => instance.clone(),
            None => Instance::new(self.name)?,
        };
        let folders = Folders::find(Some(&instance))?;
        death::is_wanted(&folders.instance(&instance));
        let variables = std::env::vars_os();
        let Loaded { own, process } =
            settings::load_layers(known, self.name, &folders, variables, Some(flags))?;
        Ok(Setup {
            name: self.name,
            version: self.version,
            instance,
            folders,
            settings: own,
            framework: process,
            shutdown: CancellationToken::new(),
            began,
        })
    }

    fn refuse(&self, error: &(dyn Error + 'static)) -> Exit {
        logging::report_early(error);
        let exit = Exit::of(error);
        if exit == Exit::Usage {
            logging::say(&format_args!("\nFor more information, try '{} run --help'.", self.name));
        } else {
            death::note(&Report(error).to_string());
        }
        exit
    }
}

fn run_process<S, F, Fut, E>(setup: Setup<S>, app: F) -> Exit
where
    S: Settings,
    F: FnOnce(Process<S>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let form = logging::start(&setup.framework.log, &setup.instance);
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(form, &error),
    };
    let exit = match live(&runtime, setup, app) {
        Ok(()) => Exit::Done,
        Err(error) => fail(form, &*error),
    };
    // A thread that blocks must not hold up the end: what counts is in the journal.
    runtime.shutdown_background();
    exit
}

fn fail(form: Form, error: &(dyn Error + 'static)) -> Exit {
    logging::report(form, error);
    Exit::of(error)
}

fn live<S, F, Fut, E>(runtime: &Runtime, setup: Setup<S>, app: F) -> Result<(), BoxError>
where
    S: Settings,
    F: FnOnce(Process<S>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let shutdown = setup.shutdown.clone();
    let timeout = setup.framework.shutdown_timeout;
    runtime.block_on(async {
        let process = Process::start(setup).inspect_err(|error| death::note(&Report(error).to_string()))?;
        tokio::spawn(notify::watchdog());
        let app = announced(app(process.clone()), || process.set_ready());
        let ended = supervise(app, process.poisoned(), &shutdown, timeout).await;
        if let Err(error) = &ended {
            death::note(&Report(&**error).to_string());
        }
        // Also after a failure: what was said is synced and the socket is gone.
        let stopped = process.stop(ended.is_err());
        ended.and(stopped.map_err(Into::into))
    })
}

/// Says that the process is ready when the application waits for the first time: it is set up then.
async fn announced<T>(app: impl Future<Output = T>, ready: impl FnOnce()) -> T {
    let mut app = pin!(app);
    let mut ready = Some(ready);
    poll_fn(|context| {
        let polled = app.as_mut().poll(context);
        if polled.is_pending()
            && let Some(ready) = ready.take()
        {
            ready();
        }
        polled
    })
    .await
}

/// Waits for the application to end; once it is to stop, only as long as `timeout`. Where nothing can be said any more, it
/// has ended: whatever the application does about that, it is a new process that mends it.
async fn supervise<E: Into<BoxError>>(
    app: impl Future<Output = Result<(), E>>,
    poisoned: impl Future<Output = crate::error::Error>,
    shutdown: &CancellationToken,
    timeout: Duration,
) -> Result<(), BoxError> {
    let mut app = pin!(app);
    let mut poisoned = pin!(poisoned);
    let ended = tokio::select! {
        biased;
        ended = &mut app => Some(ended),
        error = &mut poisoned => return Err(error.into()),
        () = shutdown.cancelled() => None,
    };
    notify::stopping("finishing what is in hand");
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::select! {
            biased;
            ended = tokio::time::timeout(timeout, app) => ended.map_err(|_| Overrun { timeout })?,
            error = poisoned => return Err(error.into()),
        },
    };
    ended.map_err(Into::into)
}

/// The application was told to stop and didn't in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "the application did not stop within shutdown_timeout ({})",
    humantime::format_duration(*timeout)
)]
struct Overrun {
    timeout: Duration,
}
