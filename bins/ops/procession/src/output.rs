//! Standard output: buffered, and at an end without fuss when nobody reads on.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::text;

/// What is collected before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// Where the data goes; messages go to standard error.
pub(crate) struct Output {
    out: BufWriter<File>,
    terminal: bool,
    colours: bool,
    scratch: Vec<u8>,
}

/// Colours that say how good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    Faint,
    Good,
    Uncertain,
    Bad,
}

impl Output {
    pub(crate) fn open() -> Result<Self> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        // A descriptor of its own: that of the standard library writes at each line's end.
        let file = File::from(stdout.as_fd().try_clone_to_owned().context("standard output can't be used")?);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = terminal && !no_colour && !dumb;
        Ok(Self { out: BufWriter::with_capacity(BUFFER_BYTES, file), terminal, colours, scratch: Vec::new() })
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = std::mem::take(&mut self.scratch);
        line.clear();
        serde_json::to_writer(&mut line, value).context("this can't be said in JSON")?;
        self.json_line(&line)?;
        self.scratch = line;
        Ok(())
    }

    /// Writes JSON text as a line.
    pub(crate) fn json_line(&mut self, json: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(json) {
            Ok(json) if self.terminal => self.out.write_all(text::escape_json(json).as_bytes())?,
            _ => self.out.write_all(json)?,
        }
        self.out.write_all(b"\n")
    }

    /// The text in a colour, if colours are wanted.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.colours => return text.to_owned(),
            Colour::Plain => return text.to_owned(),
            Colour::Faint => "2",
            Colour::Good => "32",
            Colour::Uncertain => "33",
            Colour::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Whether the other end of the pipe is closed, so that writing would be in vain.
    pub(crate) fn is_abandoned(&self) -> bool {
        let mut fds = [PollFd::new(self.out.get_ref(), PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_ok_and(|ready| ready > 0) && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
