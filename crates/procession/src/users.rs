//! The users and groups of this machine, as `/etc/passwd` and `/etc/group` have them.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::settings::Grantee;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user, for people: `alice (1001)`, or the number alone where it has no name.
pub(crate) fn called(uid: u32) -> impl fmt::Display {
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    let name = names_of(&passwd, uid).next();
    name.map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}

/// Both files, read again when they have changed. What can't be read knows nobody.
#[derive(Debug)]
pub(crate) struct Directory {
    passwd: Table,
    group: Table,
}

impl Default for Directory {
    fn default() -> Self {
        Self { passwd: Table::new(PASSWD), group: Table::new(GROUP) }
    }
}

impl Directory {
    /// The number of a user.
    pub(crate) fn user(&mut self, name: &str) -> Option<u32> {
        number_of(self.passwd.text(), name)
    }

    /// The number of a group.
    pub(crate) fn group(&mut self, name: &str) -> Option<u32> {
        number_of(self.group.text(), name)
    }

    /// Whether whom a right is given to can be anybody.
    pub(crate) fn knows(&mut self, grantee: &Grantee) -> bool {
        match grantee {
            Grantee::User(user) => user.number(|name| self.user(name)).is_some(),
            Grantee::Group(group) => group.number(|name| self.group(name)).is_some(),
        }
    }

    /// Whether a user is in a group, as its first one or as a further one.
    pub(crate) fn is_member(&mut self, uid: u32, gid: u32) -> bool {
        is_member(self.passwd.text(), self.group.text(), uid, gid)
    }
}

#[derive(Debug)]
struct Table {
    path: &'static str,
    text: String,
    /// What the file was when it was read: device, inode, length, time of the last change.
    version: Option<(u64, u64, u64, i64, i64)>,
}

impl Table {
    const fn new(path: &'static str) -> Self {
        Self { path, text: String::new(), version: None }
    }

    fn text(&mut self) -> &str {
        let found = fs::metadata(self.path).ok();
        let version = found.map(|file| (file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()));
        if version.is_none() || version != self.version {
            self.text = fs::read_to_string(self.path).unwrap_or_default();
            self.version = version;
        }
        &self.text
    }
}

/// The third field of the line that begins with the name, in either file.
fn number_of(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

fn names_of(passwd: &str, uid: u32) -> impl Iterator<Item = &str> {
    passwd.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

fn is_member(passwd: &str, group: &str, uid: u32, gid: u32) -> bool {
    let first_group = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let user = fields.next()?.parse::<u32>().ok()?;
        Some((user, fields.next()?.parse::<u32>().ok()?))
    };
    if passwd.lines().filter_map(first_group).any(|found| found == (uid, gid)) {
        return true;
    }
    let members = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(gid)).then(|| fields.next())?
    });
    members
        .flat_map(|members| members.split(','))
        .any(|member| names_of(passwd, uid).any(|name| name == member))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "broken\nx:y:z:1:::\nroot:x:0:0:root:/root:/bin/sh\nhive:x:991:990::/:/bin/false\nalso:x:991:5::/:\n";
    const GROUP: &str = "root:x:0:\nhive:x:990:\nmen:x:7:root,hive\nagain:x:7:also\nbad:x:eight:hive\n";

    #[test]
    fn a_user_is_called_by_name_and_number() {
        assert_eq!(called(0).to_string(), "root (0)");
        assert_eq!(called(4_000_000_000).to_string(), "4000000000");
        assert_eq!(names_of(PASSWD, 991).collect::<Vec<_>>(), ["hive", "also"]);
    }

    #[test]
    fn names_have_numbers() {
        assert_eq!(number_of(PASSWD, "hive"), Some(991));
        assert_eq!(number_of(PASSWD, "broken"), None);
        assert_eq!(number_of(PASSWD, "x"), None);
        assert_eq!(number_of(GROUP, "men"), Some(7));
        let mut directory = Directory::default();
        assert_eq!((directory.user("root"), directory.group("root")), (Some(0), Some(0)));
        assert_eq!((directory.user("no such user"), directory.group("no such group")), (None, None));
    }

    #[test]
    fn first_and_further_groups_count() {
        for (uid, gid, expected) in [
            (0, 0, true),
            (991, 990, true),
            (991, 5, true),
            (991, 7, true),
            (0, 7, true),
            (991, 0, false),
            (992, 7, false),
            (991, 8, false),
        ] {
            assert_eq!(is_member(PASSWD, GROUP, uid, gid), expected, "{uid} in {gid}");
        }
    }
}
