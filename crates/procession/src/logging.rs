//! The log, always on standard error: lines for people on a terminal, short lines with priorities
//! under systemd (the journal adds time and unit), JSON lines otherwise. Lines that can't be written are lost, and nothing
//! else: a process does its work whether or not anybody reads its log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::death;
use crate::exit::{Exit, Report};
use crate::guarded;
use crate::names::Instance;
use crate::settings::{LogFormat, LogSettings};

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `04:51:02.123Z  INFO bot: ready`
    Human { colours: bool },
    /// `<6>ready`: for the journal of systemd.
    Journal,
    /// One object a line.
    Json,
}

impl Form {
    fn choose(format: LogFormat) -> Form {
        let terminal = io::stderr().is_terminal();
        let human = Form::Human { colours: terminal && colours_wanted() };
        match format {
            LogFormat::Human => human,
            LogFormat::Json => Form::Json,
            LogFormat::Auto if is_journal() => Form::Journal,
            LogFormat::Auto if terminal => human,
            LogFormat::Auto => Form::Json,
        }
    }
}

/// <https://no-color.org>: set and not empty means no.
fn colours_wanted() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Whether standard error is the stream to systemd's journal: `JOURNAL_STREAM` is its `device:inode`
/// (systemd.exec(5)); it may be inherited by a process whose standard error goes elsewhere.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Starts the log of this process, and has panics logged. Logs of a second call in one process go
/// where the first one said.
pub(crate) fn start(settings: &LogSettings, instance: &Instance) -> Form {
    let form = Form::choose(settings.format);
    let lines = Lines { form, instance: instance.to_string() };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(settings.level.filter())
        .with_ansi(form == Form::Human { colours: true })
        .with_writer(io::stderr)
        // A line that can't be written is lost. To report that would panic: on standard error, which takes nothing.
        .log_internal_errors(false)
        .event_format(lines)
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(end_by_panic));
    }
    form
}

/// A broken invariant in any thread ends the process: what comes next starts from the journal. What
/// breaks over one event that can be put aside does not.
fn end_by_panic(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("(a payload that is no text)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    death::note(&format!("panicked at {place} in thread {thread}: {what}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(target: "panic", place, thread, %backtrace, "panicked: {what}");
    } else {
        tracing::error!(target: "panic", place, thread, "panicked: {what}");
    }
    if !guarded::is_on() {
        std::process::exit(Exit::Failed.code().into());
    }
}

/// Says why the process ends: in words on a terminal, as an event where lines have a form.
pub(crate) fn report(form: Form, error: &(dyn Error + 'static)) {
    let report = Report(error);
    match form {
        Form::Human { .. } => say(&report),
        Form::Journal | Form::Json => tracing::error!("{report}"),
    }
}

/// Says why the process ends before its log has started.
pub(crate) fn report_early(error: &(dyn Error + 'static)) {
    let text = Report(error).to_string();
    if is_journal() {
        say(&with_priority(&text, Level::ERROR));
    } else {
        say(&text);
    }
}

/// Says something on standard error. What takes nothing, a full disk for example, must not change how the process ends.
pub(crate) fn say(text: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Each line on its own gets the prefix: the journal makes an entry of each line (sd-daemon(3)).
fn with_priority(text: &str, level: Level) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let lines: Vec<String> = text.lines().map(|line| format!("<{priority}>{line}")).collect();
    lines.join("\n")
}

struct Lines {
    form: Form,
    instance: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let spans = spans(context);
        match self.form {
            Form::Json => writeln!(writer, "{}", self.json(spans, event)),
            Form::Journal => {
                let mut text = spans;
                context.format_fields(Writer::new(&mut text), event)?;
                writeln!(writer, "{}", with_priority(&text, *event.metadata().level()))
            }
            Form::Human { .. } => {
                self.write_head(&mut writer, event)?;
                writer.write_str(&spans)?;
                context.format_fields(writer.by_ref(), event)?;
                writeln!(writer)
            }
        }
    }
}

impl Lines {
    fn write_head(&self, writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (dim, colour, off) = match (writer.has_ansi_escapes(), level) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        };
        let time = format!("{:.3}", Timestamp::now());
        let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
        write!(writer, "{dim}{time}{off} {colour}{level:>5}{off} {}", self.instance)?;
        // The news needs no address; what is being looked into does.
        if level != Level::INFO {
            write!(writer, " {dim}{}{off}", event.metadata().target())?;
        }
        writer.write_str(": ")
    }

    fn json(&self, spans: String, event: &Event<'_>) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = JsonLine {
            time: format!("{:.6}", Timestamp::now()),
            level: event.metadata().level().as_str(),
            instance: &self.instance,
            target: event.metadata().target(),
            message: fields.message,
            fields: fields.others,
            spans: spans.trim_end_matches(": ").to_owned(),
        };
        serde_json::to_string(&line).expect("text and numbers serialise")
    }
}

/// The spans that the event lies in, outermost first: `call{id=7}: `.
fn spans<S, N>(context: &FmtContext<'_, S, N>) -> String
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut text = String::new();
    for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
        text.push_str(span.name());
        let extensions = span.extensions();
        if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|f| !f.is_empty()) {
            write!(text, "{{{fields}}}").expect("a String takes all");
        }
        text.push_str(": ");
    }
    text
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: &'static str,
    instance: &'a str,
    target: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    spans: String,
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::sync::Arc;

    use super::*;

    /// What the log looks like in one form.
    fn logged(form: Form, say: impl FnOnce()) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let lines = Lines { form, instance: "bot@2".to_owned() };
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(form == Form::Human { colours: true })
            .with_writer(Arc::clone(&file))
            .event_format(lines)
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let mut text = String::new();
        (&*file).rewind().unwrap();
        (&*file).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn json_lines_have_time_level_instance_and_fields() {
        let text = logged(Form::Json, || {
            let _span = tracing::info_span!("call", id = 7).entered();
            tracing::warn!(count = 3, who = "a\nb", "slow \u{1b}[31m reader");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["instance"], "bot@2");
        assert_eq!(line["message"], "slow \u{1b}[31m reader");
        assert_eq!(line["fields"], serde_json::json!({"count": 3, "who": "a\nb"}));
        assert_eq!(line["spans"], "call{id=7}");
        line["time"].as_str().unwrap().parse::<Timestamp>().unwrap();
    }

    #[test]
    fn the_journal_gets_a_priority_on_every_line_and_no_time() {
        let text = logged(Form::Journal, || {
            tracing::error!("first\nsecond");
            tracing::info!(n = 1, "ready");
        });
        assert_eq!(text, "<3>first\n<3>second\n<6>ready n=1\n");
    }

    #[test]
    fn lines_for_people_are_short_and_harmless() {
        let plain = Form::Human { colours: false };
        let text = logged(plain, || tracing::info!(n = 1, "ready"));
        assert!(text.ends_with("Z  INFO bot@2: ready n=1\n"), "{text}");
        let text = logged(plain, || tracing::warn!("from outside: {}", "\u{1b}[2J"));
        assert!(text.contains("procession::logging::tests: "), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn colours_only_when_wanted() {
        let text = logged(Form::Human { colours: true }, || tracing::info!("ready"));
        assert!(text.contains("\u{1b}[32m"), "{text:?}");
    }
}
