//! Who may do what on a socket.
//!
//! Whoever can open the socket has a connection; each method asks for a right. Root and the server's own user have all
//! of them. The others have what [`Rights`] gives to their user or to a group of theirs: the one that the kernel says of
//! the connection, or one that the group database knows them to be in.

use crate::settings::Grantee;
use crate::users::Directory;

use super::peer::Peer;

/// What a method lets its caller do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Ask what is offered: for whoever has any of the others.
    Any,
    /// Look: at the process, at its journal.
    Read,
    /// Say and acknowledge in the process's name.
    Publish,
    /// Decide what becomes of the process and of what it keeps.
    Control,
    /// Call what the application offers.
    Call,
}

/// Whom a right is given to, beside root and the server's own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// Nobody else.
    Owner,
    /// The group that the socket's mode lets in.
    Group,
    /// Whoever can open the socket, also by an access control list.
    Everybody,
    /// These.
    Listed(Vec<Grantee>),
}

/// Who has which right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Who may [`Right::Read`].
    pub read: Allow,
    /// Who may [`Right::Publish`].
    pub publish: Allow,
    /// Who may [`Right::Control`].
    pub control: Allow,
    /// Who may [`Right::Call`].
    pub call: Allow,
}

impl Default for Rights {
    fn default() -> Self {
        Self { read: Allow::Everybody, publish: Allow::Owner, control: Allow::Owner, call: Allow::Group }
    }
}

/// The rights of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted(u8);

impl Granted {
    const ALL: Self = Self(0b1111);

    pub(super) const fn has(self, right: Right) -> bool {
        self.0 & bits(right) != 0
    }

    /// Whether there is no right at all.
    pub(super) const fn is_nothing(self) -> bool {
        self.0 == 0
    }
}

const fn bits(right: Right) -> u8 {
    match right {
        Right::Read => 1,
        Right::Publish => 2,
        Right::Control => 4,
        Right::Call => 8,
        Right::Any => Granted::ALL.0,
    }
}

/// Gives each connection its rights.
pub(super) struct Registrar {
    rights: Rights,
    own_uid: u32,
    directory: Directory,
}

impl Registrar {
    pub(super) fn new(rights: Rights, own_uid: u32) -> Self {
        Self { rights, own_uid, directory: Directory::default() }
    }

    /// What the peer may do. `group` is the socket's. Reads the user database where it has changed since.
    pub(super) fn grant(&mut self, peer: Peer, group: u32) -> Granted {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return Granted::ALL;
        }
        let Self { rights: Rights { read, publish, control, call }, directory, .. } = self;
        let rights =
            [(Right::Read, read), (Right::Publish, publish), (Right::Control, control), (Right::Call, call)];
        let granted = rights.into_iter().filter(|(_, allow)| match allow {
            Allow::Owner => false,
            Allow::Group => is_in(peer, group, directory),
            Allow::Everybody => true,
            Allow::Listed(grantees) => grantees.iter().any(|grantee| is_meant(grantee, peer, directory)),
        });
        Granted(granted.fold(0, |bits_so_far, (right, _)| bits_so_far | bits(right)))
    }
}

fn is_meant(grantee: &Grantee, peer: Peer, directory: &mut Directory) -> bool {
    match grantee {
        Grantee::User(user) => user.number(|name| directory.user(name)) == Some(peer.uid),
        Grantee::Group(group) => {
            let group = group.number(|name| directory.group(name));
            group.is_some_and(|group| is_in(peer, group, directory))
        }
    }
}

fn is_in(peer: Peer, group: u32, directory: &mut Directory) -> bool {
    peer.gid == group || directory.is_member(peer.uid, group)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 4_100_000_000;
    const STRANGER: Peer = Peer { pid: None, uid: 4_100_000_001, gid: 4_100_000_002 };
    const ELSEWHERE: u32 = 4_100_000_003;

    fn granted(rights: Rights, peer: Peer, group: u32) -> Vec<Right> {
        let granted = Registrar::new(rights, OWN).grant(peer, group);
        let all = [Right::Any, Right::Read, Right::Publish, Right::Control, Right::Call];
        all.into_iter().filter(|right| granted.has(*right)).collect()
    }

    #[test]
    fn root_and_the_own_user_may_everything() {
        let nobody = Allow::Listed(Vec::new());
        let rights =
            Rights { read: nobody.clone(), publish: nobody.clone(), control: nobody.clone(), call: nobody };
        for uid in [0, OWN] {
            assert_eq!(granted(rights.clone(), Peer { uid, ..STRANGER }, ELSEWHERE).len(), 5);
        }
        assert_eq!(granted(rights, STRANGER, STRANGER.gid), []);
    }

    #[test]
    fn by_default_the_group_reads_and_calls() {
        let default = granted(Rights::default(), STRANGER, STRANGER.gid);
        assert_eq!(default, [Right::Any, Right::Read, Right::Call]);
        // Let in by an access control list.
        assert_eq!(granted(Rights::default(), STRANGER, ELSEWHERE), [Right::Any, Right::Read]);
    }

    #[test]
    fn rights_are_given_to_users_and_to_groups() {
        let to = |grantee: &str| Rights {
            control: Allow::Listed(vec![grantee.parse().unwrap()]),
            read: Allow::Owner,
            ..Rights::default()
        };
        for grantee in [STRANGER.uid.to_string(), format!("@{}", STRANGER.gid)] {
            assert_eq!(granted(to(&grantee), STRANGER, ELSEWHERE), [Right::Any, Right::Control], "{grantee}");
        }
        for grantee in [ELSEWHERE.to_string(), format!("@{ELSEWHERE}"), "nobody-of-this-name".to_owned()] {
            assert_eq!(granted(to(&grantee), STRANGER, ELSEWHERE), [], "{grantee}");
        }
    }
}
