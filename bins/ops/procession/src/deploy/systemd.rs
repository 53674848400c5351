//! `deploy/systemd/`, `sysusers.d` and `tmpfiles.d`: the swarm in production.

use std::fmt::Write as _;

use anyhow::Result;

use super::GENERATED;
use super::swarm::{GROUP, Network, OPERATORS, Process, Swarm};

/// Pulls all processes up, and takes them down.
pub(crate) const TARGET: &str = "procession.target";

/// Where the programs are installed: their names are too common for a folder that everybody searches.
const PROGRAMS: &str = "/usr/lib/procession";

/// A drop-in for every unit whose name begins with `procession-`, below the folder of the units.
pub(crate) const COMMON: &str = "procession-.service.d/10-common.conf";

/// What holds for every process, whatever it needs of the network. Its name sorts before `override.conf`, so
/// that `systemctl edit` has the last word.
///
/// Left out on purpose:
/// - `ConfigurationDirectory`: systemd 252 gives a folder that it makes for it to the first unit's user;
/// - `PrivateUsers`, under which each peer on a local socket would be user 65534;
/// - `DynamicUser`, whose folders the other processes couldn't read;
/// - `ProcSubset=pid`, which hides the kernel's boot id, by which a journal's reader knows whether what is
///   committed but not yet durable can be trusted.
const COMMON_TEXT: &str = "\
[Unit]
PartOf=procession.target
# A process that keeps failing is restarted for ever: what it waits for may come back.
StartLimitIntervalSec=0

[Service]
Type=notify
Group=procession
UMask=0027
Environment=PROCESSION_STATE=/var/lib/procession
Environment=PROCESSION_RUNTIME=/run/procession
Environment=PROCESSION_CONFIG=/etc/procession
StateDirectoryMode=0750
RuntimeDirectoryMode=0750
# Made with its access list by tmpfiles.d, and there while the process is not.
RuntimeDirectoryPreserve=yes
# Whoever ended it, it comes back; only `systemctl stop` keeps it down. 2: wrong usage, 78: wrong
# configuration. Trying again wouldn't help.
Restart=always
RestartSec=1s
RestartPreventExitStatus=2 78
WatchdogSec=30s
TimeoutStartSec=5min
TimeoutStopSec=30s
TasksMax=64
LimitNOFILE=16384
# What many callers at once have needed goes back to the system when they have gone, and counts against nobody's MemoryHigh.
Environment=MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072 MALLOC_ARENA_MAX=2

# Sandbox. Other processes' journals can be read and their sockets called; written are the two folders that
# the process's own unit names.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
RemoveIPC=yes
KeyringMode=private
ProtectProc=invisible
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// The name of a process's unit.
pub(crate) fn unit_name(process: &Process) -> String {
    let at = if process.instances.is_some() { "@" } else { "" };
    format!("procession-{}{at}.service", process.name)
}

/// What the units have in common.
pub(crate) fn common() -> String {
    format!(
        "{GENERATED}# For all units of processes: what each of them adds is in its own file.\n{COMMON_TEXT}"
    )
}

/// A process's unit: what it doesn't share with the others.
pub(crate) fn unit(process: &Process) -> Result<String> {
    let Process { name, memory, .. } = process;
    let (instance, flag) = match process.instances {
        None => (name.clone(), String::new()),
        Some(_) => (format!("{name}@%i"), format!(" --instance {name}@%i")),
    };
    let description = process.description.replace('%', "%%");
    let mut text = format!(
        "{GENERATED}# What it shares with the others is in {COMMON}.\n\
         [Unit]\n\
         Description=Procession {instance}: {description}\n"
    );
    if process.network != Network::Local {
        // Not network-online: it copes with a network that comes and goes, but should say its last words.
        text.push_str("After=network.target\n");
    }
    write!(
        text,
        "\n[Service]\n\
         ExecStart={PROGRAMS}/{name} run{flag}\n\
         User={user}\n\
         StateDirectory=procession/{instance}\n\
         RuntimeDirectory=procession/{instance}\n",
        user = process.user(),
    )?;
    for credential in &process.credentials {
        writeln!(text, "LoadCredential={credential}")?;
    }
    write!(
        text,
        "MemoryHigh={}\nMemoryMax={}\n{}\n[Install]\nWantedBy={TARGET}\n",
        memory.high,
        memory.max,
        network(process.network),
    )?;
    Ok(text)
}

fn network(need: Network) -> &'static str {
    match need {
        Network::Local => "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any\n",
        Network::Loopback => {
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nIPAddressDeny=any\nIPAddressAllow=localhost\n"
        }
        Network::Internet => "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n",
    }
}

