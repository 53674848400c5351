//! Who may use which lane: each lane's screen has a token, which is kept in a file that only this process may read.
//!
//! The file has a line for each lane, the address that its screen is to open: `http://127.0.0.1:8092/lane/1#TOKEN`.
//! What is behind `#` never leaves the browser but in the page's own requests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::trouble::Trouble;

/// The file's name, in the instance's folder.
const FILE: &str = "screens";
const TOKEN_DIGITS: usize = 32;

/// The tokens of all lanes; none: whoever reaches the server may use them.
#[derive(Debug)]
pub(crate) struct Screens {
    tokens: Option<Vec<String>>,
}

impl Screens {
    /// Every lane is open to everybody.
    pub(crate) fn open() -> Self {
        Screens { tokens: None }
    }

    /// As the file in the folder says; lanes that it doesn't have yet get a token.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub(crate) fn recall(folder: &Path, lanes: u32, address: SocketAddr) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        let tokens: Vec<String> =
            (1..=lanes).map(|lane| token_of(&text, lane).unwrap_or_else(token)).collect();
        let lines = (1..)
            .zip(&tokens)
            .map(|(lane, token): (u32, _)| format!("http://{address}/lane/{lane}#{token}\n"));
        let wanted: String = lines.collect();
        if wanted != text {
            write(&path, &wanted).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(Screens { tokens: Some(tokens) })
    }

    /// # Errors
    /// This isn't the token of the lane.
    pub(crate) fn check(&self, lane: u32, token: Option<&str>) -> Result<(), Trouble> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let place = usize::try_from(lane).ok().and_then(|lane| lane.checked_sub(1));
        let wanted = place.and_then(|place| tokens.get(place));
        if token.zip(wanted).is_some_and(|(token, wanted)| same(token, wanted)) {
            return Ok(());
        }
        let message = format!(
            "This screen may not use checkout {lane}: open it by its address in the file `{FILE}` of the terminal's folder."
        );
        Err(Trouble::new(axum::http::StatusCode::FORBIDDEN, "NotThisScreen", message))
    }
}

fn token() -> String {
    format!("{:0TOKEN_DIGITS$x}", rand::random::<u128>())
}

/// The token in the line of a lane.
fn token_of(text: &str, lane: u32) -> Option<String> {
    let end = format!("/lane/{lane}");
    let mut lines = text.lines().filter_map(|line| line.split_once('#'));
    let (_, token) = lines.find(|(address, _)| address.ends_with(&end))?;
    let right = token.len() == TOKEN_DIGITS && token.bytes().all(|digit| digit.is_ascii_hexdigit());
    right.then(|| token.to_owned())
}

/// Compares without telling by its time how much is right.
fn same(left: &str, right: &str) -> bool {
    let different =
        left.bytes().zip(right.bytes()).fold(0, |different, (left, right)| different | (left ^ right));
    left.len() == right.len() && different == 0
}

/// In one step, for the owner alone.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn tokens_stay_and_only_that_of_the_lane_is_right() {
        let folder = std::env::temp_dir().join(format!("screens-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let recall = |lanes, port| Screens::recall(&folder, lanes, ([127, 0, 0, 1], port).into()).unwrap();
        let before = recall(2, 8092).tokens.unwrap();
        let path = folder.join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let screens = recall(11, 9000);
        let tokens = screens.tokens.clone().unwrap();
        assert_eq!((&tokens[..2], tokens.len()), (&before[..], 11));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("http://127.0.0.1:9000/lane/1#{}\n", tokens[0])), "{text}");
        let status =
            |lane, token: Option<&str>| screens.check(lane, token).map_err(|trouble| trouble.status.as_u16());
        assert_eq!(status(11, Some(&tokens[10])), Ok(()));
        let short = &tokens[0][..TOKEN_DIGITS - 1];
        for (lane, token) in
            [(1, None), (1, Some("")), (1, Some(&*tokens[1])), (1, Some(short)), (12, Some(&*tokens[0]))]
        {
            assert_eq!(status(lane, token), Err(403), "{lane} {token:?}");
        }
        assert!(Screens::open().check(1, None).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
