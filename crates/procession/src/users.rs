//! The users of this machine, as `/etc/passwd` names them.

use std::fmt;
use std::fs;

/// A user, for people: `alice (1001)`, or the number alone where it has no name.
pub(crate) fn called(uid: u32) -> impl fmt::Display {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&passwd, uid).map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}

fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_name_and_number() {
        assert_eq!(called(0).to_string(), "root (0)");
        assert_eq!(called(4_000_000_000).to_string(), "4000000000");
        assert_eq!(name_in("broken\nx:y:z:1:::\nhive:x:991:990::/:/bin/false\n", 991), Some("hive"));
    }
}