/// The target.
pub(crate) fn target(swarm: &Swarm) -> Result<String> {
    let mut text = format!("{GENERATED}[Unit]\nDescription=Procession: all processes\n");
    for process in swarm.processes.iter().filter(|process| process.enabled) {
        let unit = unit_name(process);
        match process.instances {
            None => writeln!(text, "Wants={unit}")?,
            Some(count) => {
                for n in 1..=count.get() {
                    writeln!(text, "Wants={}", unit.replace('@', &format!("@{n}")))?;
                }
            }
        }
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// A drop-in for all our units: the growing delay between restarts.
pub(crate) fn growing_delay() -> String {
    format!(
        "{GENERATED}# For systemd 254 and later; older ones don't know these keys and restart at RestartSec.\n\
         [Service]\n\
         RestartSteps=6\n\
         RestartMaxDelaySec=1min\n"
    )
}

/// The users: one for each process, all in one group; and a group for people.
pub(crate) fn sysusers(swarm: &Swarm) -> Result<String> {
    let mut text = format!(
        "{GENERATED}# The group of the processes: whoever is in it reads every journal and calls every process.\n\
         g {GROUP} - -\n\
         # The group of people who only look: they read everything, and change nothing.\n\
         g {OPERATORS} - -\n"
    );
    for process in &swarm.processes {
        let user = process.user();
        writeln!(text, "u {user} - \"Procession {}\" /var/lib/procession -", process.name)?;
        writeln!(text, "m {user} {GROUP}")?;
    }
    Ok(text)
}

/// The folders. Nobody but root makes one in those that the processes share, so that a name stays with its process.
///
/// What is made in a folder of an instance takes the folder's default access list over, less what its own mode
/// withholds: files of mode 0600 stay their owner's alone. A socket needs the right to write, to be connected to;
/// the process itself decides what a caller may do.
pub(crate) fn tmpfiles(swarm: &Swarm) -> Result<String> {
    let mut text = format!(
        "{GENERATED}d /etc/procession 0755 root root -\n\
         d /run/procession 0755 root root -\n\
         d /var/lib/procession 0750 root {GROUP} -\n\
         a+ /var/lib/procession - - - - group:{OPERATORS}:r-x\n"
    );
    for process in &swarm.processes {
        let user = process.user();
        for instance in process.instances() {
            for (root, rights) in [("/var/lib/procession", "r-x"), ("/run/procession", "rwx")] {
                writeln!(text, "d {root}/{instance} 0750 {user} {GROUP} -")?;
                writeln!(
                    text,
                    "a+ {root}/{instance} - - - - group:{OPERATORS}:r-x,default:group::{rights},\
                     default:group:{OPERATORS}:{rights},default:other::---"
                )?;
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(more: &str) -> Swarm {
        let head = "[[process]]\nname = 'worker'\ncontext = 'scores'\ndescription = 'Works 100 %'\n";
        Swarm::parse(&format!("{head}{more}")).unwrap()
    }

    #[test]
    fn instances_share_a_template() {
        let swarm = swarm("network = 'local'\ninstances = 2");
        let process = &swarm.processes[0];
        assert_eq!(unit_name(process), "procession-worker@.service");
        let unit = unit(process).unwrap();
        for line in [
            "Description=Procession worker@%i: Works 100 %%",
            "ExecStart=/usr/lib/procession/worker run --instance worker@%i",
            "StateDirectory=procession/worker@%i",
            "RuntimeDirectory=procession/worker@%i",
            "PrivateNetwork=yes",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line} is missing in\n{unit}");
        }
        let target = target(&swarm).unwrap();
        assert!(target.contains("Wants=procession-worker@1.service\nWants=procession-worker@2.service\n"));
    }

    #[test]
    fn every_folder_belongs_to_root_or_to_one_process() {
        let text = tmpfiles(&swarm("network = 'local'\ninstances = 2")).unwrap();
        let folders: Vec<_> = text.lines().filter(|line| line.starts_with("d ")).collect();
        assert_eq!(
            folders,
            [
                "d /etc/procession 0755 root root -",
                "d /run/procession 0755 root root -",
                "d /var/lib/procession 0750 root procession -",
                "d /var/lib/procession/worker@1 0750 procession-worker procession -",
                "d /run/procession/worker@1 0750 procession-worker procession -",
                "d /var/lib/procession/worker@2 0750 procession-worker procession -",
                "d /run/procession/worker@2 0750 procession-worker procession -",
            ]
        );
        // Each of those with journals or sockets, the one above the journals included, can be read by operators.
        assert_eq!(text.matches("\na+ ").count(), 5, "{text}");
        assert!(!common().contains("ReadWritePaths") && !common().contains("ConfigurationDirectory="));
    }

    #[test]
    fn whoever_ends_a_process_it_comes_back() {
        let common = common();
        assert!(
            common.contains("\nRestart=always\n") && common.contains("\nRestartPreventExitStatus=2 78\n")
        );
    }

    #[test]
    fn a_unit_says_only_what_differs() {
        let unit = unit(&swarm("network = 'local'").processes[0]).unwrap();
        let common = common();
        for line in unit.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()) {
            let (key, _) = line.split_once('=').unwrap();
            // What a drop-in says comes after the unit, and would win.
            assert!(!common.lines().any(|common| common.starts_with(&format!("{key}="))), "{line}");
        }
    }

    #[test]
    fn the_network_is_as_wide_as_needed() {
        let of = |network: &str| unit(&swarm(&format!("network = '{network}'")).processes[0]).unwrap();
        assert!(!of("loopback").contains("PrivateNetwork") && of("loopback").contains("IPAddressDeny=any"));
        assert!(!of("internet").contains("IPAddressDeny"));
    }

    #[test]
    fn what_is_not_enabled_is_not_wanted() {
        let swarm = swarm("network = 'local'\nenabled = false");
        assert!(!target(&swarm).unwrap().contains("Wants="));
        assert!(sysusers(&swarm).unwrap().contains("u procession-worker - "));
    }

    #[test]
    fn credentials_may_be_missing() {
        // A name without a path is looked for in the credential stores, and isn't required.
        let swarm = swarm("network = 'local'\ncredentials = ['token']");
        assert!(unit(&swarm.processes[0]).unwrap().contains("\nLoadCredential=token\n"));
    }
}
